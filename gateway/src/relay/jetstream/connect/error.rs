//! Why there is no relay over NATS, in words: what is wrong, and what to set.

use std::io;
use std::path::PathBuf;

use async_nats::ConnectErrorKind as Kind;
use async_nats::rustls::{AlertDescription as Alert, CertificateError, Error as TlsError};
use gateway_config::Relay as RelayConfig;

use crate::relay::jetstream::api::ApiError;

/// Why there is no relay over NATS.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No server answers.
    #[error("can't connect to NATS: {0}; check `relay.url`")]
    Connect(String),
    /// The server doesn't let us in.
    #[error("NATS doesn't let the gateway in: {0}")]
    Login(String),
    /// There is no encrypted connection.
    #[error("can't speak TLS with NATS: {0}")]
    Tls(String),
    /// The server lets us in, and forbids what a gateway does.
    #[error(
        "NATS forbids what a gateway does ({0}); give its user the permissions that docs/nats.md shows"
    )]
    Forbidden(String),
    /// A file can't be read.
    #[error("can't read {path}: {source}; check `{key}`")]
    File {
        /// The setting that names it.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server is too old.
    #[error("nats-server {found} is too old; the gateway needs 2.15 or later: update the server")]
    Version {
        /// What it says of itself.
        found: String,
    },
    /// The stream has other settings.
    #[error(
        "the stream {stream} has other settings than this configuration asks for ({differs}), and the same generation, {generation}; give the gateways one configuration, or raise `generation` with the change"
    )]
    Settings {
        /// The stream.
        stream: String,
        /// Which settings.
        differs: String,
        /// The configuration's.
        generation: u64,
    },
    /// The stream was made by something else.
    #[error(
        "the stream {stream} exists and wasn't made by a gateway; remove it, or choose another `relay.prefix`"
    )]
    Foreign {
        /// The stream.
        stream: String,
    },
    /// `JetStream` refuses.
    #[error("JetStream refuses: {0}")]
    Api(#[from] ApiError),
    /// The system has no randomness to give.
    #[error("the system has no randomness to give")]
    Random,
}

// === impl ConnectError ===

impl ConnectError {
    /// Whether it may be otherwise later, without a restart of this gateway:
    /// NATS comes up, is told of a user, gets another certificate, is updated.
    /// The others are a matter of this gateway's own settings.
    pub fn passes(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Login(_)
            | Self::Tls(_)
            | Self::Forbidden(_)
            | Self::Version { .. }
            | Self::Api(_) => true,
            Self::File { .. } | Self::Settings { .. } | Self::Foreign { .. } | Self::Random => {
                false
            }
        }
    }

    /// What the client library says, in our words.
    pub(super) fn of(error: &async_nats::ConnectError, config: &RelayConfig) -> Self {
        match error.kind() {
            Kind::AuthorizationViolation => Self::Login(refused(config).to_owned()),
            Kind::Authentication => {
                Self::Login("it can't be signed; `relay.nkey` takes a seed (`SU…`)".to_owned())
            }
            Kind::Tls => Self::Tls(format!("{error}; check the files of `relay.tls`")),
            _ => match tls_error(error) {
                Some(error) => Self::Tls(encryption(error, config)),
                // It may close before its reason is read.
                None if config.tls.as_ref().is_some_and(|tls| tls.cert.is_none()) => {
                    Self::Connect(format!(
                        "{error}; a server that wants a certificate (`verify`) needs `relay.tls.cert` and `relay.tls.key`"
                    ))
                }
                None => Self::Connect(error.to_string()),
            },
        }
    }

    /// The same, told by what the server has forbidden meanwhile: it doesn't
    /// answer what it forbids.
    pub(in crate::relay::jetstream) fn given(self, forbidden: Option<&str>) -> Self {
        match (self, forbidden) {
            (Self::Api(error), Some(forbidden)) if error.passes() => {
                Self::Forbidden(forbidden.to_owned())
            }
            (error, _) => error,
        }
    }
}

/// The login was refused: which settings it is made of.
fn refused(config: &RelayConfig) -> &'static str {
    if config.user.is_some() {
        "it refuses `relay.user` with `relay.password`"
    } else if config.token.is_some() {
        "it refuses `relay.token`"
    } else if config.nkey.is_some() {
        "it doesn't know the nkey of the seed in `relay.nkey`"
    } else if config.credentials.is_some() {
        "it refuses the credentials in `relay.credentials`; they may have expired, or be of another operator's account"
    } else {
        "it wants a login; set `relay.user` with `relay.password`, `relay.token`, `relay.nkey` or `relay.credentials`"
    }
}

/// What TLS says is wrong.
fn encryption(error: &TlsError, config: &RelayConfig) -> String {
    let what = match error {
        TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "set `relay.tls.ca` to the certificate of the authority that signed the server's",
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "write the name that stands in the server's certificate in `relay.url`",
        TlsError::InvalidCertificate(_) => "give the server another certificate",
        TlsError::AlertReceived(Alert::CertificateRequired) => {
            "the server wants a certificate of the gateway; set `relay.tls.cert` and `relay.tls.key`"
        }
        TlsError::AlertReceived(_) if config.tls.as_ref().is_some_and(|tls| tls.cert.is_some()) => {
            "the server doesn't take the gateway's certificate; check `relay.tls.cert` and `relay.tls.key`"
        }
        TlsError::AlertReceived(_) => {
            "the server may want a certificate of the gateway; set `relay.tls.cert` and `relay.tls.key`"
        }
        TlsError::InvalidMessage(_) => {
            "the server doesn't speak TLS; turn it on there, or remove `relay.tls`"
        }
        _ => "check `relay.tls`",
    };
    format!("{error}; {what}")
}

/// What TLS says, where the library wraps it.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = error
            .downcast_ref::<TlsError>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<TlsError>()));
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}

//! The way in: TCP, TLS if one side wants it, the login.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_nats::ServerAddr;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_config::{Relay as RelayConfig, RelayTls};
use nkeys::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::wire::{Malformed, Reader, Said};

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is let in.
pub struct Open {
    pub stream: Box<dyn Stream>,
    pub reader: Reader,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody there, or it went away.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No encryption.
    #[error("TLS: {0}")]
    Tls(String),
    /// A file that is needed.
    #[error("can't read {path}: {why}; check `{key}`")]
    File { key: &'static str, path: PathBuf, why: String },
    /// What the server says against it.
    #[error("the server says: {0}")]
    Server(String),
    /// What it says is no NATS.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// What the server says of itself.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Info {
    tls_required: bool,
    nonce: String,
    /// It is about to go.
    #[serde(rename = "ldm")]
    pub lame_duck: bool,
    /// Others of its cluster.
    #[serde(rename = "connect_urls")]
    pub others: Vec<String>,
}

/// What we say of ourselves.
// They are the protocol's.
#[allow(clippy::struct_excessive_bools)]
#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'a str,
    version: &'a str,
    protocol: u8,
    headers: bool,
    #[serde(flatten)]
    login: Login,
}

#[derive(Default, Serialize)]
#[serde(default)]
struct Login {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// Connects to a server and logs in. The caller limits the time.
pub async fn open(server: &ServerAddr, config: &RelayConfig, name: &str) -> Result<Open, Refused> {
    let tcp = TcpStream::connect((server.host(), server.port())).await?;
    tcp.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = Box::new(tcp);
    let mut reader = Reader::default();
    let info = match said(&mut stream, &mut reader).await? {
        Said::Info(json) => read_info(&json)?,
        Said::Error(error) => return Err(Refused::Server(error)),
        _ => return Err(Refused::Server("nothing of itself".to_owned())),
    };
    let ours = config.tls.is_some() || server.tls_required();
    if ours || info.tls_required {
        let tls = tls(config.tls.as_ref())?;
        let name = ServerName::try_from(server.host().to_owned());
        let name = name.map_err(|error| Refused::Tls(error.to_string()))?;
        let encrypted = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
        stream = Box::new(encrypted.map_err(|error| Refused::Tls(error.to_string()))?);
        // What was read without it counts for nothing.
        reader = Reader::default();
    }
    let connect = Connect {
        verbose: false,
        pedantic: false,
        tls_required: ours,
        name,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        headers: true,
        login: Login::of(config, &info.nonce)?,
    };
    let connect = serde_json::to_string(&connect).map_err(io::Error::other)?;
    stream.write_all(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await?;
    stream.flush().await?;
    loop {
        match said(&mut stream, &mut reader).await? {
            Said::Pong => return Ok(Open { stream, reader }),
            Said::Error(error) => return Err(Refused::Server(error)),
            Said::Message(_) | Said::Ping | Said::Info(_) | Said::Ok => {}
        }
    }
}

/// Reads what a server says of itself.
pub fn read_info(json: &[u8]) -> Result<Info, Refused> {
    let unread = |error: serde_json::Error| Refused::Server(format!("INFO that isn't: {error}"));
    serde_json::from_slice(json).map_err(unread)
}

async fn said(stream: &mut Box<dyn Stream>, reader: &mut Reader) -> Result<Said, Refused> {
    loop {
        if let Some(said) = reader.read()? {
            return Ok(said);
        }
        if stream.read_buf(reader.room()).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// The files are read for every connection: they may have been renewed.
fn tls(tls: Option<&RelayTls>) -> Result<ClientConfig, Refused> {
    let nothing = RelayTls::default();
    let files = tls.unwrap_or(&nothing);
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &files.ca {
        for certificate in certificates("relay.tls.ca", ca)? {
            roots.add(certificate).map_err(|error| file("relay.tls.ca", ca, error))?;
        }
    } else {
        // One that can't be parsed is one less.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Refused::Tls(error.to_string()))?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&files.cert, &files.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("relay.tls.cert", cert)?;
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| file("relay.tls.key", key, error))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| file("relay.tls.key", key, error))
}

fn certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, Refused> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file(key, path, error))
}

fn file(key: &'static str, path: &str, why: impl std::fmt::Display) -> Refused {
    Refused::File { key, path: path.into(), why: why.to_string() }
}

// === impl Login ===

impl Login {
    /// As configured; a `nonce` of the server's is signed where a key is.
    fn of(config: &RelayConfig, nonce: &str) -> Result<Self, Refused> {
        let read =
            |key, path: &str| std::fs::read_to_string(path).map_err(|error| file(key, path, error));
        let pair = |key, path: &str, seed: &str| {
            KeyPair::from_seed(seed.trim()).map_err(|error| file(key, path, error))
        };
        let mut login = Self {
            user: config.user.clone(),
            pass: config.password.clone(),
            auth_token: config.token.clone(),
            ..Self::default()
        };
        let signer = if let Some(path) = &config.credentials {
            const KEY: &str = "relay.credentials";
            let text = read(KEY, path)?;
            let mut parts = decorated(&text);
            let parts = (parts.next(), parts.next());
            let (Some(jwt), Some(seed)) = parts else {
                return Err(file(KEY, path, "no JWT and seed in it"));
            };
            login.jwt = Some(jwt.to_owned());
            Some(pair(KEY, path, seed)?)
        } else if let Some(path) = &config.nkey {
            const KEY: &str = "relay.nkey";
            let pair = pair(KEY, path, &read(KEY, path)?)?;
            login.nkey = Some(pair.public_key());
            Some(pair)
        } else {
            None
        };
        if let Some(signer) = signer {
            let signature = signer.sign(nonce.as_bytes());
            let signature = signature.map_err(|error| Refused::Server(error.to_string()))?;
            login.sig = Some(URL_SAFE_NO_PAD.encode(signature));
        }
        Ok(login)
    }
}

/// What stands between lines of dashes, `-----BEGIN …-----` before it: the
/// form of a credentials file.
fn decorated(text: &str) -> impl Iterator<Item = &str> {
    let mut begun = false;
    text.lines().map(str::trim).filter(move |line| {
        let dashes = line.starts_with("---") && line.ends_with("---");
        let inside = begun && !dashes && !line.is_empty();
        begun = dashes && line.contains("BEGIN");
        inside
    })
}

#[cfg(test)]
mod tests {
    use super::decorated;

    #[test]
    fn a_credentials_file() {
        let text = "-----BEGIN NATS USER JWT-----\r\nhead.body.sign\r\n------END NATS USER JWT------\r\n\r\n\
            ************************* IMPORTANT *************************\n\
            NKEY Seed printed below can be used to sign and prove identity.\n\n\
            -----BEGIN USER NKEY SEED-----\n  SUAB \n------END USER NKEY SEED------\n";
        assert_eq!(decorated(text).collect::<Vec<_>>(), ["head.body.sign", "SUAB"]);
        assert_eq!(decorated("nothing of the kind").count(), 0);
    }
}

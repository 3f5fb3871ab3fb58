//! Mutual TLS between gateways: what each shows, and whom each lets in.
//!
//! The files are read again when they change, so that certificates can be
//! renewed without a restart. A connection keeps what it began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::metrics::{Metrics, OutcomeLabel, ReasonLabel};
use crate::reload::{EVERY, changed};

/// How long another gateway may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the same trouble is said in the log.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// A gateway's way to speak TLS with others.
pub struct PeerTls {
    files: Files,
    /// What every certificate must carry, if it is not the gateway's address.
    name: Option<ServerName<'static>>,
    /// As last read.
    current: ArcSwap<Current>,
    metrics: Metrics,
    said: Mutex<Option<Instant>>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

/// What the files hold, in the order of [`Files`].
type Content = Result<[Vec<u8>; 3], Trouble>;

struct Current {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// What is wrong with one of the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}; check `peer.tls.{key}`")]
pub struct Trouble {
    /// The setting under `peer.tls`.
    key: &'static str,
    path: PathBuf,
    why: String,
}

/// Why there is no TLS between gateways.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be used.
    #[error("can't use {0}")]
    File(#[from] Trouble),
    /// Not a name.
    #[error("`peer.tls.serverName` is neither a host's name nor an IP address")]
    Name,
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The handshake failed.
    #[error("{0}")]
    Handshake(#[from] std::io::Error),
    /// It takes too long.
    #[error("no handshake within {HANDSHAKE_TIMEOUT:?}")]
    Timeout,
    /// The certificate is good and somebody else's.
    #[error("the certificate doesn't carry the name in `peer.tls.serverName`: {0}")]
    Name(rustls::Error),
}

// === impl PeerTls ===

impl PeerTls {
    /// Reads the files for the first time.
    pub fn open(config: &gateway_config::PeerTls, metrics: Metrics) -> Result<Self, TlsError> {
        let files = Files {
            certificate: config.cert.as_str().into(),
            key: config.key.as_str().into(),
            ca: config.ca.as_str().into(),
        };
        let name = config.server_name.as_deref().filter(|name| !name.is_empty());
        let name = name.map(|name| ServerName::try_from(name.to_owned())).transpose();
        let name = name.map_err(|_| TlsError::Name)?;
        let current = ArcSwap::from_pointee(files.build(&files.read_now()?)?);
        Ok(Self { files, name, current, metrics, said: Mutex::default() })
    }

    /// Takes another gateway's connection, if that gateway is one of ours.
    pub async fn accept(&self, stream: TcpStream) -> Result<server::TlsStream<TcpStream>, Refused> {
        let acceptor = TlsAcceptor::from(self.current.load().server.clone());
        let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        let stream = shaken.map_err(|_| Refused::Timeout)??;
        // An authority may have signed more than gateways' certificates.
        if let Some(name) = &self.name
            && let Some([leaf, ..]) = stream.get_ref().1.peer_certificates()
        {
            let leaf = ParsedCertificate::try_from(leaf).map_err(Refused::Name)?;
            verify_server_name(&leaf, name).map_err(Refused::Name)?;
        }
        Ok(stream)
    }

    /// Speaks TLS to the gateway that is reached at `host`.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.current.load().client.clone());
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?,
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, connector.connect(name, stream)).await?
    }

    /// Somebody was not let in. Said now and then: a stranger may ask often.
    pub fn refused(&self, refused: &Refused) {
        self.metrics.peer_refused.get_or_create(&ReasonLabel { reason: "tls" }).inc();
        if self.is_to_be_said() {
            tracing::warn!(
                "a connection to the peer listener was refused: {refused}; every gateway needs `peer.tls` with a certificate of one of the authorities in `peer.tls.ca`"
            );
        } else {
            tracing::debug!(%refused, "a connection to the peer listener was refused");
        }
    }

    /// This gateway was not let in, or doesn't believe who is there.
    pub fn failed(&self, host: &str, error: &std::io::Error) {
        if self.is_to_be_said() {
            tracing::warn!(
                "TLS with the gateway at {host} fails: {error}; every gateway needs `peer.tls`, and a certificate of one of the authorities in `peer.tls.ca` that carries `peer.tls.serverName` or its address"
            );
        } else {
            tracing::debug!(host, %error, "TLS with another gateway fails");
        }
    }

    fn is_to_be_said(&self) -> bool {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let due = said.is_none_or(|at| now - at >= SAID_EVERY);
        if due {
            *said = Some(now);
        }
        due
    }

    /// Looks at the files until it is dropped.
    pub async fn follow(&self) {
        // What they hold now may be newer than what was read.
        let mut seen = None;
        loop {
            if let Some(content) = changed(|| self.files.read(), seen.as_ref()).await {
                // Only what is other than at the start is worth a word.
                self.take(&content, seen.is_none());
                seen = Some(content);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn take(&self, content: &Content, first: bool) {
        let built =
            content.as_ref().map_err(Clone::clone).and_then(|content| self.files.build(content));
        let outcome = match built {
            Ok(current) => {
                self.current.store(Arc::new(current));
                if first {
                    return;
                }
                tracing::info!("the certificates of `peer.tls` are reloaded");
                "applied"
            }
            Err(trouble) => {
                tracing::warn!("the new certificates can't be used, the old ones stay: {trouble}");
                "refused"
            }
        };
        self.metrics.config_reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

// === impl Files ===

impl Files {
    fn each(&self) -> [(&'static str, &PathBuf); 3] {
        [("cert", &self.certificate), ("key", &self.key), ("ca", &self.ca)]
    }

    fn read_now(&self) -> Content {
        let [certificate, key, ca] = self.each().map(|(key, path)| {
            std::fs::read(path).map_err(|error| Trouble::new(key, path, &error))
        });
        Ok([certificate?, key?, ca?])
    }

    async fn read(&self) -> Content {
        let mut all = [const { Vec::new() }; 3];
        for (content, (key, path)) in all.iter_mut().zip(self.each()) {
            *content =
                tokio::fs::read(path).await.map_err(|error| Trouble::new(key, path, &error))?;
        }
        Ok(all)
    }

    fn build(&self, [certificate, key, ca]: &[Vec<u8>; 3]) -> Result<Current, Trouble> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trouble = |key: &'static str, why: &dyn std::fmt::Display| {
            let path = self.each().into_iter().find(|(name, _)| *name == key);
            Trouble::new(key, path.map_or(Path::new(""), |(_, path)| path), why)
        };
        let chain = certificates(certificate).map_err(|why| trouble("cert", &why))?;
        let private = || {
            PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
                rustls::pki_types::pem::Error::NoItemsFound => {
                    trouble("key", &"there is no private key in it, in PEM")
                }
                other => trouble("key", &other),
            })
        };
        let mut roots = RootCertStore::empty();
        for root in certificates(ca).map_err(|why| trouble("ca", &why))? {
            roots.add(root).map_err(|error| trouble("ca", &error))?;
        }
        let roots = Arc::new(roots);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let verifier = verifier.map_err(|error| trouble("ca", &error))?;
        // Both ends are gateways, so there is nothing older to speak with.
        let versions = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| trouble("cert", &error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private()?)
            .map_err(|error| trouble("key", &error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| trouble("cert", &error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private()?)
            .map_err(|error| trouble("key", &error))?;
        Ok(Current { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("there is no certificate in it, in PEM".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(error.to_string()),
    }
}

// === impl Trouble ===

impl Trouble {
    fn new(key: &'static str, path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self { key, path: path.to_owned(), why: why.to_string() }
    }
}

//! Certificates in files: read, used, and read again when they change, so
//! that they can be renewed without a restart. A connection keeps what it
//! began with.

use std::fmt::Display;
use std::io::Result as IoResult;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::metrics::{Metrics, OutcomeLabel};
use crate::reload::{EVERY, changed};

#[cfg(test)]
mod tests;

/// How often the same trouble is said in the log.
const SAID_EVERY: Duration = Duration::from_mins(1);
/// Encrypted bytes that may wait for one connection's socket, besides what
/// its outbox holds: two records, so that the next is ready when one is gone.
pub(crate) const HELD: usize = 32 << 10;

/// The files of one section of the configuration, each with its key.
pub struct Files {
    section: &'static str,
    each: Vec<(&'static str, PathBuf)>,
}

/// What the files hold, in the order of [`Files`].
type Content = Result<Vec<Vec<u8>>, Trouble>;

/// What is made of the files, as they were last read.
pub struct Kept<T> {
    files: Files,
    build: fn(&Files, &[Vec<u8>]) -> Result<T, Trouble>,
    current: ArcSwap<T>,
    metrics: Metrics,
}

/// TLS on a listener for clients or apps, who show no certificate.
pub struct ListenerTls {
    kept: Kept<ServerConfig>,
    timeout: Duration,
}

/// Says the same only now and then: a stranger may ask often.
#[derive(Default)]
pub struct Seldom(Mutex<Option<Instant>>);

/// What is wrong with one of the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}; check `{section}.{key}`")]
pub struct Trouble {
    section: &'static str,
    /// The setting in that section.
    key: &'static str,
    path: PathBuf,
    why: String,
}

// === impl Files ===

impl Files {
    /// The files that a section names.
    pub fn new(section: &'static str, each: &[(&'static str, &str)]) -> Self {
        Self { section, each: each.iter().map(|(key, path)| (*key, path.into())).collect() }
    }

    /// Something is wrong with what the file of `key` holds.
    pub fn trouble(&self, key: &'static str, why: &dyn Display) -> Trouble {
        let path = self.each.iter().find(|(name, _)| *name == key).map(|(_, path)| &**path);
        let path = path.unwrap_or(Path::new("")).to_owned();
        Trouble { section: self.section, key, path, why: why.to_string() }
    }

    /// The certificates in a file's content: at least one.
    pub fn certificates(
        &self,
        key: &'static str,
        pem: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, Trouble> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match all {
            Ok(all) if all.is_empty() => {
                Err(self.trouble(key, &"there is no certificate in it, in PEM"))
            }
            Ok(all) => Ok(all),
            Err(error) => Err(self.trouble(key, &error)),
        }
    }

    /// The private key in a file's content.
    pub fn private(
        &self,
        key: &'static str,
        pem: &[u8],
    ) -> Result<PrivateKeyDer<'static>, Trouble> {
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                self.trouble(key, &"there is no private key in it, in PEM")
            }
            other => self.trouble(key, &other),
        })
    }

    fn read_now(&self) -> Content {
        let read = |(key, path): &(&'static str, PathBuf)| {
            std::fs::read(path).map_err(|error| self.trouble(key, &error))
        };
        self.each.iter().map(read).collect()
    }

    async fn read(&self) -> Content {
        let mut all = Vec::with_capacity(self.each.len());
        for (key, path) in &self.each {
            all.push(tokio::fs::read(path).await.map_err(|error| self.trouble(key, &error))?);
        }
        Ok(all)
    }
}

// === impl Kept ===

impl<T> Kept<T> {
    /// Reads the files for the first time.
    pub fn open(
        files: Files,
        build: fn(&Files, &[Vec<u8>]) -> Result<T, Trouble>,
        metrics: Metrics,
    ) -> Result<Self, Trouble> {
        let current = ArcSwap::from_pointee(build(&files, &files.read_now()?)?);
        Ok(Self { files, build, current, metrics })
    }

    /// What is in force.
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
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
            content.as_ref().map_err(Clone::clone).and_then(|all| (self.build)(&self.files, all));
        let outcome = match built {
            Ok(current) => {
                self.current.store(Arc::new(current));
                if first {
                    return;
                }
                tracing::info!("the certificates of `{}` are reloaded", self.files.section);
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

// === impl ListenerTls ===

impl ListenerTls {
    /// Reads the files for the first time. `section` is `client.tls`, say.
    pub fn open(
        section: &'static str,
        config: &gateway_config::ListenerTls,
        timeout: Duration,
        metrics: Metrics,
    ) -> Result<Self, Trouble> {
        let files = Files::new(section, &[("cert", &config.cert), ("key", &config.key)]);
        Ok(Self { kept: Kept::open(files, server, metrics)?, timeout })
    }

    /// Shakes hands with who has connected, for as long as that may take.
    pub async fn accept(&self, stream: TcpStream) -> IoResult<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.kept.current());
        let shaken = acceptor.accept_with(stream, |connection| {
            connection.set_buffer_limit(Some(HELD));
        });
        tokio::time::timeout(self.timeout, shaken).await?
    }

    /// Looks at the files until it is dropped.
    pub async fn follow(&self) {
        self.kept.follow().await;
    }
}

/// What clients are spoken to with.
fn server(files: &Files, content: &[Vec<u8>]) -> Result<ServerConfig, Trouble> {
    let [certificate, key] = content else {
        return Err(files.trouble("cert", &"a file is missing"));
    };
    let chain = files.certificates("cert", certificate)?;
    let private = files.private("key", key)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| files.trouble("cert", &error))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| files.trouble("key", &error))?;
    // WebSockets begin as HTTP/1.1; there is nothing else here to agree on.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Who comes back is spared the handshake's signature, by a ticket that it
    // brings itself: nothing is kept here for those who don't.
    config.ticketer =
        rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| files.trouble("key", &error))?;
    Ok(config)
}

/// The one cryptography of this program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

// === impl Seldom ===

impl Seldom {
    /// Whether it is time to say it again.
    pub fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = said.is_none_or(|at| now - at >= SAID_EVERY);
        if due {
            *said = Some(now);
        }
        due
    }
}

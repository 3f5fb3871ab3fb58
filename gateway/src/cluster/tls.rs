//! Mutual TLS between gateways: what each shows, and whom each lets in.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::metrics::{Metrics, ReasonLabel};
use crate::tls::{Files, Kept, Seldom, Trouble, provider};

/// How long another gateway may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A gateway's way to speak TLS with others.
pub struct PeerTls {
    kept: Kept<Current>,
    /// What every certificate must carry, if it is not the gateway's address.
    name: Option<ServerName<'static>>,
    metrics: Metrics,
    said: Seldom,
}

struct Current {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
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
        let files = [("cert", &*config.cert), ("key", &*config.key), ("ca", &*config.ca)];
        let files = Files::new("peer.tls", &files);
        let name = config.server_name.as_deref().filter(|name| !name.is_empty());
        let name = name.map(|name| ServerName::try_from(name.to_owned())).transpose();
        let name = name.map_err(|_| TlsError::Name)?;
        let kept = Kept::open(files, build, metrics.clone())?;
        Ok(Self { kept, name, metrics, said: Seldom::default() })
    }

    /// Takes another gateway's connection, if that gateway is one of ours.
    pub async fn accept(&self, stream: TcpStream) -> Result<server::TlsStream<TcpStream>, Refused> {
        let acceptor = TlsAcceptor::from(self.kept.current().server.clone());
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
        let connector = TlsConnector::from(self.kept.current().client.clone());
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
        if self.said.is_due() {
            tracing::warn!(
                "a connection to the peer listener was refused: {refused}; every gateway needs `peer.tls` with a certificate of one of the authorities in `peer.tls.ca`"
            );
        } else {
            tracing::debug!(%refused, "a connection to the peer listener was refused");
        }
    }

    /// This gateway was not let in, or doesn't believe who is there.
    pub fn failed(&self, host: &str, error: &std::io::Error) {
        if self.said.is_due() {
            tracing::warn!(
                "TLS with the gateway at {host} fails: {error}; every gateway needs `peer.tls`, and a certificate of one of the authorities in `peer.tls.ca` that carries `peer.tls.serverName` or its address"
            );
        } else {
            tracing::debug!(host, %error, "TLS with another gateway fails");
        }
    }

    /// Looks at the files until it is dropped.
    pub async fn follow(&self) {
        self.kept.follow().await;
    }
}

fn build(files: &Files, content: &[Vec<u8>]) -> Result<Current, Trouble> {
    let [certificate, key, ca] = content else {
        return Err(files.trouble("ca", &"a file is missing"));
    };
    let provider = provider();
    let chain = files.certificates("cert", certificate)?;
    let mut roots = RootCertStore::empty();
    for root in files.certificates("ca", ca)? {
        roots.add(root).map_err(|error| files.trouble("ca", &error))?;
    }
    let roots = Arc::new(roots);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let verifier = verifier.map_err(|error| files.trouble("ca", &error))?;
    // Both ends are gateways, so there is nothing older to speak with.
    let versions = &[&rustls::version::TLS13];
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| files.trouble("cert", &error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), files.private("key", key)?)
        .map_err(|error| files.trouble("key", &error))?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| files.trouble("cert", &error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, files.private("key", key)?)
        .map_err(|error| files.trouble("key", &error))?;
    Ok(Current { server: Arc::new(server), client: Arc::new(client) })
}

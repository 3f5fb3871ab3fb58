//! Connections between gateways, with TLS or without.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower::Service;

use super::tls::PeerTls;
use crate::transport::stream::Stream;

/// A connection to another gateway; encrypted, both have shown who they are.
pub type PeerStream = Stream<TlsStream<TcpStream>>;

/// Connects to other gateways.
#[derive(Clone)]
pub(super) struct PeerConnector {
    pub(super) http: HttpConnector,
    pub(super) tls: Option<Arc<PeerTls>>,
}

// === impl PeerConnector ===

impl Service<Uri> for PeerConnector {
    type Response = TokioIo<PeerStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default().to_owned();
        let connecting = self.http.call(uri);
        let tls = self.tls.clone();
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            let Some(tls) = tls else { return Ok(TokioIo::new(PeerStream::Plain(stream))) };
            match tls.connect(&host, stream).await {
                Ok(stream) => Ok(TokioIo::new(PeerStream::Tls(Box::new(stream)))),
                Err(error) => {
                    tls.failed(&host, &error);
                    Err(error.into())
                }
            }
        })
    }
}

// === impl PeerStream ===

impl Connection for PeerStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

//! Sockets in, answers out: HTTP/1.1 for the API and the admin listener, each
//! on a thread and runtime of its own, so that neither a flood of publishes
//! nor a scrape delays a client's ping.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::response::Response;
use gateway_config::Limits;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};
use tracing::{debug, error, warn};

use crate::metrics::{ListenerLabel, Metrics};
use crate::tls::ListenerTls;
use crate::transport::stream::{ClientStream, Stream};

/// A bound listener that is not served yet.
pub struct HttpServer {
    listener: StdListener,
    local: SocketAddr,
    tls: Option<Arc<ListenerTls>>,
    metrics: Metrics,
}

/// The API's listener.
pub type ApiServer = HttpServer;

/// The admin listener.
pub type AdminServer = HttpServer;

/// What answers a listener's requests: a router, or [`super::ApiService`].
pub trait Answers:
    Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Bytes of one request's headers, request line included.
    pub header_bytes: usize,
    /// How long a request's headers may take, and how long a connection may
    /// stay idle between two requests.
    pub header_timeout: Duration,
    /// Connections at once; more wait in the listener's backlog.
    pub connections: usize,
    /// How long requests may go on after the stop.
    pub stop_timeout: Duration,
}

/// Why a listener can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address can't be listened on.
    #[error("can't listen on {listen}: {source}; choose another address or port")]
    Bind {
        /// The address of the configuration.
        listen: String,
        /// Why.
        source: std::io::Error,
    },
    /// The thread or its runtime can't be had.
    #[error("can't start a thread for the listener on {local}: {source}")]
    Thread {
        /// The listener's address.
        local: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

// === impl ServeLimits ===

impl From<&Limits> for ServeLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            header_bytes: limits.header_bytes,
            header_timeout: limits.header_timeout.get(),
            connections: 1024,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

// === impl HttpServer ===

impl HttpServer {
    /// Listens on `listen`, such as `127.0.0.1:8081`. Connections wait until
    /// [`HttpServer::serve`].
    pub fn bind(listen: &str) -> Result<Self, ServerError> {
        let bound = || {
            let addresses: Vec<SocketAddr> = listen.to_socket_addrs()?.collect();
            let listener = StdListener::bind(&addresses[..])?;
            listener.set_nonblocking(true)?;
            let local = listener.local_addr()?;
            Ok(Self { listener, local, tls: None, metrics: Metrics::default() })
        };
        bound().map_err(|source| ServerError::Bind { listen: listen.to_owned(), source })
    }

    /// Where it listens; with port 0 in the configuration, the port it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The same with TLS, if there is to be.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<ListenerTls>>, metrics: Metrics) -> Self {
        Self { tls, metrics, ..self }
    }

    /// How it speaks TLS, if it does.
    pub fn tls(&self) -> Option<&Arc<ListenerTls>> {
        self.tls.as_ref()
    }

    /// Serves on a thread and runtime of its own until `stop`. The thread
    /// ends when every connection has.
    pub fn spawn<S: Answers>(
        self,
        name: &str,
        service: S,
        limits: ServeLimits,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, ServerError> {
        let local = self.local;
        let thread = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                if let Err(error) = runtime.block_on(self.serve(service, limits, stop)) {
                    error!(%error, "listener failed");
                }
            })
        };
        thread().map_err(|source| ServerError::Thread { local, source })
    }

    /// Serves until `stop`; then takes no more connections, lets requests in
    /// flight finish for [`ServeLimits::stop_timeout`], and returns.
    pub async fn serve<S: Answers>(
        self,
        service: S,
        limits: ServeLimits,
        stop: CancellationToken,
    ) -> Result<(), ServerError> {
        let local = self.local;
        let listener = TcpListener::from_std(self.listener)
            .map_err(|source| ServerError::Thread { local, source })?;
        let room = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let permit = Arc::clone(&room).acquire_owned().await.ok();
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = stop.cancelled() => break,
            };
            while let Some(ended) = connections.try_join_next() {
                report(ended);
            }
            match accepted {
                Ok((socket, _)) => {
                    // Without it an answer could wait for the client's
                    // acknowledgement of the one before; where it can't be
                    // set the answer is only slower.
                    let _ = socket.set_nodelay(true);
                    let (service, stop) = (service.clone(), stop.clone());
                    let (tls, metrics) = (self.tls.clone(), self.metrics.clone());
                    connections.spawn(async move {
                        let socket = match tls {
                            Some(tls) => encrypted(&tls, socket, &metrics).await,
                            None => Some(Stream::Plain(socket)),
                        };
                        if let Some(socket) = socket {
                            serve_one(socket, service, limits, stop).await;
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Most often too many open files: others must end first.
                    warn!(%error, %local, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        let finish = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(limits.stop_timeout, finish).await.is_err() {
            warn!(%local, open = connections.len(), "requests cut off by the stop");
            connections.shutdown().await;
        }
        Ok(())
    }
}

async fn encrypted(
    tls: &ListenerTls,
    socket: TcpStream,
    metrics: &Metrics,
) -> Option<ClientStream> {
    match tls.accept(socket).await {
        Ok(socket) => Some(Stream::Tls(Box::new(socket))),
        Err(error) => {
            debug!(%error, "a TLS handshake failed");
            metrics.tls_failed.get_or_create(&ListenerLabel { listener: "api" }).inc();
            None
        }
    }
}

async fn serve_one<S: Answers>(
    socket: ClientStream,
    service: S,
    limits: ServeLimits,
    stop: CancellationToken,
) {
    let service = service_fn(move |request| service.clone().oneshot(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.header_bytes)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

/// A panic in one request ends its connection and no other.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a request ended in a fault of the gateway's own");
    }
}

//! Many gateways are one service: who is there, whose session a request is
//! for, and what all of them answer together.
//!
//! # Layout
//!
//! - [`signer`]: keys from the cluster's secret; stamps that prove who speaks
//! - [`members`]: the gateways that are there
//! - `heartbeat`: how they know of each other
//! - [`ask`]: questions that every gateway answers
//! - `marks`: revocations that were made when this gateway didn't hear
//! - [`forward`]: requests for sessions of another gateway, to it
//! - `tls`, `stream`: their connections, encrypted and mutually known
//! - `listener`: the peer listener, where such requests come in

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::admin::{Readiness, StatusSource};
use crate::auth::Authenticator;
use crate::metrics::Metrics;
use crate::relay::jetstream::Connection;
use crate::session::sid::{GatewayId, NoRandomness};
use crate::shard::{Shards, Shared};

pub mod ask;
pub mod forward;
pub mod heartbeat;
mod listener;
mod marks;
pub mod members;
pub mod signer;
mod stream;
pub mod tls;

pub use members::{Beat, Member, Members};
pub use signer::{ClusterKeys, Signer};
pub use tls::{PeerTls, TlsError};

/// Time between two attempts to reach NATS.
const RETRY: Duration = Duration::from_secs(1);

/// This gateway among the others. With the embedded relay there are none.
pub struct Cluster {
    /// This gateway.
    pub gateway: GatewayId,
    /// The others.
    pub members: Members,
    /// Cancelled when this gateway stops.
    pub stop: CancellationToken,
    /// How gateways speak TLS, if they do.
    pub tls: Option<Arc<PeerTls>>,
    requests: Signer,
    messages: Signer,
    /// `<prefix>.ctl.gateways`
    beats: String,
    /// `<prefix>.ctl.ask`
    asks: String,
    nats: OnceLock<async_nats::Client>,
    shards: Shards,
    auth: Arc<Authenticator>,
    metrics: Metrics,
    /// Requests and sockets of clients that are on their way through here.
    passing: AtomicUsize,
}

/// What a [`Cluster`] is made of.
pub struct ClusterOptions<'a> {
    /// This gateway.
    pub gateway: GatewayId,
    /// From the cluster's secret.
    pub keys: &'a ClusterKeys,
    /// `relay.prefix`.
    pub prefix: &'a str,
    /// This gateway's shards.
    pub shards: Shards,
    /// Who a client is.
    pub auth: Arc<Authenticator>,
    /// What is counted.
    pub metrics: Metrics,
    /// `peer.tls`
    pub tls: Option<Arc<PeerTls>>,
    /// Cancelled when this gateway stops.
    pub stop: CancellationToken,
}

/// What the cluster's thread works with.
pub struct ClusterParts {
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// The peer listener, if there is one.
    pub listener: Option<TcpListener>,
    /// Where others reach it.
    pub address: Option<String>,
    /// How this gateway is.
    pub status: StatusSource,
    /// Becomes ready when the others are known.
    pub readiness: Arc<Readiness>,
}

/// A client's request or socket on its way to another gateway.
pub struct Passing(Arc<Cluster>);

// === impl Cluster ===

impl Cluster {
    /// A gateway that knows no other yet.
    pub fn new(options: ClusterOptions<'_>) -> Arc<Self> {
        let ClusterOptions { gateway, keys, prefix, shards, auth, metrics, tls, stop } = options;
        Arc::new(Self {
            gateway,
            members: Members::default(),
            stop,
            tls,
            requests: Signer::new(gateway, keys.requests.clone()),
            messages: Signer::new(gateway, keys.messages.clone()),
            beats: format!("{prefix}.ctl.gateways"),
            asks: format!("{prefix}.ctl.ask"),
            nats: OnceLock::new(),
            shards,
            auth,
            metrics,
            passing: AtomicUsize::new(0),
        })
    }

    /// One more client on its way through; none when there are `most`.
    pub fn pass(self: &Arc<Self>, most: usize) -> Option<Passing> {
        let before = self.passing.fetch_add(1, Ordering::Relaxed);
        let passing = Passing(self.clone());
        (before < most).then_some(passing)
    }

    /// How many there are.
    pub fn passing(&self) -> usize {
        self.passing.load(Ordering::Relaxed)
    }

    /// A gateway can't be asked because one of us has `peer.tls` and the
    /// other hasn't.
    fn differs(&self, member: &Member, own: bool) {
        let label = crate::metrics::ReasonLabel { reason: "tls" };
        self.metrics.peer_refused.get_or_create(&label).inc();
        let (with, without) = if own { ("this", "that") } else { ("that", "this") };
        tracing::debug!(gateway = %member.id, "{with} gateway has peer.tls and {without} one has not; its clients here come back as new ones");
    }

    fn refused(&self, refusal: signer::Refusal) {
        let label = crate::metrics::ReasonLabel { reason: refusal.label() };
        self.metrics.peer_refused.get_or_create(&label).inc();
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.passing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The keys of a cluster, or of a gateway that is alone and without a secret.
pub fn keys(peer: &gateway_config::Peer, prefix: &str) -> Result<ClusterKeys, NoRandomness> {
    match peer.secret() {
        Some(secret) => Ok(ClusterKeys::derive(secret.as_bytes(), prefix)),
        None => Ok(ClusterKeys::derive(crate::session::sid::random_id()?.as_bytes(), prefix)),
    }
}

// === impl ClusterParts ===

impl ClusterParts {
    /// Starts the cluster's thread: neither clients nor publishers keep a
    /// gateway from saying that it is there. The peer listener has a thread
    /// of its own, for the same reason: TLS takes time.
    pub fn spawn(mut self) -> std::io::Result<Vec<JoinHandle<()>>> {
        let mut threads = Vec::new();
        if let Some(listener) = self.listener.take() {
            let shared = self.shared.clone();
            threads.push(thread("peer", async move {
                if let Err(error) = listener::serve(&shared, listener).await {
                    tracing::error!(%error, "the peer listener failed");
                }
            })?);
        }
        threads.push(thread("cluster", self.run())?);
        Ok(threads)
    }

    async fn run(self) {
        let Self { shared, address, status, readiness, .. } = self;
        let cluster = shared.cluster.clone();
        let mut marks = marks::Follower::new(&shared);
        // Before it is ready, and before it says that it is there: what is
        // revoked from then on, it is told.
        tokio::select! {
            () = marks.begin() => {}
            () = cluster.stop.cancelled() => return,
        }
        let speak = async {
            let name = format!("{}-cluster", cluster.gateway);
            while !cluster.stop.is_cancelled() {
                match Connection::open(&shared.config.relay, &name).await {
                    Ok(connection) => {
                        // The first one; it reconnects by itself.
                        let client = cluster.nats.get_or_init(|| connection.client).clone();
                        let speaker = heartbeat::Speaker {
                            cluster: &cluster,
                            client,
                            address: address.clone(),
                            status: status.clone(),
                        };
                        if let Err(error) = speaker.run(&readiness).await {
                            tracing::warn!(%error, "this gateway can't hear the others");
                        }
                    }
                    Err(error) => tracing::warn!(%error, "this gateway can't speak to others"),
                }
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = cluster.stop.cancelled() => {}
                }
            }
        };
        tokio::select! {
            () = speak => {}
            () = follow_files(&cluster) => {}
            () = marks.follow() => {}
        }
    }
}

/// Reads renewed certificates.
async fn follow_files(cluster: &Cluster) {
    match &cluster.tls {
        Some(tls) => tls.follow().await,
        None => std::future::pending().await,
    }
}

/// A thread with a runtime of its own.
fn thread(
    name: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work))
}

/// Milliseconds since 1970.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

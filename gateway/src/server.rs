//! Builds all parts from one resolved configuration, starts them, stops them.

use std::net::SocketAddr;
use std::rc::Weak;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use gateway_config::{Config, Period};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::auth::{ApiKeys, AuthConfigError, KeyError};
use crate::door;
use crate::metrics::Metrics;
use crate::relay::jetstream::ConnectError;
use crate::reload::config_hash;
use crate::rules::Rules;
use crate::session::engine::EngineApp;
use crate::session::sid::NoRandomness;
use crate::session::socketio::SocketIoApp;
use crate::shard::{Shard, Shared};
use crate::tls::{ListenerTls, Trouble};
use crate::upstream::Upstream;

mod peer;
mod relay;
mod run;
mod starting;

pub use starting::Starting;

use relay::Chosen;

/// Feed items that may wait for a shard. A publisher waits beyond that.
const FEED_QUEUE: usize = 4_096;
/// Questions that may wait for a shard.
const CONTROL_QUEUE: usize = 1_024;
/// How long a gateway of a cluster takes new clients after SIGTERM.
const CLUSTER_DELAY: Period = Period::from_secs(5);
/// Time between two looks for revocations whose time is over.
const PURGE: Duration = Duration::from_mins(1);
/// How long threads have to end after the last session.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What a gateway is built from.
pub struct Options {
    /// Checked.
    pub config: Config,
    /// Receives clients' events, in this process.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Answers Engine.IO sessions; Socket.IO unless something else is given.
    pub app: AppFactory,
}

/// Makes the part of each shard that answers Engine.IO sessions.
pub type AppFactory = Arc<dyn Fn(Weak<Shard>) -> Box<dyn EngineApp> + Send + Sync>;

/// A running gateway.
pub struct Running {
    /// Where clients connect.
    pub client: SocketAddr,
    /// Where apps publish.
    pub api: SocketAddr,
    /// Health, metrics, status.
    pub admin: SocketAddr,
    /// Where other gateways connect, if they do.
    pub peer: Option<SocketAddr>,
    /// Whether that speaks TLS.
    pub peer_tls: bool,
    /// What is counted.
    pub metrics: Metrics,
    api_tls: Option<Arc<ListenerTls>>,
    shared: Arc<Shared>,
    relay: Chosen,
    config: Arc<Config>,
    keys: Arc<ArcSwap<ApiKeys>>,
    limits: Arc<ArcSwap<gateway_config::Limits>>,
    hash: Arc<ArcSwap<String>>,
    drain: Arc<Drain>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

/// The drain, as `/status` and `POST /drain` see it.
#[derive(Default)]
struct Drain {
    asked: tokio::sync::Notify,
    draining: AtomicBool,
}

/// Why a gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address can't be had.
    #[error("can't listen on {listen} for clients: {source}; choose another `client.listen`")]
    Listen {
        /// As configured.
        listen: String,
        /// Why.
        source: std::io::Error,
    },
    /// The peer listener's address can't be had.
    #[error("can't listen on {listen} for other gateways: {source}; choose another `peer.listen`")]
    Peer {
        /// As configured.
        listen: String,
        /// Why.
        source: std::io::Error,
    },
    /// The API's or the admin listener.
    #[error(transparent)]
    Server(#[from] api::server::ServerError),
    /// Tokens can't be verified with what is configured.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// An API key isn't one.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The admin listener's token can't be had.
    #[error(transparent)]
    Token(#[from] crate::admin::TokenError),
    /// A listener can't speak TLS.
    #[error("a listener can't speak TLS: {0}")]
    Tls(#[from] Trouble),
    /// Gateways can't speak TLS with each other.
    #[error("there is no TLS between gateways: {0}")]
    PeerTls(#[from] crate::cluster::TlsError),
    /// A thread can't be started.
    #[error("can't start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// NATS can't be used.
    #[error(transparent)]
    Relay(#[from] ConnectError),
    /// The system has no randomness to give.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

// === impl Options ===

impl Options {
    /// Socket.IO, and nobody who receives clients' events.
    pub fn new(config: Config) -> Self {
        let app: AppFactory = Arc::new(|shard| Box::new(SocketIoApp { shard }));
        Self { config, upstream: None, app }
    }
}

// === impl Running ===

impl Running {
    /// What URLs of the client listener begin with.
    pub fn client_scheme(&self) -> &'static str {
        if self.shared.tls.is_some() { "https" } else { "http" }
    }

    /// What URLs of the API begin with.
    pub fn api_scheme(&self) -> &'static str {
        if self.api_tls.is_some() { "https" } else { "http" }
    }

    /// Starts a gateway; over NATS, waits until that is reached, as long as
    /// `relay.startTimeout` allows.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let mut starting = Starting::begin(options)?;
        starting.wait()?;
        starting.finish()
    }

    /// Works until it is told to stop: sweeps the relay's memory, follows the
    /// configuration and the listeners' certificates, looks after the memory,
    /// drains when asked to by `POST /drain`.
    pub async fn work(&self, mut configs: watch::Receiver<Arc<Config>>) {
        let sweep = self.relay.work(self.stop.cancelled());
        let follow = async {
            while configs.changed().await.is_ok() {
                let config = configs.borrow_and_update().clone();
                self.apply(&config).await;
            }
            std::future::pending::<()>().await;
        };
        let drain = async {
            loop {
                self.drain.asked.notified().await;
                // Then it stays up, refusing new sessions, until SIGTERM.
                self.drain_sessions().await;
            }
        };
        let certificates = async {
            let listeners = [&self.shared.tls, &self.api_tls];
            let follow = listeners.into_iter().flatten().map(|tls| tls.follow());
            futures_util::future::join_all(follow).await;
            // No listener has any.
            std::future::pending::<()>().await;
        };
        let purge = async {
            loop {
                tokio::time::sleep(PURGE).await;
                self.shared.auth.revocations().purge();
            }
        };
        tokio::select! {
            () = sweep => {}
            () = purge => {}
            () = follow => {}
            () = drain => {}
            () = certificates => {}
            () = door::memory::watch(&self.shared.door) => {}
        }
    }

    /// Puts the parts of a new configuration that can change into force.
    async fn apply(&self, config: &Config) {
        match ApiKeys::new(&config.api.keys) {
            Ok(keys) => self.keys.store(Arc::new(keys)),
            // It was checked before it came here.
            Err(error) => tracing::warn!(%error, "the API's keys stay as they were"),
        }
        self.shared.rules.store(Arc::new(rules_of(config)));
        self.shared.shards.rules_changed().await;
        self.limits.store(Arc::new(config.limits.clone()));
        self.hash.store(Arc::new(config_hash(config)));
    }

    /// Refuses new sessions after `drain.delay`, and closes those there are
    /// evenly over `drain.period`, with the sockets of other gateways' sessions
    /// that pass through here. Ready when none is left, or when the time is
    /// over.
    pub async fn drain_sessions(&self) {
        if self.drain.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        // One machine has no endpoints that must leave first.
        let default = if self.config.relay.is_memory() { Period::default() } else { CLUSTER_DELAY };
        let delay = self.config.drain.delay.unwrap_or(default).get();
        let period = self.config.drain.period.get();
        tokio::time::sleep(delay).await;
        self.shared.door.close();
        // A client that polls finds another way to its session with its next
        // request, while this gateway is there to be asked for it.
        self.shared.leaving.cancel();
        let open = self.shared.door.open();
        tracing::info!(connections = open, "draining");
        let gone = async {
            self.shared.shards.drain(period).await;
            while self.shared.door.open() > 0 || self.shared.cluster.passing() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // A close over polling waits for the client's next poll.
        let patience = period + STOP_TIMEOUT;
        if tokio::time::timeout(patience, gone).await.is_err() {
            let left = self.shared.door.open();
            tracing::warn!(connections = left, "closed at the end of the drain");
        }
    }

    /// Stops everything; requests in flight finish.
    pub fn stop(self) {
        self.shared.leaving.cancel();
        self.stop.cancel();
        starting::join(self.threads.into_iter().chain(self.relay.into_thread()));
    }
}

fn rules_of(config: &Config) -> Rules {
    Rules::new(config.channels.clone(), config.limits.publication_bytes)
        .with_history_bytes(config.relay.history_bytes)
        .with_replicas(config.relay.replicas)
        .with_generation(config.generation)
}

/// One shard for each core, unless the configuration says how many.
fn shard_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = if config.client.shards == 0 { cores } else { config.client.shards };
    count.clamp(1, usize::from(u8::MAX))
}

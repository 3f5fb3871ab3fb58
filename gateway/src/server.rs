//! Builds all parts from one resolved configuration, starts them, stops them.

use std::net::SocketAddr;
use std::rc::Weak;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gateway_config::{Config, Period};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminState, Readiness, Status, StatusSource};
use crate::api::{self, ApiState};
use crate::auth::{Access, ApiKeys, AuthConfigError, Authenticator, KeyError};
use crate::cluster::{self, Cluster, ClusterOptions, ClusterParts};
use crate::metrics::Metrics;
use crate::relay::Fanout;
use crate::relay::jetstream::ConnectError;
use crate::reload::config_hash;
use crate::rules::Rules;
use crate::session::engine::EngineApp;
use crate::session::sid::{GatewayId, NoRandomness};
use crate::session::socketio::SocketIoApp;
use crate::shard::{Shard, Shards, Shared};
use crate::transport::http;
use crate::upstream::Upstream;

mod peer;
mod relay;
mod run;

use relay::{Chosen, RelayParts};

/// Feed items that may wait for a shard. A publisher waits beyond that.
const FEED_QUEUE: usize = 4_096;
/// Questions that may wait for a shard.
const CONTROL_QUEUE: usize = 1_024;
/// How long a gateway of a cluster takes new clients after SIGTERM.
const CLUSTER_DELAY: Period = Period::from_secs(5);
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
    /// What is counted.
    pub metrics: Metrics,
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
    /// Starts a gateway.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let Options { config, upstream, app } = options;
        let count = shard_count(&config);
        let listen = &config.client.listen;
        let listeners = http::bind(listen, count)
            .map_err(|source| StartError::Listen { listen: listen.clone(), source })?;
        let client = listeners
            .first()
            .ok_or(std::io::ErrorKind::AddrNotAvailable.into())
            .and_then(std::net::TcpListener::local_addr)?;
        let (feeds, feed_receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(FEED_QUEUE)).unzip();
        let (controls, control_receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(CONTROL_QUEUE)).unzip();
        let config = Arc::new(config);
        let rules = rules_of(&config).shared();
        let gateway = GatewayId::random()?;
        let metrics = Metrics::default();
        let stop = CancellationToken::new();
        let fanout = Fanout::new(feeds, metrics.publications_received.clone());
        let parts = RelayParts {
            rules: rules.clone(),
            fanout: fanout.clone(),
            metrics: metrics.clone(),
            name: gateway.to_string(),
            stop: stop.clone(),
        };
        // Whatever fails from here on ends the relay's thread.
        let guard = stop.clone().drop_guard();
        let relay = Chosen::open(&config, parts)?;
        let auth = Arc::new(Authenticator::new(&config.auth)?);
        let keys = cluster::keys(&config.peer, &config.relay.prefix)?;
        let shards = Shards::new(controls);
        let cluster = Cluster::new(ClusterOptions {
            gateway,
            keys: &keys,
            prefix: &config.relay.prefix,
            shards: shards.clone(),
            metrics: metrics.clone(),
            stop: stop.clone(),
        });
        let shared = Arc::new(Shared {
            namespaces: config.socketio.namespaces.iter().map(|n| n.as_str().into()).collect(),
            gateway,
            sid_key: keys.sid,
            access: Access::new(rules.clone(), auth.has_issuer()),
            limits: Arc::new(ArcSwap::from_pointee(config.limits.clone())),
            rules,
            auth,
            relay: relay.relay(),
            fanout,
            metrics,
            upstream,
            shards,
            cluster,
            accepting: AtomicBool::new(true),
            leaving: CancellationToken::new(),
            connections: AtomicUsize::new(0),
            config: config.clone(),
        });
        let mut running = Self {
            client,
            api: client,
            admin: client,
            peer: None,
            metrics: shared.metrics.clone(),
            relay,
            keys: Arc::new(ArcSwap::from_pointee(ApiKeys::new(&config.api.keys)?)),
            limits: shared.limits.clone(),
            hash: Arc::new(ArcSwap::from_pointee(config_hash(&config))),
            drain: Arc::default(),
            stop,
            threads: Vec::new(),
            shared,
            config,
        };
        let parts = listeners.into_iter().zip(feed_receivers).zip(control_receivers);
        for (index, ((listener, feed), control)) in parts.enumerate() {
            let part = run::ShardParts {
                index: u8::try_from(index).unwrap_or(u8::MAX),
                shared: running.shared.clone(),
                listener,
                feed,
                control,
                app: app.clone(),
                stop: running.stop.clone(),
            };
            running.threads.push(part.spawn()?);
        }
        running.serve_http()?;
        guard.disarm();
        Ok(running)
    }

    /// Starts the API's and the admin listener, each on a thread of its own.
    fn serve_http(&mut self) -> Result<(), StartError> {
        let limits = (&self.config.limits).into();
        let status = self.status();
        let server = api::ApiServer::bind(&self.config.api.listen)?;
        self.api = server.local_addr();
        let router = api::router(ApiState {
            relay: self.shared.relay.clone(),
            cluster: self.shared.cluster.clone(),
            rules: self.shared.rules.clone(),
            keys: self.keys.clone(),
            limits: self.limits.clone(),
            metrics: self.metrics.clone(),
            status: status.clone(),
            local_only: self.api.ip().is_loopback(),
            client_port: self.client.port(),
        });
        self.threads.push(server.spawn("api", router, limits, self.stop.clone())?);
        let server = api::server::AdminServer::bind(&self.config.admin.listen)?;
        self.admin = server.local_addr();
        let readiness = Arc::new(Readiness::new("starting"));
        self.join_cluster(&status, &readiness)?;
        let drain = self.drain.clone();
        let router = admin::router(AdminState {
            registry: Arc::new(self.metrics.register()),
            readiness,
            status,
            drain: Arc::new(move || drain.asked.notify_one()),
        });
        self.threads.push(server.spawn("admin", router, limits, self.stop.clone())?);
        Ok(())
    }

    /// Ready when the other gateways are known; alone, at once.
    fn join_cluster(
        &mut self,
        status: &StatusSource,
        readiness: &Arc<Readiness>,
    ) -> Result<(), StartError> {
        if self.config.relay.is_memory() {
            readiness.set_ready();
            return Ok(());
        }
        let bound = peer::bind(&self.config.peer)?;
        self.peer = bound.local;
        let parts = ClusterParts {
            shared: self.shared.clone(),
            listener: bound.listener,
            address: bound.address,
            status: status.clone(),
            readiness: readiness.clone(),
        };
        self.threads.push(parts.spawn()?);
        Ok(())
    }

    fn status(&self) -> Arc<dyn Fn() -> Status + Send + Sync> {
        let shared = self.shared.clone();
        let drain = self.drain.clone();
        let hash = self.hash.clone();
        let started = Instant::now();
        let id: Arc<str> = shared.gateway.to_string().into();
        Arc::new(move || {
            let relay = shared.relay.status();
            let draining = drain.draining.load(Ordering::Relaxed);
            let open = shared.connections.load(Ordering::Relaxed) as u64;
            Status {
                id: id.clone(),
                version: env!("CARGO_PKG_VERSION").into(),
                uptime: started.elapsed().as_secs(),
                connections: open,
                accepting: shared.accepting.load(Ordering::Relaxed),
                draining,
                drain_remaining: draining.then_some(open),
                config_hash: hash.load().as_str().into(),
                relay: relay.kind,
                lag: relay.lag,
                nats: relay.into(),
            }
        })
    }

    /// Works until it is told to stop: sweeps the relay's memory, follows the
    /// configuration, drains when asked to by `POST /drain`.
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
        tokio::select! {
            () = sweep => {}
            () = follow => {}
            () = drain => {}
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
        self.shared.accepting.store(false, Ordering::Relaxed);
        // A client that polls finds another way to its session with its next
        // request, while this gateway is there to be asked for it.
        self.shared.leaving.cancel();
        let open = self.shared.connections.load(Ordering::Relaxed);
        tracing::info!(connections = open, "draining");
        let gone = async {
            self.shared.shards.drain(period).await;
            while self.shared.connections.load(Ordering::Relaxed) > 0
                || self.shared.cluster.passing() > 0
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // A close over polling waits for the client's next poll.
        let patience = period + STOP_TIMEOUT;
        if tokio::time::timeout(patience, gone).await.is_err() {
            let left = self.shared.connections.load(Ordering::Relaxed);
            tracing::warn!(connections = left, "closed at the end of the drain");
        }
    }

    /// Stops everything; requests in flight finish.
    pub fn stop(self) {
        self.shared.leaving.cancel();
        self.stop.cancel();
        for thread in self.threads.into_iter().chain(self.relay.into_thread()) {
            if thread.join().is_err() {
                tracing::error!("a thread ended by a fault of the gateway");
            }
        }
    }
}

fn rules_of(config: &Config) -> Rules {
    Rules::new(config.channels.clone(), config.limits.publication_bytes)
        .with_generation(config.generation)
}

/// One shard for each core, unless the configuration says how many.
fn shard_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = if config.client.shards == 0 { cores } else { config.client.shards };
    count.clamp(1, usize::from(u8::MAX))
}

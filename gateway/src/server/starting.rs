//! A gateway from its addresses to its first client. Its admin listener
//! answers all the while: who runs it asks there what it waits for.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use gateway_config::{Config, Recovery};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::relay::{Chosen, Opening, RelayParts};
use super::{AppFactory, CONTROL_QUEUE, Drain, FEED_QUEUE, Options, Running, StartError};
use super::{peer, rules_of, run, shard_count};
use crate::admin::{self, AdminState, AdminToken, NatsStatus, Readiness, Status, StatusSource};
use crate::api;
use crate::auth::{Access, ApiKeys, Authenticator, Callouts, Revocations};
use crate::cluster::{self, Cluster, ClusterKeys, ClusterOptions, ClusterParts, PeerTls};
use crate::door::{Door, files};
use crate::metrics::Metrics;
use crate::relay::{Fanout, FeedItem};
use crate::reload::config_hash;
use crate::rules::SharedRules;
use crate::session::sid::GatewayId;
use crate::shard::{Control, Shards, Shared};
use crate::tls::ListenerTls;
use crate::transport::address::Proxies;
use crate::transport::http;
use crate::upstream::Upstream;

/// A gateway that has its addresses and not its relay yet.
pub struct Starting {
    /// Health, metrics, status: served already.
    pub admin: SocketAddr,
    config: Arc<Config>,
    parts: Parts,
    /// What `/status` asks: that of the start, then that of the gateway.
    source: Arc<ArcSwap<StatusSource>>,
    readiness: Arc<Readiness>,
    drain: Arc<Drain>,
    hash: Arc<ArcSwap<String>>,
    began: Instant,
    relay: Relay,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

/// What waits for the relay.
struct Parts {
    client: SocketAddr,
    listeners: Vec<TcpListener>,
    feeds: Vec<mpsc::Receiver<FeedItem>>,
    controls: Vec<mpsc::Receiver<Control>>,
    shards: Shards,
    api: api::ApiServer,
    api_keys: ApiKeys,
    peer: peer::Bound,
    gateway: GatewayId,
    keys: ClusterKeys,
    tls: Option<Arc<PeerTls>>,
    client_tls: Option<Arc<ListenerTls>>,
    auth: Arc<Authenticator>,
    rules: SharedRules,
    fanout: Fanout,
    metrics: Metrics,
    upstream: Option<Arc<dyn Upstream>>,
    app: AppFactory,
}

enum Relay {
    Opening(Opening),
    Reached(Chosen),
}

// === impl Starting ===

impl Starting {
    /// Takes all addresses, so that one that is taken is told at once; serves
    /// the admin listener; begins to reach NATS, if there is to be one.
    pub fn begin(options: Options) -> Result<Self, StartError> {
        let Options { config, upstream, app } = options;
        let began = Instant::now();
        let count = shard_count(&config);
        let listen = &config.client.listen;
        let listeners = http::bind(listen, count)
            .map_err(|source| StartError::Listen { listen: listen.clone(), source })?;
        let client = listeners
            .first()
            .ok_or(std::io::ErrorKind::AddrNotAvailable.into())
            .and_then(TcpListener::local_addr)?;
        let metrics = Metrics::default();
        let client_tls = listener_tls("client.tls", config.client.tls.as_ref(), &config, &metrics)?;
        let api_tls = listener_tls("api.tls", config.api.tls.as_ref(), &config, &metrics)?;
        let api = api::ApiServer::bind(&config.api.listen)?.with_tls(api_tls, metrics.clone());
        let peer = if config.relay.is_memory() {
            peer::Bound::default()
        } else {
            peer::bind(&config.peer)?
        };
        let server = admin::AdminServer::bind(&config.admin.listen)?;
        let (feeds, feed_receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(FEED_QUEUE)).unzip();
        let (controls, control_receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(CONTROL_QUEUE)).unzip();
        let config = Arc::new(config);
        let rules = rules_of(&config).shared();
        let gateway = GatewayId::random()?;
        let fanout = Fanout::new(feeds, metrics.publications_received.clone());
        let stop = CancellationToken::new();
        let readiness = Arc::new(Readiness::new("starting"));
        let trouble = Arc::new(ArcSwapOption::empty());
        let hash = Arc::new(ArcSwap::from_pointee(config_hash(&config)));
        let drain: Arc<Drain> = Arc::default();
        let revocations = Arc::new(Revocations::new(metrics.revocations.clone()));
        let callouts = Callouts::new(&config, &gateway.to_string(), metrics.clone());
        let parts = Parts {
            client,
            listeners,
            feeds: feed_receivers,
            controls: control_receivers,
            shards: Shards::new(controls),
            api,
            api_keys: ApiKeys::new(&config.api.keys)?,
            peer,
            gateway,
            keys: cluster::keys(&config.peer, &config.relay.prefix)?,
            tls: peer_tls(&config, &metrics)?,
            client_tls,
            auth: Arc::new(Authenticator::new(&config.auth, revocations, callouts)?),
            rules: rules.clone(),
            fanout: fanout.clone(),
            metrics: metrics.clone(),
            upstream,
            app,
        };
        let token = admin_token(&config, &metrics)?;
        let source = Arc::new(ArcSwap::from_pointee(waiting(&config, gateway, &trouble, began)));
        let admin = server.local_addr();
        // Whatever fails from here on ends the threads.
        let guard = stop.clone().drop_guard();
        let router = {
            let (drain, source) = (drain.clone(), source.clone());
            admin::router(AdminState {
                registry: Arc::new(metrics.register()),
                readiness: readiness.clone(),
                status: Arc::new(move || source.load()()),
                drain: Arc::new(move || drain.asked.notify_one()),
                token,
            })
        };
        let limits = (&config.limits).into();
        let thread = server.spawn("admin", router, limits, stop.clone())?;
        let relay = Opening::begin(
            &config,
            RelayParts {
                rules,
                fanout,
                metrics,
                name: gateway.to_string(),
                readiness: readiness.clone(),
                trouble,
                stop: stop.clone(),
            },
        )?;
        guard.disarm();
        Ok(Self {
            admin,
            config,
            parts,
            source,
            readiness,
            drain,
            hash,
            began,
            relay: Relay::Opening(relay),
            stop,
            threads: vec![thread],
        })
    }

    /// Waits for the relay: over NATS, as long as `relay.startTimeout` allows.
    /// Cancelled, it can be called again. After an error the start is over.
    pub async fn reached(&mut self) -> Result<(), StartError> {
        if let Relay::Opening(opening) = &mut self.relay {
            match opening.reached().await {
                Ok(chosen) => self.relay = Relay::Reached(chosen),
                Err(error) => {
                    self.stop.cancel();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The same, and keeps its thread waiting; it may be one of a runtime's.
    pub fn wait(&mut self) -> Result<(), StartError> {
        // The runtime ends on that thread, too: on one of another runtime's it
        // must not.
        let wait = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(self.reached())
        };
        let waited = std::thread::scope(|scope| scope.spawn(wait).join());
        waited.unwrap_or_else(|_| Err(std::io::Error::other("the start failed").into()))
    }

    /// Gives the start up.
    pub fn stop(self) {
        self.stop.cancel();
        let relay = match self.relay {
            Relay::Opening(opening) => opening.into_thread(),
            Relay::Reached(chosen) => chosen.into_thread(),
        };
        join(self.threads.into_iter().chain(relay));
    }

    /// Serves. Called once the relay is reached.
    pub fn finish(self) -> Result<Running, StartError> {
        let Self { config, parts, source, readiness, drain, hash, began, relay, stop, .. } = self;
        let guard = stop.clone().drop_guard();
        let Relay::Reached(relay) = relay else {
            return Err(std::io::Error::other("the relay isn't there yet").into());
        };
        parts.auth.callouts().open(relay.relay());
        let cluster = Cluster::new(ClusterOptions {
            gateway: parts.gateway,
            keys: &parts.keys,
            prefix: &config.relay.prefix,
            shards: parts.shards.clone(),
            auth: parts.auth.clone(),
            metrics: parts.metrics.clone(),
            tls: parts.tls,
            stop: stop.clone(),
        });
        let limits = Arc::new(ArcSwap::from_pointee(config.limits.clone()));
        let shared = Arc::new(Shared {
            namespaces: config.socketio.namespaces.iter().map(|n| n.as_str().into()).collect(),
            gateway: parts.gateway,
            sid_key: parts.keys.sid,
            access: Access::new(parts.rules.clone(), parts.auth.has_issuer()),
            limits: limits.clone(),
            rules: parts.rules,
            auth: parts.auth,
            relay: relay.relay(),
            fanout: parts.fanout,
            metrics: parts.metrics.clone(),
            upstream: parts.upstream,
            shards: parts.shards,
            cluster,
            door: Door::new(
                limits.clone(),
                parts.metrics.clone(),
                files::room(config.limits.connections),
            ),
            leaving: CancellationToken::new(),
            tls: parts.client_tls,
            proxies: Proxies::new(&config.client),
            config: config.clone(),
        });
        let mut running = Running {
            client: parts.client,
            api: parts.api.local_addr(),
            admin: self.admin,
            peer: parts.peer.local,
            peer_tls: shared.cluster.tls.is_some(),
            api_tls: parts.api.tls().cloned(),
            metrics: parts.metrics,
            relay,
            keys: Arc::new(ArcSwap::from_pointee(parts.api_keys)),
            limits: shared.limits.clone(),
            hash: hash.clone(),
            drain: drain.clone(),
            stop: stop.clone(),
            threads: self.threads,
            shared: shared.clone(),
            config: config.clone(),
        };
        let status = status(&shared, &drain, &hash, began);
        source.store(Arc::new(status.clone()));
        let shards = parts.listeners.into_iter().zip(parts.feeds).zip(parts.controls);
        for (index, ((listener, feed), control)) in shards.enumerate() {
            let part = run::ShardParts {
                index: u8::try_from(index).unwrap_or(u8::MAX),
                shared: shared.clone(),
                listener,
                feed,
                control,
                app: parts.app.clone(),
                stop: stop.clone(),
            };
            running.threads.push(part.spawn()?);
        }
        let service = api::ApiService::new(api_parts(&running, status.clone()).into());
        let limits = (&config.limits).into();
        running.threads.push(parts.api.spawn("api", service, limits, stop.clone())?);
        // Ready when the other gateways are known; alone, at once.
        if config.relay.is_memory() {
            readiness.set_ready();
        } else {
            readiness.set_not_ready("asking who else is in the cluster");
            let peers = ClusterParts {
                shared,
                listener: parts.peer.listener,
                address: parts.peer.address,
                status,
                readiness,
            };
            running.threads.extend(peers.spawn()?);
        }
        guard.disarm();
        Ok(running)
    }
}

/// What the API works with.
fn api_parts(running: &Running, status: StatusSource) -> api::ApiParts {
    let shared = &running.shared;
    api::ApiParts {
        relay: shared.relay.clone(),
        cluster: shared.cluster.clone(),
        rules: shared.rules.clone(),
        keys: running.keys.clone(),
        auth: shared.auth.clone(),
        forgotten_after: forgotten_after(&running.config),
        limits: running.limits.clone(),
        metrics: running.metrics.clone(),
        status,
        local_only: running.api.ip().is_loopback(),
        client_port: running.client.port(),
    }
}

/// After so many milliseconds no gateway gives back a session that was away
/// since, whatever its clock says.
fn forgotten_after(config: &Config) -> Option<u64> {
    const CLOCKS: u64 = 60_000;
    match config.socketio.recovery {
        Recovery::Off => None,
        Recovery::On { max_disconnection } => Some(max_disconnection.as_millis() + CLOCKS),
    }
}

fn peer_tls(config: &Config, metrics: &Metrics) -> Result<Option<Arc<PeerTls>>, StartError> {
    let tls = config.peer.tls.as_ref().filter(|_| !config.relay.is_memory());
    let tls = tls.map(|tls| PeerTls::open(tls, metrics.clone())).transpose()?;
    Ok(tls.map(Arc::new))
}

fn listener_tls(
    section: &'static str,
    tls: Option<&gateway_config::ListenerTls>,
    config: &Config,
    metrics: &Metrics,
) -> Result<Option<Arc<ListenerTls>>, StartError> {
    let timeout = config.limits.handshake_timeout.get();
    let tls = tls.filter(|tls| tls.is_set());
    let tls = tls.map(|tls| ListenerTls::open(section, tls, timeout, metrics.clone()));
    Ok(tls.transpose()?.map(Arc::new))
}

fn admin_token(config: &Config, metrics: &Metrics) -> Result<Option<Arc<AdminToken>>, StartError> {
    let path = config.admin.token_file();
    let token = path.map(|path| AdminToken::open(path.as_ref(), metrics.clone())).transpose()?;
    Ok(token.map(Arc::new))
}

/// Joins threads that were told to end.
pub(super) fn join(threads: impl Iterator<Item = JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread ended by a fault of the gateway");
        }
    }
}

/// How a gateway is that has no relay yet.
fn waiting(
    config: &Config,
    gateway: GatewayId,
    trouble: &Arc<ArcSwapOption<String>>,
    began: Instant,
) -> StatusSource {
    let id: Arc<str> = gateway.to_string().into();
    let hash: Arc<str> = config_hash(config).into();
    let relay = if config.relay.is_memory() { "memory" } else { "nats" };
    let trouble = trouble.clone();
    Arc::new(move || {
        Status {
            id: id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime: began.elapsed().as_secs(),
            connections: 0,
            accepting: false,
            draining: false,
            drain_remaining: None,
            config_hash: hash.clone(),
            relay,
            nats: NatsStatus {
                connected: false,
                // None yet: the first attempt is under way.
                error: trouble.load().as_deref().cloned(),
                version: None,
            },
            lag: 0,
        }
    })
}

/// How a gateway is that serves.
fn status(
    shared: &Arc<Shared>,
    drain: &Arc<Drain>,
    hash: &Arc<ArcSwap<String>>,
    began: Instant,
) -> StatusSource {
    let (shared, drain, hash) = (shared.clone(), drain.clone(), hash.clone());
    let id: Arc<str> = shared.gateway.to_string().into();
    Arc::new(move || {
        let relay = shared.relay.status();
        let draining = drain.draining.load(Ordering::Relaxed);
        let open = shared.door.open() as u64;
        Status {
            id: id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime: began.elapsed().as_secs(),
            connections: open,
            accepting: shared.door.is_accepting(),
            draining,
            drain_remaining: draining.then_some(open),
            config_hash: hash.load().as_str().into(),
            relay: relay.kind,
            lag: relay.lag,
            nats: relay.into(),
        }
    })
}

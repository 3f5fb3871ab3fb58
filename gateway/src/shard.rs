//! A shard: one thread, its runtime, its sessions and its part of the hub.
//!
//! One thread owns a session and its subscriptions, so no lock and no
//! cross-thread wake lies on the delivery path; a publication crosses to each
//! shard once.
//!
//! # Layout
//!
//! - [`control`]: what other threads ask of a shard
//! - [`interest`]: which channels the relay is asked for
//! - [`table`]: sessions by their names
//! - [`timers`]: one wheel of timers for all its sessions
//! - [`turn`]: how long one client may keep the others waiting

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use arc_swap::ArcSwap;
use arcstr::ArcStr;
use gateway_config::{Config, Limits, Recovery};
use slab::Slab;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::access::Access;
use crate::auth::token::Authenticator;
use crate::cluster::Cluster;
use crate::cluster::forward::Forwarder;
use crate::door::Door;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Hub, Outbox, OutboxLimits};
use crate::metrics::{CodeLabel, LimitLabel, Metrics, ReasonLabel, TransportLabel};
use crate::offset::Position;
use crate::protocol::engineio::Wire;
use crate::relay::{Fanout, FeedItem, Owner, Relay};
use crate::rules::SharedRules;
use crate::session::Session;
use crate::session::engine::{Engine, EngineApp};
use crate::session::meter::Meter;
use crate::session::sid::{GatewayId, SidKey};
use crate::tls::ListenerTls;
use crate::transport::address::Proxies;
use crate::upstream::Upstream;

pub mod control;
pub mod interest;
pub mod table;
pub mod timers;
pub mod turn;

pub use control::{ChannelCounts, Control, ShardHandle, Shards};
use interest::Interest;
use table::Table;
use timers::Timers;

/// How often a busy shard offers its core to other threads.
const GIVE_WAY: Duration = Duration::from_micros(250);
/// Feed items taken in one round: their frames go out in one gathered write
/// for each connection.
const ROUND: usize = 64;
/// How long a client that is ahead of its shard waits for it.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes read from a socket at once.
const READ_BUFFER: usize = 64 << 10;

/// What all shards share.
pub struct Shared {
    /// The configuration at the start.
    pub config: Arc<Config>,
    /// The namespaces that exist.
    pub namespaces: Arc<[ArcStr]>,
    /// This process.
    pub gateway: GatewayId,
    /// Makes and reads session ids.
    pub sid_key: SidKey,
    /// The limits in force.
    pub limits: Arc<ArcSwap<Limits>>,
    /// The channel rules in force.
    pub rules: SharedRules,
    /// What an identity may do.
    pub access: Access,
    /// Who a client is.
    pub auth: Arc<Authenticator>,
    /// The way to other gateways.
    pub relay: Arc<dyn Relay>,
    /// What the relay has brought.
    pub fanout: Fanout,
    /// What is counted.
    pub metrics: Metrics,
    /// Receives clients' events, if there is one.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// All shards.
    pub shards: Shards,
    /// The other gateways.
    pub cluster: Arc<Cluster>,
    /// Who may come in.
    pub door: Arc<Door>,
    /// Cancelled when this gateway is left: HTTP connections end with the
    /// request that they are at.
    pub leaving: CancellationToken,
    /// How clients are spoken TLS with, if they are.
    pub tls: Option<Arc<ListenerTls>>,
    /// The proxies in front of it.
    pub proxies: Proxies,
}

/// One shard. Lives on its thread.
pub struct Shard {
    /// Its number.
    pub index: u8,
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// Who is subscribed to what.
    pub hub: RefCell<Hub>,
    /// Its timers.
    pub timers: Timers,
    /// Engine.IO sessions by their id.
    pub engines: RefCell<Table<Engine>>,
    /// Sessions of every protocol, by their Socket.IO id.
    pub sessions: RefCell<Table<Session>>,
    /// Recoverable sessions by their private id.
    pub pids: RefCell<HashMap<Arc<str>, Rc<Session>>>,
    /// Connections that have no engine: `/ws` and `/sse`, each with what is
    /// said to it last.
    pub others: RefCell<Slab<(Rc<Outbox>, Option<Wire>)>>,
    /// WebSockets of other gateways' sessions that pass through here;
    /// cancelled, they end.
    pub splices: RefCell<Slab<CancellationToken>>,
    /// Answers new Engine.IO sessions.
    pub app: Box<dyn EngineApp>,
    /// Every task of the shard.
    pub tasks: TaskTracker,
    /// A ping, encoded once.
    pub ping: Wire,
    /// All connections read into it, one after the other.
    pub scratch: RefCell<Box<[u8]>>,
    /// The way to sessions of other gateways.
    pub forwarder: Forwarder,
    /// What the relay has for this shard.
    feed: RefCell<mpsc::Receiver<FeedItem>>,
    /// Items of the feed are being handed on just now.
    delivering: Cell<bool>,
    /// When the core was last offered to other threads.
    gave_way: Cell<Instant>,
    /// Channels that the relay is asked for and that the hub has not.
    interest: Interest,
}

// === impl Shared ===

impl Shared {
    /// Whether sessions can be recovered at all.
    pub fn recoverable(&self) -> bool {
        self.config.socketio.recovery != Recovery::Off
    }
}

// === impl Shard ===

impl Shard {
    /// A shard without sessions.
    pub fn new(
        index: u8,
        shared: Arc<Shared>,
        feed: mpsc::Receiver<FeedItem>,
        app: impl FnOnce(Weak<Self>) -> Box<dyn EngineApp>,
    ) -> Rc<Self> {
        let position = shared.fanout.position();
        let forwarder = Forwarder::new(shared.cluster.tls.clone());
        Rc::new_cyclic(|weak| Self {
            index,
            hub: RefCell::new(Hub::new(
                position,
                shared.namespaces.clone(),
                shared.metrics.clone(),
            )),
            shared,
            timers: Timers::default(),
            engines: RefCell::default(),
            sessions: RefCell::default(),
            pids: RefCell::default(),
            others: RefCell::default(),
            splices: RefCell::default(),
            app: app(weak.clone()),
            tasks: TaskTracker::new(),
            ping: Wire::text(&[b"2"]),
            scratch: RefCell::new(vec![0; READ_BUFFER].into()),
            forwarder,
            feed: RefCell::new(feed),
            delivering: Cell::new(false),
            gave_way: Cell::new(Instant::now()),
            interest: Interest::default(),
        })
    }

    /// Delivers the feed for as long as the relay has one.
    pub async fn deliver(&self) {
        let mut round = Vec::with_capacity(ROUND);
        let mut next = |context: &mut Context<'_>| {
            let taken = self.feed.borrow_mut().poll_recv_many(context, &mut round, ROUND);
            // In the same poll: nothing is ever taken and not yet handed on.
            taken.map(|count| {
                self.hand_on(&mut round);
                count > 0
            })
        };
        while std::future::poll_fn(&mut next).await {}
    }

    /// Hands on what the feed has brought so far. Then the position of this
    /// shard is where the feed is, though most of what came since may have
    /// been wanted by nobody here.
    ///
    /// To be called where a position is about to be told or compared, by
    /// callers that have nothing borrowed.
    pub fn catch_up(&self) {
        if self.delivering.get() {
            return;
        }
        // Before the queue is looked at: all up to it that is wanted here is
        // in the queue by now.
        let position = self.shared.fanout.position();
        let mut left = self.feed.borrow().len();
        let mut round = Vec::with_capacity(left.min(ROUND));
        while left > 0 {
            while round.len() < left.min(ROUND)
                && let Ok(item) = self.feed.borrow_mut().try_recv()
            {
                round.push(item);
            }
            if round.is_empty() {
                break;
            }
            left -= round.len();
            self.hand_on(&mut round);
        }
        self.hub.borrow_mut().advance(position);
    }

    /// Hands on what the feed has brought, if it has: publications go before
    /// what clients send, however many of them flood.
    pub fn deliver_first(&self) {
        if !self.delivering.get() && !self.feed.borrow().is_empty() {
            self.catch_up();
        }
    }

    /// Offers the core to the gateway's other threads, now and then. Where
    /// there are fewer cores than threads, a shard that is flooded would keep
    /// the API's thread from publishing for a slice of the scheduler's, which
    /// is some 3 ms.
    pub fn give_way(&self) {
        let now = Instant::now();
        if now.duration_since(self.gave_way.get()) >= GIVE_WAY {
            std::thread::yield_now();
            self.gave_way.set(now);
        }
    }

    fn hand_on(&self, round: &mut Vec<FeedItem>) {
        self.delivering.set(true);
        let direct = round.len() == 1;
        for item in round.drain(..) {
            // A fault with one publication must not stop the others.
            if catch_unwind(AssertUnwindSafe(|| self.feed(&item, direct))).is_err() {
                self.shared.metrics.panics.inc();
                tracing::error!("a publication could not be delivered: a fault of the gateway");
            }
        }
        self.hub.borrow_mut().flush();
        self.delivering.set(false);
    }

    /// Waits until this shard is as far as a client that comes to resume: it
    /// may have been served by a shard, or a gateway, that is a moment ahead,
    /// and must not be sent again what it has.
    pub async fn reach(&self, place: Position) -> Result<(), Error> {
        self.shared.relay.reach(place).await?;
        let head = self.shared.relay.head();
        // Nobody has been there: the replay will say so.
        if head.epoch != place.epoch || head.sequence < place.sequence {
            return Ok(());
        }
        let arrived = self.shared.fanout.reach(place);
        tokio::time::timeout(REACH_TIMEOUT, arrived).await.map_err(|_| {
            Error::new(
                ErrorCode::Unavailable,
                "this gateway is behind the one that gave the offset; try again in a moment",
            )
        })?;
        self.catch_up();
        Ok(())
    }

    fn feed(&self, item: &FeedItem, direct: bool) {
        match item {
            FeedItem::Publication(publication) => {
                // One session's own channel is not in the hub: an entry each
                // would cost every idle client memory.
                match publication.channel.as_str().strip_prefix("$sid.") {
                    Some(id) => {
                        let session = self.sessions.borrow().get(id);
                        let subscriber = session.as_ref().map(|session| &session.subscriber);
                        self.hub.borrow_mut().deliver_to(publication, subscriber);
                    }
                    None => self.hub.borrow_mut().deliver(publication, direct),
                }
            }
            FeedItem::Epoch(position) => {
                self.hub.borrow_mut().begin(*position);
                let sessions = self.sessions.borrow().all();
                for session in sessions {
                    self.close_session(&session, None, CloseReason::Resync);
                }
            }
            FeedItem::Lost(lost) => {
                let rules = self.shared.rules.load();
                let sessions = self.sessions.borrow().all();
                for session in sessions {
                    if session.has_channel(|channel| lost.hits(channel, rules.of(channel).history))
                    {
                        self.close_session(&session, None, CloseReason::Resync);
                    }
                }
            }
            FeedItem::Fenced { pid, owner } => self.fenced(pid, Some(*owner)),
        }
    }

    /// Another connection took over the session of this private id: whoever
    /// holds it here, as another owner than `owner`, must go.
    pub fn fenced(&self, pid: &Arc<str>, owner: Option<Owner>) {
        let session = self.pids.borrow().get(pid).cloned();
        if let Some(session) = session
            && (owner.is_none() || session.owner() != owner)
        {
            tracing::debug!("a session was taken over by another connection");
            self.close_session(&session, None, CloseReason::Fenced);
            session.end(false);
        }
    }

    /// Closes the transport of a session, never its namespace: the client
    /// comes back.
    pub fn close_session(&self, session: &Session, last: Option<Wire>, reason: CloseReason) {
        match session.engine.upgrade() {
            Some(engine) => engine.close(reason),
            None => session.subscriber.outbox.finish(last, reason),
        }
    }

    /// How much may wait for one connection.
    pub fn outbox_limits(&self) -> OutboxLimits {
        let limits = self.shared.limits.load();
        OutboxLimits { bytes: limits.outbox_bytes, messages: limits.outbox_messages }
    }

    /// What a new connection may send, if that is limited.
    pub fn meter(&self) -> Option<Box<Meter>> {
        Meter::new(&self.shared.limits.load(), self.shared.config.socketio.max_payload)
    }

    // --- counting ---

    /// A client sends more than it may: what it is told.
    pub fn limited(&self, limit: &'static str) -> Error {
        self.shared.metrics.limited.get_or_create(&LimitLabel { limit }).inc();
        Error::new(
            ErrorCode::RateLimited,
            format!("you send more than you may (`limits.{limit}`); send less, or wait"),
        )
    }

    /// Something panicked; it alone ends.
    pub fn panicked(&self, what: &str) {
        self.shared.metrics.panics.inc();
        tracing::error!("{what} failed by a fault of the gateway");
    }

    /// A request was refused.
    pub fn refused(&self, error: &Error) {
        let label = CodeLabel { code: error.code.as_str() };
        self.shared.metrics.refused.get_or_create(&label).inc();
    }

    /// A connection came.
    pub fn opened(&self, labels: (&'static str, &'static str), address: IpAddr) {
        tracing::debug!(%address, protocol = labels.0, transport = labels.1, "a client came");
        let label = label(labels);
        self.shared.metrics.connections.get_or_create(&label).inc();
        self.shared.metrics.connections_opened.get_or_create(&label).inc();
    }

    /// A connection went from polling to WebSocket.
    pub fn upgraded(&self, old: (&'static str, &'static str), new: (&'static str, &'static str)) {
        self.shared.metrics.connections.get_or_create(&label(old)).dec();
        self.shared.metrics.connections.get_or_create(&label(new)).inc();
        self.shared.metrics.upgrades.inc();
    }

    /// A connection ended.
    pub fn closed(&self, labels: (&'static str, &'static str), reason: CloseReason) {
        let metrics = &self.shared.metrics;
        metrics.connections.get_or_create(&label(labels)).dec();
        let reason_label = ReasonLabel { reason: reason.label() };
        metrics.connections_closed.get_or_create(&reason_label).inc();
        if reason == CloseReason::SlowConsumer {
            metrics.slow_consumers.inc();
        }
    }
}

fn label((protocol, transport): (&'static str, &'static str)) -> TransportLabel {
    TransportLabel { protocol, transport }
}

//! A shard: one thread, its runtime, its sessions and its part of the hub.
//!
//! One thread owns a session and its subscriptions, so no lock and no
//! cross-thread wake lies on the delivery path; a publication crosses to each
//! shard once.
//!
//! # Layout
//!
//! - [`control`]: what other threads ask of a shard
//! - [`timers`]: one wheel of timers for all its sessions
//! - [`turn`]: how long one client may keep the others waiting

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gateway_config::{Config, Limits, Recovery};
use slab::Slab;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::access::Access;
use crate::auth::token::Authenticator;
use crate::channel::Channel;
use crate::cluster::Cluster;
use crate::cluster::forward::Forwarder;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Hub, Outbox, OutboxLimits};
use crate::metrics::{CodeLabel, Metrics, ReasonLabel, TransportLabel};
use crate::offset::Position;
use crate::protocol::engineio::Wire;
use crate::relay::{Fanout, FeedItem, Owner, Relay};
use crate::rules::SharedRules;
use crate::session::Session;
use crate::session::engine::{Engine, EngineApp};
use crate::session::sid::{GatewayId, SidKey};
use crate::upstream::Upstream;

pub mod control;
pub mod timers;
pub mod turn;

pub use control::{ChannelCounts, Control, ShardHandle, Shards};
use timers::Timers;

/// Feed items taken in one round: their frames go out in one gathered write
/// for each connection.
const ROUND: usize = 64;
/// How long a client that is ahead of its shard waits for it.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the relay still brings a channel that nobody is subscribed to:
/// longer than any subscription takes from its join to its place in the hub,
/// and long enough that a reconnect finds it.
const LINGER: Duration = Duration::from_mins(1);
/// Channels that are looked at when one is left.
const LEAVES: usize = 4;
/// Bytes read from a socket at once.
const READ_BUFFER: usize = 64 << 10;

/// What all shards share.
pub struct Shared {
    /// The configuration at the start.
    pub config: Arc<Config>,
    /// The namespaces that exist.
    pub namespaces: Arc<[Box<str>]>,
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
    /// False: new sessions are refused.
    pub accepting: AtomicBool,
    /// Cancelled when this gateway is left: HTTP connections end with the
    /// request that they are at.
    pub leaving: CancellationToken,
    /// Open client connections of all shards.
    pub connections: AtomicUsize,
}

/// A place among the connections that the gateway may hold. Dropped: free.
pub struct Place(Arc<Shared>);

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
    pub engines: RefCell<HashMap<Box<str>, Rc<Engine>>>,
    /// Sessions of every protocol, by their Socket.IO id.
    pub sessions: RefCell<HashMap<Arc<str>, Rc<Session>>>,
    /// Recoverable sessions: private id → Socket.IO id.
    pub pids: RefCell<HashMap<Arc<str>, Arc<str>>>,
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
    /// Channels without history that the relay is being asked for.
    joining: RefCell<HashMap<Channel, Rc<Notify>>>,
    /// What the relay has for this shard.
    feed: RefCell<mpsc::Receiver<FeedItem>>,
    /// Items of the feed are being handed on just now.
    delivering: Cell<bool>,
    /// Channels that the relay was asked for, and when somebody last wanted
    /// them.
    joined: RefCell<HashMap<Channel, Instant>>,
    /// Channels that may have no subscriber left, and since when.
    left: RefCell<VecDeque<(Channel, Instant)>>,
}

/// A channel that the relay is being asked for. Dropped, also because the
/// client that wanted it is gone: whoever waits for the answer asks anew.
struct Joining<'a> {
    shard: &'a Shard,
    channel: &'a Channel,
    notify: Rc<Notify>,
    joined: bool,
}

// === impl Joining ===

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if !self.joined {
            self.shard.shared.fanout.unwant(self.shard.index, self.channel);
        }
        self.shard.joining.borrow_mut().remove(self.channel);
        self.notify.notify_waiters();
    }
}

// === impl Shared ===

impl Shared {
    /// Whether sessions can be recovered at all.
    pub fn recoverable(&self) -> bool {
        self.config.socketio.recovery != Recovery::Off
    }

    /// Takes a place for a new session, if it may come in. Taken before the
    /// handshake's answer: many at once are never more than the limit.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        if !self.accepting.load(Ordering::Relaxed) {
            return None;
        }
        let most = self.limits.load().connections;
        let place = Place(self.clone());
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(place)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
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
            joining: RefCell::default(),
            feed: RefCell::new(feed),
            delivering: Cell::new(false),
            joined: RefCell::default(),
            left: RefCell::default(),
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
                        let session = self.sessions.borrow().get(id).cloned();
                        let subscriber = session.as_ref().map(|session| &session.subscriber);
                        self.hub.borrow_mut().deliver_to(publication, subscriber);
                    }
                    None => self.hub.borrow_mut().deliver(publication, direct),
                }
            }
            FeedItem::Epoch(position) => {
                self.hub.borrow_mut().begin(*position);
                let sessions: Vec<_> = self.sessions.borrow().values().cloned().collect();
                for session in sessions {
                    self.close_session(&session, None, CloseReason::Resync);
                }
            }
            FeedItem::Lost(lost) => {
                let rules = self.shared.rules.load();
                let sessions: Vec<_> = self.sessions.borrow().values().cloned().collect();
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

    /// The first subscriber of a channel in this shard: the relay is asked
    /// for it. Ready when what is published from now on will arrive. The
    /// subscriber is to enter the hub within [`LINGER`].
    pub async fn join(&self, channel: &Channel) -> Result<(), Error> {
        loop {
            let waiting = self.joining.borrow().get(channel).cloned();
            match waiting {
                Some(waiting) => waiting.notified().await,
                None if self.is_joined(channel) => {
                    self.catch_up();
                    return Ok(());
                }
                None => break,
            }
        }
        let notify = Rc::new(Notify::new());
        self.joining.borrow_mut().insert(channel.clone(), notify.clone());
        let mut joining = Joining { shard: self, channel, notify, joined: false };
        self.shared.fanout.want(self.index, channel);
        self.shared.relay.join(channel).await?;
        // What came before it was wanted is behind the position now.
        self.catch_up();
        joining.joined = true;
        self.joined.borrow_mut().insert(channel.clone(), Instant::now());
        // It may be that nobody enters the hub after all.
        self.leave(channel);
        Ok(())
    }

    /// Whether the relay brings a channel; it will, for [`LINGER`] at least.
    fn is_joined(&self, channel: &Channel) -> bool {
        let mut joined = self.joined.borrow_mut();
        let Some(wanted) = joined.get_mut(channel) else { return false };
        *wanted = Instant::now();
        true
    }

    /// The last subscriber of a channel in this shard is gone. The relay is
    /// told some time later, if nobody came since.
    pub fn leave(&self, channel: &Channel) {
        let now = Instant::now();
        let mut left = self.left.borrow_mut();
        left.push_back((channel.clone(), now));
        // More go than come, so the queue stays as short as what lingers.
        for _ in 0..LEAVES {
            if left.front().is_none_or(|(_, since)| now - *since < LINGER) {
                break;
            }
            let Some((channel, _)) = left.pop_front() else { break };
            if self.hub.borrow().has(&channel) {
                // Its last subscriber will leave it again.
                continue;
            }
            let wanted = self.joined.borrow().get(&channel).copied();
            match wanted {
                Some(wanted) if now - wanted < LINGER => left.push_back((channel, now)),
                Some(_) => {
                    self.joined.borrow_mut().remove(&channel);
                    self.shared.fanout.unwant(self.index, &channel);
                    self.shared.relay.leave(&channel);
                }
                None => {}
            }
        }
    }

    /// Another connection took over the session of this private id: whoever
    /// holds it here, as another owner than `owner`, must go.
    pub fn fenced(&self, pid: &Arc<str>, owner: Option<Owner>) {
        let Some(id) = self.pids.borrow().get(pid).cloned() else { return };
        let session = self.sessions.borrow().get(&id).cloned();
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

    // --- counting ---

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
    pub fn opened(&self, labels: (&'static str, &'static str)) {
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

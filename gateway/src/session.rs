//! A client's life: who it is, what it is subscribed to, how it resumes.
//!
//! # Layout
//!
//! - [`sid`]: Engine.IO session ids
//! - [`engine`]: an Engine.IO session
//! - [`socketio`]: Socket.IO over it: namespaces, events, acks
//! - [`commands`]: `push:subscribe` and the like
//! - [`plain`]: a plain WebSocket
//! - [`events`]: a Server-Sent Events stream
//! - [`history`]: reading a channel's history
//! - [`subscribe`]: subscribing with resume, for all protocols
//! - [`recovery`]: connection state recovery
//! - [`user`]: what the API does with a user's sessions

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::SystemTime;

use gateway_config::subject;

use crate::auth::{Action, Identity};
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Form, Protocol, Subscriber, SubscriptionKey};
use crate::metrics::{RefusedLabel, Source, SourceLabel};
use crate::offset::Position;
use crate::protocol::engineio::{Message, Wire};
use crate::protocol::{json, socketio as sio, sse};
use crate::publication::{NewPublication, Published, Value, check_event, check_id};
use crate::shard::Shard;
use crate::shard::timers::{Timed, Timer, TimerKey};

pub mod commands;
pub mod engine;
pub mod events;
pub mod history;
pub mod plain;
pub mod recovery;
pub mod sid;
pub mod socketio;
pub mod subscribe;
pub mod user;

/// A resume point is renewed at least so often (5 minutes).
const POSITION_PERIOD_MOST: std::time::Duration = std::time::Duration::from_mins(5);
/// A client is told so long before its token's time is over.
const EXPIRING_NOTICE: std::time::Duration = std::time::Duration::from_mins(1);
/// How far the timer and the clock may be apart.
const EXPIRING_SLACK: std::time::Duration = std::time::Duration::from_secs(1);

/// One client in one namespace: a Socket.IO socket, a plain WebSocket, or an
/// SSE stream.
pub struct Session {
    /// Its Socket.IO id.
    pub id: Arc<str>,
    /// Its namespace; `/` outside Socket.IO.
    pub namespace: Box<str>,
    /// Its receiving end in the hub.
    pub subscriber: Rc<Subscriber>,
    pub(crate) shard: Rc<Shard>,
    pub(crate) engine: Weak<engine::Engine>,
    identity: RefCell<Arc<Identity>>,
    subscriptions: RefCell<HashMap<Channel, Subscription>>,
    recovery: RefCell<Option<recovery::Ownership>>,
    position_timer: Cell<Option<TimerKey>>,
    expiry_timer: Cell<Option<TimerKey>>,
    warned: Cell<bool>,
    ended: Cell<bool>,
}

/// One of a session's subscriptions.
#[derive(Clone, Debug)]
struct Subscription {
    key: SubscriptionKey,
    /// Nothing up to here is owed.
    start: Position,
    /// Where it entered the hub: an offset up to here was given before it.
    joined: Position,
    meta: bool,
    origin: Origin,
    history: bool,
}

/// Who subscribed the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The client, by a command.
    Command,
    /// The gateway (`$user`, `$all`) or the token's `join`.
    Connect,
}

/// What a session is made of.
pub struct NewSession {
    /// Socket.IO id.
    pub id: Arc<str>,
    /// Namespace.
    pub namespace: Box<str>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// What its publications look like.
    pub form: Form,
    /// Where they go.
    pub outbox: Rc<crate::hub::Outbox>,
    /// Socket.IO: the session that carries it.
    pub engine: Weak<engine::Engine>,
}

/// A session that its client hasn't been told of. Dropped, whether by an
/// error, a panic or because the client is gone: it ends.
pub(crate) struct Unannounced(Option<Rc<Session>>);

// === impl Unannounced ===

impl Unannounced {
    /// Of this session.
    pub(crate) fn new(session: &Rc<Session>) -> Self {
        Self(Some(session.clone()))
    }

    /// The client has it now.
    pub(crate) fn announced(mut self) {
        self.0 = None;
    }
}

impl Drop for Unannounced {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.end(false);
        }
    }
}

// === impl Session ===

impl Session {
    /// Whether it is subscribed to a channel of a kind.
    pub fn has_channel(&self, is: impl FnMut(&Channel) -> bool) -> bool {
        self.subscriptions.borrow().keys().any(is)
    }

    /// A session without subscriptions.
    pub fn new(shard: &Rc<Shard>, new: NewSession) -> Rc<Self> {
        let subscriber = Subscriber::new(new.id.as_ref().into(), new.form, new.outbox);
        let session = Rc::new(Self {
            id: new.id,
            namespace: new.namespace,
            subscriber,
            shard: shard.clone(),
            engine: new.engine,
            identity: RefCell::new(new.identity),
            subscriptions: RefCell::default(),
            recovery: RefCell::new(None),
            position_timer: Cell::new(None),
            expiry_timer: Cell::new(None),
            warned: Cell::new(false),
            ended: Cell::new(false),
        });
        shard.sessions.borrow_mut().insert(session.id.clone(), session.clone());
        session.schedule_expiry();
        session
    }

    /// Who it is.
    pub fn identity(&self) -> Arc<Identity> {
        self.identity.borrow().clone()
    }

    fn protocol(&self) -> Protocol {
        self.subscriber.form.protocol
    }

    /// What the client calls a channel of its subscriptions.
    fn resolve(&self, name: &str) -> Result<(Channel, bool), Error> {
        let channel = Channel::in_namespace(&self.namespace, name)?;
        let mapped = &*self.namespace != "/";
        // A name with `$` is closed in every namespace: checked before the
        // mapping hides it.
        if mapped && name.starts_with('$') {
            return Err(Error::new(
                ErrorCode::Forbidden,
                "channels that begin with `$` belong to the system; choose another name",
            )
            .field("channel"));
        }
        Ok((channel, mapped))
    }

    fn check(&self, name: &str, action: Action) -> Result<Channel, Error> {
        let (channel, mapped) = self.resolve(name)?;
        self.shard.shared.access.check(&self.identity(), &channel, mapped, action)?;
        Ok(channel)
    }

    /// Publishes for the client.
    pub async fn publish(&self, mut publication: NewPublication) -> Result<Published, Error> {
        let done = self.try_publish(&mut publication).await;
        let metrics = &self.shard.shared.metrics;
        match &done {
            Ok(_) => {
                metrics.publications.get_or_create(&SourceLabel { source: Source::client }).inc();
            }
            Err(error) => {
                let label = RefusedLabel { source: Source::client, code: error.code.as_str() };
                metrics.publications_refused.get_or_create(&label).inc();
            }
        }
        done
    }

    async fn try_publish(&self, publication: &mut NewPublication) -> Result<Published, Error> {
        let channel = self.check(publication.channel.as_str(), Action::Publish)?;
        check_event(&publication.event)?;
        sio::check_args(&publication.args)?;
        publication.id.as_deref().map_or(Ok(()), check_id)?;
        let most = self.shard.shared.access.rule(&channel).max_payload;
        if publication.size() > most {
            return Err(Error::new(
                ErrorCode::PayloadTooLarge,
                format!("a publication on this channel has at most {most} bytes"),
            )
            .field("data"));
        }
        publication.channel = channel;
        Ok(self.shard.shared.relay.publish(publication.clone()).await?)
    }

    /// A new token for a session whose old one ends.
    pub async fn refresh(self: &Rc<Self>, token: &str) -> Result<serde_json::Value, Error> {
        let identity = self.shard.shared.auth.authenticate(Some(token)).await?;
        if identity.user != self.identity.borrow().user {
            return Err(Error::new(
                ErrorCode::Forbidden,
                "the new token is another user's; connect anew to change the user",
            ));
        }
        let expires = identity.expires;
        *self.identity.borrow_mut() = identity;
        self.warned.set(false);
        self.schedule_expiry();
        self.drop_forbidden();
        Ok(serde_json::json!({ "expires": expires.map(unix_seconds) }))
    }

    /// Ends subscriptions that the token no longer allows.
    fn drop_forbidden(&self) {
        let identity = self.identity();
        let mapped = &*self.namespace != "/";
        let joined = self.connect_channels();
        let gone: Vec<Channel> = self
            .subscriptions
            .borrow()
            .iter()
            .filter(|(channel, subscription)| match subscription.origin {
                Origin::Command => {
                    let access = &self.shard.shared.access;
                    !joined.contains(channel)
                        && access.check(&identity, channel, mapped, Action::Subscribe).is_err()
                }
                Origin::Connect => !joined.contains(channel),
            })
            .map(|(channel, _)| channel.clone())
            .collect();
        for channel in gone {
            self.remove(&channel);
            self.notify(
                "push:unsubscribed",
                &serde_json::json!({
                    "channel": self.name_of(&channel),
                    "code": ErrorCode::Forbidden.as_str(),
                }),
            );
        }
    }

    /// What the client calls a channel.
    fn name_of<'a>(&self, channel: &'a Channel) -> &'a str {
        let name = channel.as_str();
        let namespace = self.namespace.trim_start_matches('/');
        if namespace.is_empty() {
            return name;
        }
        name.strip_prefix("$ns.")
            .and_then(|rest| rest.strip_prefix(&*subject::encode_token(namespace)))
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(name)
    }

    /// Tells the client something of the gateway's own, in its protocol.
    pub fn notify(&self, event: &str, data: &serde_json::Value) {
        self.subscriber.outbox.send(&self.notice(event, data));
    }

    /// The same, to be sent later.
    fn notice(&self, event: &str, data: &serde_json::Value) -> Message {
        match self.protocol() {
            Protocol::Socketio => sio::event(&self.namespace, event, &[Value::json(data)], None),
            Protocol::Websocket => {
                let text = serde_json::json!({ "event": event, "data": data }).to_string();
                Message::One(Wire::text(&[text.as_bytes()]))
            }
            Protocol::Sse => Message::One(Wire::raw(sse::notice(event, data))),
        }
    }

    /// Tells the client its position, unless a replay is under way: then its
    /// position is in the replayed frames.
    fn notify_position(&self) {
        if self.subscriber.is_held() {
            return;
        }
        self.shard.catch_up();
        let offset = self.shard.hub.borrow().position().to_string();
        let message = match self.protocol() {
            Protocol::Socketio => {
                sio::event(&self.namespace, "push:offset", &[Value::json(&offset)], None)
            }
            Protocol::Websocket => Message::One(json::offset_notice(&offset)),
            Protocol::Sse => Message::One(Wire::raw(sse::position(&offset))),
        };
        self.subscriber.outbox.send(&message);
    }

    /// Whether a resume point means something to this session.
    fn has_history(&self) -> bool {
        let resumable = match self.protocol() {
            Protocol::Socketio => self.subscriber.form.recoverable,
            Protocol::Websocket | Protocol::Sse => true,
        };
        resumable && self.subscriptions.borrow().values().any(|s| s.history)
    }

    /// From the first subscription with history on, the session is told its
    /// position: now, and before it ages.
    /// `now`: false where it has just been told by other means.
    pub(crate) fn start_positions(self: &Rc<Self>, now: bool) {
        let mut timer = self.position_timer.take();
        if timer.is_none() && self.has_history() && !self.ended.get() {
            if now {
                self.notify_position();
            }
            timer = Some(self.set_position_timer());
        }
        self.position_timer.set(timer);
    }

    /// Replays that lie before a notice of the position in the outbox: who
    /// gets the notice has got them.
    fn settle_replays(self: &Rc<Self>) {
        let mut settled = false;
        for subscription in self.subscriptions.borrow_mut().values_mut() {
            settled |= subscription.start != subscription.joined;
            subscription.start = subscription.joined;
        }
        if settled {
            let session = self.clone();
            self.shard.tasks.spawn_local(async move {
                // Not written: the client gets a replay twice, at worst.
                let _ = session.write_record().await;
            });
        }
    }

    fn set_position_timer(self: &Rc<Self>) -> TimerKey {
        let quarter = self.shard.shared.rules.load().shortest_age().get() / 4;
        let period = quarter.min(POSITION_PERIOD_MOST);
        // Spread over a tenth, so that sessions that came together don't all
        // speak at once.
        let spread =
            self.id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
        let period = period.saturating_sub(period * (spread % 100) / 1_000);
        self.shard.timers.set_after(self.weak(), Timer::Position, period)
    }

    fn schedule_expiry(self: &Rc<Self>) {
        if let Some(key) = self.expiry_timer.take() {
            self.shard.timers.remove(&key);
        }
        let Some(expires) = self.identity.borrow().expires else { return };
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        let wait = if self.warned.get() { left } else { left.saturating_sub(EXPIRING_NOTICE) };
        self.expiry_timer.set(Some(self.shard.timers.set_after(self.weak(), Timer::Expiry, wait)));
    }

    fn expiring(self: &Rc<Self>) {
        self.expiry_timer.set(None);
        let Some(expires) = self.identity.borrow().expires else { return };
        if let Ok(left) = expires.duration_since(SystemTime::now())
            && !left.is_zero()
        {
            // Earlier: a timer has an end, a token may have none in sight.
            let near = left <= EXPIRING_NOTICE + EXPIRING_SLACK;
            if !near || self.warned.replace(true) {
                return self.schedule_expiry();
            }
            self.notify("push:expiring", &serde_json::json!({ "expires": unix_seconds(expires) }));
            self.schedule_expiry();
            return;
        }
        // The transport closes, not the namespace: the client comes back,
        // with a fresh token or to be told `token_expired`.
        let last = match self.protocol() {
            Protocol::Socketio => Some(Wire::raw(crate::protocol::websocket::close(1000, ""))),
            Protocol::Websocket => Some(Wire::raw(plain::close_frame(ErrorCode::TokenExpired))),
            Protocol::Sse => None,
        };
        if self.protocol() != Protocol::Socketio {
            let error =
                Error::new(ErrorCode::TokenExpired, "the token's time is over; get a new one");
            self.notify("push:error", &error.to_json());
        }
        self.shard.close_session(self, last, CloseReason::TokenExpired);
    }

    fn weak(self: &Rc<Self>) -> Weak<dyn Timed> {
        let owner: Rc<dyn Timed> = self.clone();
        Rc::downgrade(&owner)
    }

    /// The session is over: its subscriptions end. What recovery needs stays,
    /// unless the client left for good.
    pub fn end(&self, for_good: bool) {
        if self.ended.replace(true) {
            return;
        }
        for key in [self.position_timer.take(), self.expiry_timer.take()].into_iter().flatten() {
            self.shard.timers.remove(&key);
        }
        let channels: Vec<Channel> = self.subscriptions.borrow().keys().cloned().collect();
        for channel in channels {
            self.remove(&channel);
        }
        self.shard.sessions.borrow_mut().remove(&self.id);
        self.leave_recovery(for_good);
    }
}

impl Timed for Session {
    fn due(self: Rc<Self>, timer: Timer) {
        match timer {
            Timer::Position => {
                self.position_timer.set(None);
                if !self.ended.get() {
                    if self.has_history() {
                        self.settle_replays();
                        self.notify_position();
                    }
                    let key = self.set_position_timer();
                    self.position_timer.set(Some(key));
                }
            }
            Timer::Expiry => self.expiring(),
            Timer::Heartbeat | Timer::Connect | Timer::Upgrade | Timer::Close => {}
        }
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

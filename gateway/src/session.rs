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
//! - [`meter`]: how much one connection may send
//! - [`history`]: reading a channel's history
//! - [`subscribe`]: subscribing with resume, for all protocols
//! - `subscriptions`: what a session is subscribed to
//! - [`recovery`]: connection state recovery
//! - [`user`]: what the API does with a user's sessions

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::SystemTime;

use arcstr::ArcStr;

use crate::auth::revocation::{revoked, unix_millis};
use crate::auth::{Access, Action, Asking, Identity, Newcomer};
use crate::channel::Channel;
use crate::door::UserPlace;
use crate::error::{Error, ErrorCode};
use crate::hub::encode::notice;
use crate::hub::{CloseReason, Form, Protocol, Subscriber};
use crate::metrics::{RefusedLabel, Source, SourceLabel};
use crate::protocol::engineio::{Message, Wire};
use crate::protocol::{json, socketio as sio, sse};
use crate::publication::{NewPublication, Published, Value, check_event, check_id};
use crate::shard::table::Named;
use crate::shard::timers::{Timed, Timer, TimerKey};
use crate::shard::{Shard, Shared};

pub mod commands;
pub mod engine;
pub mod events;
pub mod history;
pub mod meter;
pub mod plain;
pub mod recovery;
pub mod sid;
pub mod socketio;
pub mod subscribe;
mod subscriptions;
pub mod user;

use subscriptions::Subscriptions;

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
    pub namespace: ArcStr,
    /// Its receiving end in the hub.
    pub subscriber: Rc<Subscriber>,
    pub(crate) shard: Rc<Shard>,
    pub(crate) engine: Weak<engine::Engine>,
    identity: RefCell<Arc<Identity>>,
    subscriptions: RefCell<Subscriptions>,
    recovery: RefCell<Option<recovery::Ownership>>,
    position_timer: Cell<Option<TimerKey>>,
    expiry_timer: Cell<Option<TimerKey>>,
    warned: Cell<bool>,
    /// The client knows of it. Before that nothing may reach the client: it
    /// would take a publication for one of a session that it has yet to join.
    announced: Cell<bool>,
    ended: Cell<bool>,
    /// One of its user's, while it lasts.
    user_place: Cell<Option<UserPlace>>,
    /// When it began, in milliseconds since 1970; a recovered one, at first.
    began: Cell<u64>,
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
    pub namespace: ArcStr,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// One more of its user's, where those are counted.
    pub user_place: Option<UserPlace>,
    /// What its publications look like.
    pub form: Form,
    /// Where they go.
    pub outbox: Rc<crate::hub::Outbox>,
    /// Socket.IO: the session that carries it.
    pub engine: Weak<engine::Engine>,
}

/// A session that its client hasn't been told of: what is for it waits.
/// Dropped, whether by an error, a panic or because the client is gone: it
/// ends, and what waited goes with it.
pub(crate) struct Unannounced(Option<Rc<Session>>);

// === impl Unannounced ===

impl Unannounced {
    /// Of this session.
    pub(crate) fn new(session: &Rc<Session>) -> Self {
        Self(Some(session.clone()))
    }

    /// The client has it now.
    pub(crate) fn announced(mut self) {
        if let Some(session) = self.0.take() {
            session.announced.set(true);
            session.subscriber.release();
        }
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
        self.subscriptions.borrow().channels().any(is)
    }

    /// A session without subscriptions, to be announced ([`Unannounced`]).
    pub fn new(shard: &Rc<Shard>, new: NewSession) -> Rc<Self> {
        let subscriber = Subscriber::new(new.id.clone(), new.form, new.outbox);
        subscriber.hold();
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
            announced: Cell::new(false),
            ended: Cell::new(false),
            user_place: Cell::new(new.user_place),
            began: Cell::new(unix_millis(SystemTime::now())),
        });
        shard.sessions.borrow_mut().insert(session.clone());
        session.tell("connects", None, Ok(()));
        session.schedule_expiry();
        session
    }

    /// Logs what a watched user does, and how that went; never what is in it.
    fn tell(
        &self,
        what: impl std::fmt::Display,
        channel: Option<&str>,
        result: Result<(), &Error>,
    ) {
        let identity = self.identity.borrow();
        let user = identity.user.as_deref();
        if !self.shard.shared.auth.watched().is(user) {
            return;
        }
        let (session, namespace) = (&*self.id, &*self.namespace);
        let protocol = self.protocol().as_str();
        match result {
            Ok(()) => tracing::info!(
                target: "gateway::watch",
                user, session, protocol, namespace, channel, "a watched user {what}"
            ),
            Err(error) => tracing::info!(
                target: "gateway::watch",
                user, session, protocol, namespace, channel, code = error.code.as_str(),
                "a watched user {what}, and is refused: {}", error.message
            ),
        }
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

    async fn check(&self, name: &str, action: Action) -> Result<Channel, Error> {
        self.check_open()?;
        let (channel, mapped) = self.resolve(name)?;
        self.allow(&self.identity(), &channel, mapped, action).await?;
        // An app may have been asked.
        self.check_open()?;
        Ok(channel)
    }

    /// Whether an identity may do something on a channel: an app decides, or
    /// its grants and the channel's rule do.
    async fn allow(
        &self,
        identity: &Identity,
        channel: &Channel,
        mapped: bool,
        action: Action,
    ) -> Result<(), Error> {
        let Shared { access, auth, .. } = &*self.shard.shared;
        let subscribes = match action {
            Action::Subscribe => true,
            // Whoever may subscribe also publishes.
            Action::Publish => access.rule(channel).client_publish == Some(true),
            Action::Presence | Action::History => false,
        };
        if !subscribes || !auth.callouts().decides(channel) {
            return access.check(identity, channel, mapped, action);
        }
        Access::check_reach(identity, channel, mapped)?;
        if action == Action::Publish && access.check(identity, channel, mapped, action).is_ok() {
            return Ok(());
        }
        let asking = Asking {
            identity,
            session: &self.id,
            protocol: self.protocol().as_str(),
            namespace: &self.namespace,
        };
        auth.callouts().subscribe(asking, channel).await
    }

    /// What a client still sends while its close is on the way does nothing.
    fn check_open(&self) -> Result<(), Error> {
        if self.ended.get() {
            return Err(Error::new(
                ErrorCode::Unauthorized,
                "the session is over; connect anew with a valid token",
            ));
        }
        Ok(())
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
                self.tell("publishes", Some(publication.channel.as_str()), Err(error));
            }
        }
        done
    }

    async fn try_publish(&self, publication: &mut NewPublication) -> Result<Published, Error> {
        let channel = self.check(publication.channel.as_str(), Action::Publish).await?;
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
        let done = self.try_refresh(token).await;
        self.tell("refreshes its token", None, done.as_ref().map(drop));
        done
    }

    async fn try_refresh(self: &Rc<Self>, token: &str) -> Result<serde_json::Value, Error> {
        let newcomer = Newcomer {
            token: Some(token),
            protocol: self.protocol().as_str(),
            namespace: &self.namespace,
        };
        let identity = self.shard.shared.auth.authenticate(newcomer).await?;
        if identity.user != self.identity.borrow().user {
            return Err(Error::new(
                ErrorCode::Forbidden,
                "the new token is another user's; connect anew to change the user",
            ));
        }
        // Asked before anything is changed: what can't be known now leaves all
        // as it was.
        let gone = self.no_longer_allowed(&identity).await?;
        self.shard.shared.auth.revocations().check(&identity)?;
        self.check_open()?;
        let expires = identity.expires;
        *self.identity.borrow_mut() = identity;
        self.warned.set(false);
        self.schedule_expiry();
        if self.drop_all(gone) {
            // What is gone must not come back with a recovery; and grants are
            // checked again there, so that a failure is no harm.
            let _ = self.write_record().await;
        }
        Ok(serde_json::json!({ "expires": expires.map(unix_seconds) }))
    }

    /// The subscriptions that an identity doesn't allow.
    async fn no_longer_allowed(&self, identity: &Identity) -> Result<Vec<Channel>, Error> {
        let mapped = &*self.namespace != "/";
        let joined = self.channels_of(identity);
        let have: Vec<_> = {
            let subscriptions = self.subscriptions.borrow();
            let foreign = subscriptions.iter().filter(|(channel, _)| !joined.contains(channel));
            foreign.map(|(channel, subscription)| (channel.clone(), subscription.origin)).collect()
        };
        let mut gone = Vec::new();
        for (channel, origin) in have {
            let allowed = match origin {
                Origin::Connect => false,
                Origin::Command => {
                    match self.allow(identity, &channel, mapped, Action::Subscribe).await {
                        Ok(()) => true,
                        Err(error) if error.code.retry() => return Err(error),
                        Err(_) => false,
                    }
                }
            };
            if !allowed {
                gone.push(channel);
            }
        }
        Ok(gone)
    }

    /// Ends subscriptions, and tells the client. True: there were some.
    fn drop_all(&self, gone: Vec<Channel>) -> bool {
        let some = !gone.is_empty();
        for channel in gone {
            self.remove(&channel);
            self.tell("may no longer subscribe", Some(channel.as_str()), Ok(()));
            self.notify(
                "push:unsubscribed",
                &serde_json::json!({
                    "channel": self.name_of(&channel),
                    "code": ErrorCode::Forbidden.as_str(),
                }),
            );
        }
        some
    }

    /// What the client calls a channel.
    fn name_of<'a>(&self, channel: &'a Channel) -> &'a str {
        channel.name_in(&self.namespace)
    }

    /// Tells the client something of the gateway's own, in its protocol.
    pub fn notify(&self, event: &str, data: &serde_json::Value) {
        let notice = self.notice(event, data);
        // Elsewhere nothing has to come first.
        if self.announced.get() || self.protocol() != Protocol::Socketio {
            self.subscriber.outbox.send(&notice);
        } else {
            self.subscriber.deliver(&notice, None, false);
        }
    }

    /// The same, to be sent later.
    fn notice(&self, event: &str, data: &serde_json::Value) -> Message {
        notice(self.protocol(), &self.namespace, event, data)
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
        if !self.announced.get() {
            return;
        }
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
            settled |= subscription.settle();
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
        let identity = self.identity();
        let left = match (self.shard.shared.auth.revocations().check(&identity), identity.expires) {
            (Ok(()), None) => return,
            (Ok(()), Some(end)) => end.duration_since(SystemTime::now()).unwrap_or_default(),
            // While this session was made: it was not yet here to be found.
            (Err(_), _) => std::time::Duration::ZERO,
        };
        let wait = if self.warned.get() { left } else { left.saturating_sub(EXPIRING_NOTICE) };
        self.expiry_timer.set(Some(self.shard.timers.set_after(self.weak(), Timer::Expiry, wait)));
    }

    fn expiring(self: &Rc<Self>) {
        self.expiry_timer.set(None);
        if self.shard.shared.auth.revocations().check(&self.identity()).is_err() {
            return self.revoke();
        }
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
        let words = "the token's time is over; get a new one";
        self.sever(&Error::new(ErrorCode::TokenExpired, words), CloseReason::TokenExpired);
    }

    /// Its token was revoked.
    pub(crate) fn revoke(&self) {
        self.sever(&revoked(), CloseReason::TokenRevoked);
    }

    /// The session's token holds no longer: nothing more reaches the client
    /// but why, and then the end.
    ///
    /// The transport closes, not the namespace: the client comes back, with a
    /// fresh token or to be told the same again.
    fn sever(&self, error: &Error, reason: CloseReason) {
        if self.ended.get() {
            return;
        }
        let last = match self.protocol() {
            Protocol::Websocket => Some(Wire::raw(plain::close_frame(error.code))),
            Protocol::Socketio | Protocol::Sse => None,
        };
        self.notify("push:error", &error.to_json());
        self.tell(format_args!("must go ({})", reason.label()), None, Ok(()));
        self.shard.close_session(self, last, reason);
        self.end(false);
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
        let reason = self.subscriber.outbox.ended().map_or("ended", CloseReason::label);
        self.tell(format_args!("is disconnected ({reason})"), None, Ok(()));
        for key in [self.position_timer.take(), self.expiry_timer.take()].into_iter().flatten() {
            self.shard.timers.remove(&key);
        }
        drop(self.user_place.take());
        let channels: Vec<Channel> = self.subscriptions.borrow().channels().cloned().collect();
        for channel in channels {
            self.remove(&channel);
        }
        self.shard.sessions.borrow_mut().remove(&self.id);
        self.leave_recovery(for_good);
    }
}

impl Named for Session {
    fn name(&self) -> &str {
        &self.id
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

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
//! - `access`: what it may do on a channel
//! - `publish`: what it publishes
//! - `token`: a new token, and the end of one
//! - `position`: telling it where it stands
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

use crate::auth::Identity;
use crate::auth::revocation::unix_millis;
use crate::channel::Channel;
use crate::door::UserPlace;
use crate::error::Error;
use crate::hub::encode::notice;
use crate::hub::{CloseReason, Form, Protocol, Subscriber};
use crate::protocol::engineio::Message;
use crate::shard::Shard;
use crate::shard::table::Named;
use crate::shard::timers::{Timed, Timer, TimerKey};

mod access;
pub mod commands;
pub mod engine;
pub mod events;
pub mod history;
pub mod meter;
pub mod plain;
mod position;
mod publish;
pub mod recovery;
pub mod sid;
pub mod socketio;
pub mod subscribe;
mod subscriptions;
mod token;
pub mod user;

use subscriptions::Subscriptions;

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

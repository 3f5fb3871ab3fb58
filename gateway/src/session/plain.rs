//! A plain WebSocket on `/ws`: JSON text frames.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::commands::{HistoryForm, presence_unavailable};
use super::meter::{Meter, Weighed};
use super::sid::random_id;
use super::subscribe::SubscribeRequest;
use super::{NewSession, Session, Unannounced};
use crate::auth::Newcomer;
use crate::channel::Channel;
use crate::door::Place;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Form, Outbox, Protocol};
use crate::protocol::engineio::{Message, Wire};
use crate::protocol::json::{self, Command, Request};
use crate::protocol::websocket;
use crate::publication::{DEFAULT_EVENT, NewPublication, Value};
use crate::shard::Shard;
use crate::shard::timers::{Timed, Timer, TimerKey};

/// One client.
pub struct Plain {
    /// What waits for it.
    pub outbox: Rc<Outbox>,
    shard: Rc<Shard>,
    /// Token of the request, until the first frame.
    token: RefCell<Option<String>>,
    session: OnceCell<Rc<Session>>,
    heartbeat: Cell<Option<TimerKey>>,
    /// The client should have said who it is, as over Socket.IO.
    connect_timer: Cell<Option<TimerKey>>,
    /// Its place in the shard's list.
    registration: Cell<Option<usize>>,
    place: Cell<Option<Place>>,
    /// What it may send, if that is limited.
    meter: Option<Box<Meter>>,
    awaiting: Cell<bool>,
}

// === impl Plain ===

impl Plain {
    /// A client whose request carried a token, or none.
    pub fn open(
        shard: &Rc<Shard>,
        token: Option<String>,
        (place, address): (Place, IpAddr),
    ) -> Rc<Self> {
        let plain = Rc::new(Self {
            outbox: Outbox::new(shard.outbox_limits()),
            shard: shard.clone(),
            token: RefCell::new(token),
            session: OnceCell::new(),
            heartbeat: Cell::new(None),
            connect_timer: Cell::new(None),
            registration: Cell::new(None),
            place: Cell::new(Some(place)),
            meter: shard.meter(),
            awaiting: Cell::new(false),
        });
        plain.schedule();
        let owner: Rc<dyn Timed> = plain.clone();
        let timeout = shard.shared.config.socketio.connect_timeout.get();
        let key = shard.timers.set_after(Rc::downgrade(&owner), Timer::Connect, timeout);
        plain.connect_timer.set(Some(key));
        // 1012: the service restarts (RFC 6455, registry of close codes).
        let last = Wire::raw(websocket::close(1012, "drain"));
        let registered = (plain.outbox.clone(), Some(last));
        plain.registration.set(Some(shard.others.borrow_mut().insert(registered)));
        shard.opened(LABELS, address);
        plain
    }

    /// Whether the request carried a token that is not yet looked at.
    pub fn has_token(&self) -> bool {
        self.token.borrow().is_some()
    }

    /// The client is who its request's token says; it is refused at once
    /// otherwise.
    pub async fn connect_now(self: &Rc<Self>) {
        let token = self.token.borrow_mut().take();
        self.guarded(async {
            self.connect(token).await;
        })
        .await;
    }

    /// A message from the client. A panic closes this client alone.
    pub async fn message(self: &Rc<Self>, message: websocket::Message) {
        self.guarded(self.handle(message)).await;
    }

    async fn guarded(&self, work: impl Future<Output = ()>) {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            self.shard.panicked("a client's message");
            self.outbox.end(CloseReason::Panic);
        }
    }

    async fn handle(self: &Rc<Self>, message: websocket::Message) {
        let asked = self.awaiting.get() && matches!(message, websocket::Message::Pong(_));
        self.heard();
        if !asked && self.is_too_much(&message) {
            return;
        }
        match message {
            websocket::Message::Text(text) => self.request(&text).await,
            websocket::Message::Binary(_) => {
                self.fail(None, &Error::new(ErrorCode::BadRequest, "frames are JSON text here"));
                self.close(1003, CloseReason::ParseError);
            }
            websocket::Message::Ping(data) => self.send(Wire::raw(websocket::pong(&data))),
            websocket::Message::Pong(_) => {}
            websocket::Message::Close(_) => self.close(1000, CloseReason::TransportClose),
        }
    }

    /// Whether a message is more than the client may send: it is told.
    fn is_too_much(&self, message: &websocket::Message) -> bool {
        let Some(meter) = &self.meter else { return false };
        let (length, text) = match message {
            websocket::Message::Text(text) => (text.len(), Some(text)),
            websocket::Message::Binary(data)
            | websocket::Message::Ping(data)
            | websocket::Message::Pong(data) => (data.len(), None),
            websocket::Message::Close(_) => return false,
        };
        let (limit, abuse) = match meter.message(length) {
            Weighed::Good => return false,
            Weighed::Refused(limit) => (limit, false),
            Weighed::Abuse(limit) => (limit, true),
        };
        let error = self.shard.limited(limit);
        if let Some(text) = text {
            let id = match json::parse(text) {
                Ok(Request { id, .. }) | Err((id, _)) => id,
            };
            self.fail(id.as_ref(), &error);
        }
        if abuse {
            let last = Wire::raw(close_frame(error.code));
            self.outbox.finish(Some(last), CloseReason::RateLimited);
        }
        true
    }

    async fn request(self: &Rc<Self>, text: &[u8]) {
        let Request { id, command } = match json::parse(text) {
            Ok(request) => request,
            Err((id, error)) => return self.fail(id.as_ref(), &error),
        };
        if let Command::Connect { token } = &command {
            if self.session.get().is_some() {
                let error = Error::new(
                    ErrorCode::BadRequest,
                    "`connect` comes first or not at all; renew a token with `refresh`",
                );
                return self.fail(id.as_ref(), &error);
            }
            let token = token.clone().or_else(|| self.token.borrow_mut().take());
            if self.connect(token).await {
                let session = self.session.get().map(|session| session.id.clone());
                self.ok(id.as_ref(), &serde_json::json!({ "session": session }));
            }
            return;
        }
        let token = self.token.borrow_mut().take();
        if self.session.get().is_none() && !self.connect(token).await {
            return;
        }
        let Some(session) = self.session.get() else { return };
        let answer = match command {
            Command::Subscribe { channel, since, last } => {
                return self.subscribe(session, id, channel, since, last).await;
            }
            Command::Unsubscribe { channel } => session
                .unsubscribe(&channel)
                .await
                .map(|()| serde_json::json!({ "channel": channel })),
            Command::Publish { channel, event, args, spread, id: publication } => {
                publish(session, &channel, event, (args, spread), publication).await
            }
            Command::History { channel, since, before, limit, order } => {
                let form = HistoryForm { channel, since, before, limit, order };
                match session.history_of(form).await {
                    Ok(history) => return self.send(json::ok(id.as_ref(), &history)),
                    Err(error) => Err(error),
                }
            }
            Command::Refresh { token } => session.refresh(&token).await,
            Command::Presence { .. } => Err(presence_unavailable()),
            Command::Connect { .. } => return,
        };
        match answer {
            Ok(body) => self.ok(id.as_ref(), &body),
            Err(error) => self.fail(id.as_ref(), &error),
        }
    }

    /// The client is who its token says. False: it is refused, and told.
    pub async fn connect(self: &Rc<Self>, token: Option<String>) -> bool {
        let newcomer = Newcomer { token: token.as_deref(), protocol: "websocket", namespace: "/" };
        let identity = match self.shard.shared.auth.authenticate(newcomer).await {
            Ok(identity) => identity,
            Err(error) => return self.refuse(&error),
        };
        let id = match random_id() {
            Ok(id) => id,
            Err(error) => return self.refuse(&error.into()),
        };
        let form =
            Form { protocol: Protocol::Websocket, namespace: 0, meta: false, recoverable: false };
        let outbox = self.outbox.clone();
        let user_place = match self.shard.shared.door.user(&identity) {
            Ok(place) => place,
            Err(error) => return self.refuse(&error),
        };
        let new = NewSession {
            id,
            namespace: arcstr::literal!("/"),
            identity,
            user_place,
            form,
            outbox,
            engine: Weak::new(),
        };
        let session = Session::new(&self.shard, new);
        let unannounced = Unannounced::new(&session);
        match session.join_all().await {
            Ok(pending) => {
                unannounced.announced();
                pending.settle();
            }
            Err(error) => {
                session.end(true);
                return self.refuse(&error);
            }
        }
        // Only `connect` sets it, and one message is handled at a time.
        let _ = self.session.set(session);
        true
    }

    async fn subscribe(
        &self,
        session: &Rc<Session>,
        id: Option<json::RequestId>,
        channel: String,
        since: Option<String>,
        last: Option<usize>,
    ) {
        let request = match since.as_deref().map(str::parse).transpose() {
            Ok(since) => SubscribeRequest { channel, since, last, meta: false },
            Err(error) => {
                let error: crate::offset::OffsetError = error;
                return self.fail(id.as_ref(), &error.into());
            }
        };
        match session.subscribe(&request).await {
            Ok((subscribed, pending)) => {
                self.ok(id.as_ref(), &subscribed.to_json(&request.channel));
                pending.settle();
            }
            Err(error) => self.fail(id.as_ref(), &error),
        }
    }

    fn ok(&self, id: Option<&json::RequestId>, body: &serde_json::Value) {
        self.send(json::ok(id, body));
    }

    fn fail(&self, id: Option<&json::RequestId>, error: &Error) {
        self.send(json::error(id, error));
    }

    /// The client can't be let in: it is told, then closed. Always false.
    fn refuse(&self, error: &Error) -> bool {
        self.shard.refused(error);
        self.fail(None, error);
        self.outbox.finish(Some(Wire::raw(close_frame(error.code))), CloseReason::ForcedClose);
        false
    }

    fn send(&self, wire: Wire) {
        self.outbox.send(&Message::One(wire));
    }

    fn close(&self, code: u16, reason: CloseReason) {
        self.outbox.finish(Some(Wire::raw(websocket::close(code, ""))), reason);
    }

    /// The connection is over.
    pub fn closed(&self, reason: CloseReason) {
        self.outbox.end(reason);
        self.outbox.detach();
        for key in [self.heartbeat.take(), self.connect_timer.take()].into_iter().flatten() {
            self.shard.timers.remove(&key);
        }
        if let Some(key) = self.registration.take() {
            self.shard.others.borrow_mut().try_remove(key);
        }
        if let Some(session) = self.session.get() {
            session.end(true);
        }
        self.shard.closed(LABELS, reason);
        drop(self.place.take());
    }

    /// The client is there: the next ping comes an interval after its answer,
    /// as with Socket.IO.
    fn heard(self: &Rc<Self>) {
        if self.awaiting.replace(false) {
            if let Some(key) = self.heartbeat.take() {
                self.shard.timers.remove(&key);
            }
            self.schedule();
        }
    }

    /// Pings as often as the Socket.IO settings say; any message counts as
    /// an answer.
    fn schedule(self: &Rc<Self>) {
        let settings = &self.shard.shared.config.socketio;
        let wait = if self.awaiting.get() { settings.ping_timeout } else { settings.ping_interval };
        let owner: Rc<dyn Timed> = self.clone();
        let at = Instant::now() + wait.get();
        let owner: Weak<dyn Timed> = Rc::downgrade(&owner);
        self.heartbeat.set(Some(self.shard.timers.set(owner, Timer::Heartbeat, at)));
    }
}

impl Timed for Plain {
    fn due(self: Rc<Self>, timer: Timer) {
        if timer == Timer::Connect {
            self.connect_timer.set(None);
            if self.session.get().is_none() {
                self.close(CONNECT_TIMEOUT_CODE, CloseReason::ConnectTimeout);
            }
            return;
        }
        if timer != Timer::Heartbeat {
            return;
        }
        self.heartbeat.set(None);
        if self.outbox.ended().is_some() {
            return;
        }
        if self.awaiting.replace(true) {
            self.outbox.end(CloseReason::PingTimeout);
            return;
        }
        self.send(Wire::raw(websocket::ping()));
        self.schedule();
    }
}

/// 4408, as HTTP's 408: the client said nothing in time.
const CONNECT_TIMEOUT_CODE: u16 = 4408;

/// Metric labels.
const LABELS: (&str, &str) = ("websocket", "websocket");

async fn publish(
    session: &Session,
    channel: &str,
    event: Option<String>,
    (args, spread): (crate::publication::Args, bool),
    id: Option<String>,
) -> Result<serde_json::Value, Error> {
    let event = event.as_deref().unwrap_or(DEFAULT_EVENT);
    let mut publication = NewPublication::new(Channel::new(channel)?, event, Value::null());
    publication.args = args;
    publication.spread = spread;
    publication.id = id.map(Into::into);
    let has_id = publication.id.is_some();
    Ok(session.publish(publication).await?.to_json(has_id))
}

/// The close frame that goes with an error. 4400–4499: don't come back the
/// same way; 4500–4599: come back later.
pub fn close_frame(code: ErrorCode) -> bytes::Bytes {
    let number = match code.status() {
        status @ 400..=499 if !code.retry() => 4000 + status,
        status @ 500..=599 => 4000 + status,
        _ => 4503,
    };
    websocket::close(number, code.as_str())
}

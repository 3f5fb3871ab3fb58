//! An Engine.IO session: one client over long-polling, a WebSocket, or first
//! one and then the other. Rules as in the reference server (engine.io
//! `socket.ts`, `transports/polling.ts`) and the protocol's revision 4.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::sid::{NoRandomness, SidParts};
use crate::door::Place;
use crate::hub::{CloseReason, Outbox};
use crate::protocol::engineio::{self, Handshake, Message, Packet, Wire};
use crate::protocol::websocket;
use crate::shard::Shard;
use crate::shard::table::Named;
use crate::shard::timers::{Timed, Timer, TimerKey};
use crate::shard::turn::Turn;
use crate::transport::socket::Socket;

/// How long a close waits for the poll that fetches it (engine.io
/// `polling.ts`, `closeTimeout`).
const CLOSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// One client.
pub struct Engine {
    /// Its session id.
    pub sid: Box<str>,
    /// What waits for it.
    pub outbox: Rc<Outbox>,
    shard: Rc<Shard>,
    session: OnceCell<Rc<dyn EngineSession>>,
    state: RefCell<State>,
    /// An upgrade that is under way.
    upgrade: RefCell<Option<Box<Upgrade>>>,
    heartbeat: Cell<Option<TimerKey>>,
    /// Where its latest request came from: a client may move.
    address: Cell<IpAddr>,
    /// Given back when it is over, whoever still holds the engine.
    place: Cell<Option<Place>>,
}

/// From polling to a WebSocket.
struct Upgrade {
    /// The client's WebSocket-to-be.
    probe: Rc<Outbox>,
    /// When it is given up.
    timer: TimerKey,
}

/// Who speaks over an Engine.IO session.
pub trait EngineSession {
    /// A message came. The next one waits until this one is done.
    fn message(&self, message: Inbound) -> LocalBoxFuture<'_, ()>;

    /// So many bytes came that are no message: a ping, or the answer to one.
    /// False: they are more than the client may send.
    fn weighs(&self, _bytes: usize) -> bool {
        true
    }

    /// The session is over. Called once.
    fn closed(&self, reason: CloseReason);
}

/// Who answers new Engine.IO sessions.
pub trait EngineApp {
    /// A client came.
    fn open(&self, engine: &Rc<Engine>, request: &Opening) -> Rc<dyn EngineSession>;
}

/// What the first request of a session says.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// `?token=` or the bearer of `Authorization`.
    pub token: Option<Box<str>>,
    /// False: `?recovery=0`.
    pub recovery: bool,
}

/// A message from a client.
#[derive(Clone, Debug)]
pub enum Inbound {
    /// Text, valid UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// An answer to a polling request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollResponse {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body.
    pub body: Bytes,
}

/// Why a polling request's body didn't come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than `maxPayload`.
    TooLarge,
    /// The connection broke, or it took too long.
    Broken,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, not one state in disguise.
struct State {
    transport: Transport,
    phase: Phase,
    /// A poll request is under way.
    polling: bool,
    /// A data request is under way.
    posting: bool,
    /// The WebSocket-to-be has answered the probe.
    probed: bool,
    awaiting_pong: bool,
    /// When the next ping, or the end of waiting for its answer, is due.
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Polling,
    Websocket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The next poll is told.
    Closing(CloseReason),
    Closed,
}

/// A poll request under way. Dropped before its answer: the client hung up,
/// and that closes the session.
struct PollGuard<'a>(Option<&'a Rc<Engine>>);

/// A data request under way.
struct PostGuard<'a>(&'a Engine);

// === impl Engine ===

impl Engine {
    /// A new session of `shard`.
    pub fn open(
        shard: &Rc<Shard>,
        app: &dyn EngineApp,
        opening: &Opening,
        (place, address): (Place, IpAddr),
        websocket: bool,
    ) -> Result<Rc<Self>, NoRandomness> {
        let parts = SidParts { gateway: shard.shared.gateway, shard: shard.index };
        let now = Instant::now();
        let engine = Rc::new(Self {
            sid: shard.shared.sid_key.issue(parts)?,
            outbox: Outbox::new(shard.outbox_limits()),
            shard: shard.clone(),
            session: OnceCell::new(),
            state: RefCell::new(State {
                transport: if websocket { Transport::Websocket } else { Transport::Polling },
                phase: Phase::Open,
                polling: false,
                posting: false,
                probed: false,
                awaiting_pong: false,
                deadline: now + shard.shared.config.socketio.ping_interval.get(),
            }),
            upgrade: RefCell::new(None),
            heartbeat: Cell::new(None),
            address: Cell::new(address),
            place: Cell::new(Some(place)),
        });
        shard.engines.borrow_mut().insert(engine.clone());
        engine.schedule_heartbeat();
        // It was just made: nobody has set it.
        let _ = engine.session.set(app.open(&engine, opening));
        shard.opened(engine.labels(), address);
        Ok(engine)
    }

    /// The first packet of the session.
    pub fn handshake(&self) -> Wire {
        let settings = &self.shard.shared.config.socketio;
        let handshake = Handshake {
            sid: &self.sid,
            upgrade: self.state.borrow().transport == Transport::Polling,
            ping_interval: settings.ping_interval.as_millis(),
            ping_timeout: settings.ping_timeout.as_millis(),
            max_payload: settings.max_payload,
        };
        Wire::text(&[&handshake.to_packet()])
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        self.state.borrow().phase == Phase::Closed
    }

    /// Where its client is.
    pub fn address(&self) -> IpAddr {
        self.address.get()
    }

    /// A request came from there, here or at another gateway.
    fn seen(&self, from: IpAddr) {
        let before = self.address.get();
        if before != from && !from.is_unspecified() {
            self.address.set(from);
            tracing::debug!(address = %from, %before, "a client moved");
        }
    }

    // --- polling ---

    /// A poll: waits for something to send. Dropping it closes the session.
    pub async fn poll(self: &Rc<Self>, from: IpAddr) -> PollResponse {
        self.seen(from);
        self.check_heartbeat();
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.borrow_mut();
            if state.phase == Phase::Closed {
                return PollResponse::error(1);
            }
            if state.transport != Transport::Polling {
                return PollResponse::error(3);
            }
            if state.polling {
                drop(state);
                // Two polls at once: the client has lost count.
                self.outbox.answer_poll(&Wire::text(&[b"1"]));
                self.abort(CloseReason::TransportError);
                return PollResponse::error(3);
            }
            if let Phase::Closing(reason) = state.phase
                && self.outbox.is_empty()
            {
                drop(state);
                self.abort(reason);
                return PollResponse::packets(Bytes::from_static(b"1"));
            }
            state.polling = true;
        }
        let mut guard = PollGuard(Some(self));
        self.outbox.attach_poll(sender);
        if self.state.borrow().probed {
            // The client waits for this poll to end before it upgrades.
            self.outbox.answer_poll(&Wire::text(&[b"6"]));
        }
        let answer = receiver.await;
        guard.0 = None;
        self.state.borrow_mut().polling = false;
        self.check_outbox();
        answer.map_or_else(|_| PollResponse::error(1), PollResponse::packets)
    }

    /// A data request: hands its packets on, one after the other.
    pub async fn post(
        self: &Rc<Self>,
        from: IpAddr,
        body: impl Future<Output = Result<Bytes, BodyError>>,
    ) -> PollResponse {
        self.seen(from);
        self.check_heartbeat();
        {
            let mut state = self.state.borrow_mut();
            if state.phase != Phase::Open {
                return PollResponse::error(1);
            }
            if state.transport != Transport::Polling {
                return PollResponse::error(3);
            }
            if state.posting {
                drop(state);
                self.abort(CloseReason::TransportError);
                return PollResponse::error(3);
            }
            state.posting = true;
        }
        let guard = PostGuard(self);
        let body = match body.await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return PollResponse::too_large(),
            Err(BodyError::Broken) => {
                self.abort(CloseReason::TransportError);
                return PollResponse::error(3);
            }
        };
        let mut turn = Turn::begin(&self.shard);
        for packet in engineio::packets(body) {
            turn.pass().await;
            let Ok(packet) = packet else {
                self.abort(CloseReason::ParseError);
                return PollResponse::error(3);
            };
            self.packet(packet).await;
            self.check_outbox();
            if self.is_closed() {
                break;
            }
        }
        drop(guard);
        PollResponse::ok()
    }

    // --- upgrade ---

    /// A WebSocket came for this session. `None`: it can't have it.
    pub fn begin_upgrade(self: &Rc<Self>, from: IpAddr) -> Option<Rc<Outbox>> {
        self.seen(from);
        {
            let state = self.state.borrow();
            let free = state.phase == Phase::Open
                && state.transport == Transport::Polling
                && self.upgrade.borrow().is_none();
            if !free {
                return None;
            }
        }
        let probe = Outbox::new(self.shard.outbox_limits());
        let timeout = self.shard.shared.config.socketio.upgrade_timeout.get();
        let owner: Weak<dyn Timed> = self.weak();
        let timer = self.shard.timers.set_after(owner, Timer::Upgrade, timeout);
        let upgrade = Upgrade { probe: probe.clone(), timer };
        *self.upgrade.borrow_mut() = Some(Box::new(upgrade));
        Some(probe)
    }

    /// A packet on the WebSocket-to-be. True: the upgrade is complete.
    pub fn probe_packet(&self, probe: &Rc<Outbox>, packet: &Packet) -> bool {
        if self.state.borrow().phase == Phase::Closed {
            probe.finish(Some(closing_frame()), CloseReason::ForcedClose);
            return false;
        }
        match packet {
            Packet::Ping(data) if data.as_ref() == b"probe" => {
                probe.send(&Message::One(Wire::text(&[b"3probe"])));
                self.state.borrow_mut().probed = true;
                self.outbox.answer_poll(&Wire::text(&[b"6"]));
                false
            }
            // A second upgrade at once, or one given up: its frame is on the way.
            Packet::Upgrade => self.is_probe(probe),
            _ => {
                probe.finish(Some(closing_frame()), CloseReason::ParseError);
                false
            }
        }
    }

    /// The upgrade is complete: from now on everything goes over the
    /// WebSocket.
    pub fn complete_upgrade(&self, stream: Rc<Socket>) {
        self.leave_probe();
        let old = self.labels();
        self.outbox.answer_poll(&Wire::text(&[b"6"]));
        self.state.borrow_mut().transport = Transport::Websocket;
        self.shard.upgraded(old, self.labels());
        self.outbox.attach_socket(stream);
        if let Phase::Closing(reason) = self.state.borrow().phase {
            self.outbox.finish(Some(closing_frame()), reason);
        }
    }

    /// The WebSocket-to-be is gone; polling goes on. One that was given up
    /// before goes late, when another may be on its way: that one stays.
    pub fn end_probe(&self, probe: &Rc<Outbox>) {
        if self.is_probe(probe) {
            self.leave_probe();
        }
    }

    /// Whether this is the one that is to carry the session.
    fn is_probe(&self, probe: &Rc<Outbox>) -> bool {
        self.upgrade.borrow().as_ref().is_some_and(|upgrade| Rc::ptr_eq(&upgrade.probe, probe))
    }

    fn leave_probe(&self) {
        self.state.borrow_mut().probed = false;
        if let Some(upgrade) = self.upgrade.borrow_mut().take() {
            self.shard.timers.remove(&upgrade.timer);
        }
    }

    // --- packets ---

    /// A packet from the client.
    pub async fn packet(self: &Rc<Self>, packet: Packet) {
        if self.state.borrow().phase != Phase::Open {
            return;
        }
        match packet {
            Packet::Pong(_) => {
                // Too many that nobody asked for are a reason to go, and none
                // to be taken for dead.
                if !self.state.borrow().awaiting_pong {
                    self.weighs(1);
                }
                let mut state = self.state.borrow_mut();
                state.awaiting_pong = false;
                state.deadline =
                    Instant::now() + self.shard.shared.config.socketio.ping_interval.get();
                drop(state);
                self.schedule_heartbeat();
            }
            Packet::Text(text) => self.deliver(Inbound::Text(text)).await,
            Packet::Binary(data) => self.deliver(Inbound::Binary(data)).await,
            Packet::Close => {
                self.outbox.answer_poll(&Wire::text(&[b"6"]));
                self.abort(CloseReason::ClientClose);
            }
            // Only the server pings in revision 4.
            Packet::Ping(_) => self.abort(CloseReason::TransportError),
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {
                self.weighs(1);
            }
        }
    }

    /// So many bytes came that are no message. False: the client sends more
    /// than it may.
    pub fn weighs(&self, bytes: usize) -> bool {
        self.session.get().is_none_or(|session| session.weighs(bytes))
    }

    async fn deliver(self: &Rc<Self>, message: Inbound) {
        let Some(session) = self.session.get() else { return };
        let handled = AssertUnwindSafe(session.message(message)).catch_unwind().await;
        if handled.is_err() {
            self.shard.shared.metrics.panics.inc();
            self.abort(CloseReason::Panic);
        }
    }

    /// Sends a message's packets.
    pub fn send(&self, message: &Message) {
        if self.state.borrow().phase == Phase::Open {
            self.outbox.send(message);
        }
    }

    // --- the end ---

    /// Closes the session in order: what waits is sent, then the client is
    /// told. Over polling the close has a poll of its own: a payload with
    /// events and a close makes the client library see the events twice.
    pub fn close(self: &Rc<Self>, reason: CloseReason) {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Open {
            return;
        }
        match state.transport {
            Transport::Websocket => {
                state.phase = Phase::Closing(reason);
                drop(state);
                self.outbox.finish(Some(closing_frame()), reason);
            }
            Transport::Polling if self.outbox.has_poll() => {
                drop(state);
                self.outbox.answer_poll(&Wire::text(&[b"1"]));
                self.abort(reason);
            }
            Transport::Polling => {
                state.phase = Phase::Closing(reason);
                drop(state);
                let owner: Weak<dyn Timed> = self.weak();
                self.shard.timers.set_after(owner, Timer::Close, CLOSE_TIMEOUT);
            }
        }
    }

    /// The session is over, now. What waits is not sent.
    pub fn abort(&self, reason: CloseReason) {
        {
            let mut state = self.state.borrow_mut();
            if state.phase == Phase::Closed {
                return;
            }
            state.phase = Phase::Closed;
        }
        if let Some(key) = self.heartbeat.take() {
            self.shard.timers.remove(&key);
        }
        let upgrade = self.upgrade.borrow_mut().take();
        if let Some(upgrade) = upgrade {
            self.shard.timers.remove(&upgrade.timer);
            upgrade.probe.finish(Some(closing_frame()), reason);
        }
        self.outbox.end(reason);
        self.outbox.detach();
        self.shard.engines.borrow_mut().remove(&self.sid);
        self.shard.closed(self.labels(), reason);
        drop(self.place.take());
        if let Some(session) = self.session.get() {
            session.closed(reason);
        }
    }

    // --- heartbeat ---

    /// A request that comes after the deadline finds the session closed,
    /// also when the timer hasn't run yet.
    fn check_heartbeat(&self) {
        let late = {
            let state = self.state.borrow();
            let settings = &self.shard.shared.config.socketio;
            let end = if state.awaiting_pong {
                state.deadline
            } else {
                state.deadline + settings.ping_timeout.get()
            };
            Instant::now() >= end
        };
        if late {
            self.abort(CloseReason::PingTimeout);
        }
        self.check_outbox();
    }

    /// Over polling nobody watches the outbox: the first who comes by closes
    /// a session whose outbox has ended.
    fn check_outbox(&self) {
        let open = self.state.borrow().phase == Phase::Open;
        if let (true, Some(reason)) = (open, self.outbox.ended()) {
            self.abort(reason);
        }
    }

    fn schedule_heartbeat(self: &Rc<Self>) {
        let at = self.state.borrow().deadline;
        if let Some(key) = self.heartbeat.take() {
            self.shard.timers.reset(&key, at);
            self.heartbeat.set(Some(key));
        } else {
            let owner: Weak<dyn Timed> = self.weak();
            self.heartbeat.set(Some(self.shard.timers.set(owner, Timer::Heartbeat, at)));
        }
    }

    fn beat(self: &Rc<Self>) {
        self.heartbeat.set(None);
        self.check_outbox();
        let mut state = self.state.borrow_mut();
        if state.phase == Phase::Closed {
            return;
        }
        if state.awaiting_pong {
            drop(state);
            self.abort(CloseReason::PingTimeout);
            return;
        }
        state.awaiting_pong = true;
        // From when the ping was due, not from when it was written.
        state.deadline += self.shard.shared.config.socketio.ping_timeout.get();
        let open = state.phase == Phase::Open;
        drop(state);
        if open {
            self.outbox.send(&Message::One(self.shard.ping.clone()));
        }
        self.schedule_heartbeat();
    }

    fn weak(self: &Rc<Self>) -> Weak<dyn Timed> {
        let owner: Rc<dyn Timed> = self.clone();
        Rc::downgrade(&owner)
    }

    /// Protocol and transport, for metrics.
    fn labels(&self) -> (&'static str, &'static str) {
        match self.state.borrow().transport {
            Transport::Polling => ("socketio", "polling"),
            Transport::Websocket => ("socketio", "websocket"),
        }
    }
}

impl Named for Engine {
    fn name(&self) -> &str {
        &self.sid
    }
}

impl Timed for Engine {
    fn due(self: Rc<Self>, timer: Timer) {
        match timer {
            Timer::Heartbeat => self.beat(),
            Timer::Upgrade => {
                let upgrade = self.upgrade.borrow_mut().take();
                if let Some(upgrade) = upgrade {
                    upgrade.probe.finish(Some(closing_frame()), CloseReason::ForcedClose);
                }
                self.state.borrow_mut().probed = false;
            }
            Timer::Close => {
                let phase = self.state.borrow().phase;
                if let Phase::Closing(reason) = phase {
                    self.abort(reason);
                }
            }
            Timer::Connect | Timer::Position | Timer::Expiry => {}
        }
    }
}

/// A close frame that says no more than that.
fn closing_frame() -> Wire {
    Wire::raw(websocket::close(1000, ""))
}

// === impl PollResponse ===

impl PollResponse {
    /// Packets for the client.
    pub fn packets(body: Bytes) -> Self {
        Self { status: 200, content_type: "text/plain; charset=UTF-8", body }
    }

    /// The answer to a data request.
    pub fn ok() -> Self {
        // `text/html`, as the reference server: some browsers offer
        // `text/plain` as a download.
        Self { status: 200, content_type: "text/html", body: Bytes::from_static(b"ok") }
    }

    /// An Engine.IO error, by its code.
    pub fn error(code: u8) -> Self {
        Self {
            status: if code == 4 { 403 } else { 400 },
            content_type: "application/json",
            body: Bytes::from_static(engineio::error_body(code).as_bytes()),
        }
    }

    /// A body over `maxPayload`.
    pub fn too_large() -> Self {
        Self { status: 413, content_type: "text/plain", body: Bytes::new() }
    }
}

// === impl guards ===

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        if let Some(engine) = self.0.take() {
            engine.state.borrow_mut().polling = false;
            engine.outbox.detach();
            engine.abort(CloseReason::TransportClose);
        }
    }
}

impl Drop for PostGuard<'_> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().posting = false;
    }
}

//! An Engine.IO session: one client over long-polling, a WebSocket, or first
//! one and then the other. Rules as in the reference server (engine.io
//! `socket.ts`, `transports/polling.ts`) and the protocol's revision 4.
//!
//! # Layout
//!
//! - `polling`: polls and data requests
//! - `upgrade`: from polling to a WebSocket
//! - `heartbeat`: pings, and whether they are answered in time
//! - `end`: closing in order, or at once

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use super::sid::{NoRandomness, SidParts};
use crate::door::Place;
use crate::hub::{CloseReason, Outbox};
use crate::protocol::engineio::{Handshake, Message, Packet, Wire};
use crate::protocol::websocket;
use crate::shard::Shard;
use crate::shard::table::Named;
use crate::shard::timers::{Timed, Timer, TimerKey};

mod end;
mod heartbeat;
mod polling;
mod upgrade;

pub use polling::{BodyError, PollResponse};
use upgrade::Upgrade;

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

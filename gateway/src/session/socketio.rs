//! Socket.IO 5 over one Engine.IO session: namespaces, events, acks. Rules
//! as in the reference server (socket.io `client.ts`) and revision 5 of the
//! protocol.
//!
//! # Layout
//!
//! - `connect`: joining a namespace, new or again
//! - `events`: events and their acks, both ways

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use futures_util::future::LocalBoxFuture;
use smallvec::SmallVec;

use super::Session;
use super::engine::{Engine, EngineApp, EngineSession, Inbound, Opening};
use super::meter::{Meter, Weighed};
use crate::hub::CloseReason;
use crate::protocol::engineio::Message;
use crate::protocol::socketio::{self as sio, Decoder, Kind, Packet};
use crate::publication::Value;
use crate::shard::Shard;
use crate::shard::timers::{Timed, Timer, TimerKey};

mod connect;
mod events;

use events::Acks;

/// One client: all its namespaces.
pub struct SocketIo {
    shard: Rc<Shard>,
    engine: Weak<Engine>,
    opening: Opening,
    decoder: RefCell<Decoder>,
    /// Nearly always one.
    sockets: RefCell<SmallVec<[Rc<Socket>; 1]>>,
    connect_timer: Cell<Option<TimerKey>>,
    /// What it may send, if that is limited.
    meter: Option<Box<Meter>>,
}

/// Answers Engine.IO sessions with Socket.IO.
pub struct SocketIoApp {
    /// Where they live.
    pub shard: Weak<Shard>,
}

/// One client in one namespace.
pub struct Socket {
    session: Rc<Session>,
    /// None until an app wants its first.
    acks: RefCell<Option<Box<Acks>>>,
}

// === impl SocketIoApp ===

impl EngineApp for SocketIoApp {
    fn open(&self, engine: &Rc<Engine>, opening: &Opening) -> Rc<dyn EngineSession> {
        let Some(shard) = self.shard.upgrade() else { return Rc::new(Gone) };
        let client = Rc::new(SocketIo {
            engine: Rc::downgrade(engine),
            opening: opening.clone(),
            decoder: RefCell::new(Decoder::new()),
            sockets: RefCell::default(),
            connect_timer: Cell::new(None),
            meter: shard.meter(),
            shard,
        });
        let owner: Rc<dyn Timed> = client.clone();
        let timeout = client.shard.shared.config.socketio.connect_timeout.get();
        let key = client.shard.timers.set_after(Rc::downgrade(&owner), Timer::Connect, timeout);
        client.connect_timer.set(Some(key));
        client
    }
}

/// A session of a shard that has stopped.
struct Gone;

impl EngineSession for Gone {
    fn message(&self, _: Inbound) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn closed(&self, _: CloseReason) {}
}

// === impl SocketIo ===

impl EngineSession for SocketIo {
    fn message(&self, message: Inbound) -> LocalBoxFuture<'_, ()> {
        Box::pin(self.decode(message))
    }

    fn weighs(&self, bytes: usize) -> bool {
        let Some(meter) = &self.meter else { return true };
        let (limit, abuse) = match meter.message(bytes) {
            Weighed::Good => return true,
            Weighed::Refused(limit) => (limit, false),
            Weighed::Abuse(limit) => (limit, true),
        };
        self.shard.limited(limit);
        if abuse {
            self.close(CloseReason::RateLimited);
        }
        false
    }

    fn closed(&self, _: CloseReason) {
        self.stop_connect_timer();
        let sockets: Vec<_> = self.sockets.borrow_mut().drain(..).collect();
        for socket in sockets {
            // Only a namespace's DISCONNECT is a goodbye: a client that closes
            // the engine may come back.
            socket.session.end(false);
        }
    }
}

impl Timed for SocketIo {
    fn due(self: Rc<Self>, timer: Timer) {
        if timer == Timer::Connect {
            self.connect_timer.set(None);
            if self.sockets.borrow().is_empty() {
                self.close(CloseReason::ConnectTimeout);
            }
        }
    }
}

impl SocketIo {
    async fn decode(&self, message: Inbound) {
        let (Inbound::Text(bytes) | Inbound::Binary(bytes)) = &message;
        let length = bytes.len();
        let decoded = match message {
            Inbound::Text(text) => self.decoder.borrow_mut().text(text),
            Inbound::Binary(data) => self.decoder.borrow_mut().binary(data),
        };
        match decoded {
            Ok(None) => self.weigh_part(length),
            Ok(Some(packet)) if self.is_too_much(&packet, length) => {}
            Ok(Some(packet)) => self.packet(packet).await,
            Err(_) => self.close(CloseReason::ParseError),
        }
    }

    fn weigh_part(&self, length: usize) {
        if let Some(meter) = &self.meter {
            meter.part(length);
        }
    }

    /// Whether an event is more than the client may send: it is told, if it
    /// waits for an ack.
    fn is_too_much(&self, packet: &Packet, length: usize) -> bool {
        let Some(meter) = &self.meter else { return false };
        if packet.kind != Kind::Event {
            meter.part(length);
            return false;
        }
        let limit = match meter.message(length) {
            Weighed::Good => return false,
            Weighed::Refused(limit) => limit,
            Weighed::Abuse(limit) => {
                self.shard.limited(limit);
                self.close(CloseReason::RateLimited);
                return true;
            }
        };
        let error = self.shard.limited(limit);
        if let (Some(id), Some(socket)) = (packet.id, self.socket(&packet.namespace)) {
            let body = serde_json::json!({ "error": error.to_json() });
            self.send(&sio::ack(&socket.session.namespace, id, &[Value::json(&body)]));
        }
        true
    }

    async fn packet(&self, packet: Packet) {
        let socket = self.socket(&packet.namespace);
        match (packet.kind, socket) {
            (Kind::Connect, None) => self.connect(packet).await,
            (Kind::Event, Some(socket)) => self.event(&socket, packet).await,
            (Kind::Ack, Some(socket)) => self.ack(&socket, &packet),
            (Kind::Disconnect, Some(socket)) => {
                self.sockets.borrow_mut().retain(|other| !Rc::ptr_eq(other, &socket));
                socket.session.end(true);
            }
            // As the reference: a state that no client of the protocol is in.
            _ => self.close(CloseReason::ParseError),
        }
    }

    fn socket(&self, namespace: &str) -> Option<Rc<Socket>> {
        let sockets = self.sockets.borrow();
        sockets.iter().find(|socket| &*socket.session.namespace == namespace).cloned()
    }

    fn send(&self, message: &Message) {
        if let Some(engine) = self.engine.upgrade() {
            engine.send(message);
        }
    }

    fn close(&self, reason: CloseReason) {
        if let Some(engine) = self.engine.upgrade() {
            engine.close(reason);
        }
    }

    fn stop_connect_timer(&self) {
        if let Some(key) = self.connect_timer.take() {
            self.shard.timers.remove(&key);
        }
    }
}

//! Web sockets of Engine.IO sessions: new ones, and those that upgrade a
//! polling session, which move to the shard that holds it.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{code, has_engine};
use crate::door::Place;
use crate::hub::{CloseReason, Outbox};
use crate::protocol::engineio::{self as eio, Message as EioMessage, Packet, Wire};
use crate::protocol::websocket::{self as ws, Message};
use crate::session::engine::{Engine, Opening};
use crate::shard::{Control, Shard};
use crate::transport::http::switch_protocols;
use crate::transport::request::ResponseBody;
use crate::transport::socket::{Handed, Socket};
use crate::transport::websocket::{Inbound, Serving, into_stream};

/// A WebSocket of an Engine.IO session, or one that wants to be.
#[derive(Clone)]
struct EngineSocket {
    engine: Rc<Engine>,
    stream: Rc<Socket>,
    /// It came for a session that polls.
    upgrade: Option<Rc<Upgrade>>,
}

/// How far an upgrade has come.
struct Upgrade {
    /// What waits on the WebSocket-to-be, until the upgrade is complete.
    probe: RefCell<Option<Rc<Outbox>>>,
    done: Cell<bool>,
}

/// A new session over a WebSocket.
pub(super) fn open(
    shard: &Rc<Shard>,
    mut request: Request<Incoming>,
    opening: Opening,
    place: (Place, IpAddr),
) -> Result<Response<ResponseBody>, u8> {
    let answer = switch_protocols(&request).map_err(|_| code::BAD_REQUEST)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let inner = shard.clone();
    shard.tasks.spawn_local(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((stream, leftover)) = into_stream(upgraded) else { return };
        let Ok(engine) = Engine::open(&inner, &*inner.app, &opening, place, true) else { return };
        let stream = Rc::new(Socket::from(stream));
        engine.outbox.attach_socket(stream.clone());
        engine.outbox.send(&EioMessage::One(engine.handshake()));
        carry(inner, engine, stream, leftover, None);
    });
    Ok(answer)
}

/// Serves a WebSocket in a task of its own: that of its request ends, with all
/// that it holds of HTTP.
fn carry(
    shard: Rc<Shard>,
    engine: Rc<Engine>,
    stream: Rc<Socket>,
    leftover: Bytes,
    probe: Option<Rc<Outbox>>,
) {
    let upgrade = probe
        .map(|probe| Rc::new(Upgrade { probe: RefCell::new(Some(probe)), done: Cell::new(false) }));
    let socket = EngineSocket { engine, stream, upgrade };
    shard.clone().tasks.spawn_local(Serving::new(shard, socket, leftover));
}

/// A WebSocket for a session that polls.
pub(super) async fn upgrade(
    shard: &Rc<Shard>,
    mut request: Request<Incoming>,
    (sid, from): (&str, IpAddr),
    owner: u8,
) -> Result<Response<ResponseBody>, u8> {
    if !has_engine(shard, sid, owner).await {
        return Err(code::UNKNOWN_SID);
    }
    let answer = switch_protocols(&request).map_err(|_| code::BAD_REQUEST)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let (inner, sid) = (shard.clone(), Box::<str>::from(sid));
    shard.tasks.spawn_local(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((stream, leftover)) = into_stream(upgraded) else { return };
        if owner == inner.index {
            return probe(&inner, &sid, from, stream.into(), leftover);
        }
        inner.shared.metrics.shard_hops.inc();
        let (Some(remote), Ok(stream)) = (inner.shared.shards.get(owner), stream.try_into()) else {
            return;
        };
        let _ = remote.send(Control::Upgrade { sid, from, stream, leftover }).await;
    });
    Ok(answer)
}

/// A socket from another shard's listener.
pub fn adopt(shard: &Rc<Shard>, sid: &str, from: IpAddr, stream: Handed, leftover: Bytes) {
    match Socket::try_from(stream) {
        Ok(stream) => probe(shard, sid, from, stream, leftover),
        Err(error) => tracing::warn!(%error, "a socket could not move to its shard"),
    }
}

/// A WebSocket that wants to carry a session from now on.
fn probe(shard: &Rc<Shard>, sid: &str, from: IpAddr, stream: Socket, leftover: Bytes) {
    let stream = Rc::new(stream);
    let engine = shard.engine(sid);
    let begun = engine.and_then(|engine| Some((engine.begin_upgrade(from)?, engine)));
    let Some((probe, engine)) = begun else {
        // The session has its WebSocket already, or is about to, or is gone:
        // this one is closed, as the reference does, and the session goes on.
        let _ = stream.try_write(&ws::close(1000, ""));
        return;
    };
    probe.attach_socket(stream.clone());
    carry(shard.clone(), engine, stream, leftover, Some(probe));
}

// === impl EngineSocket ===

impl EngineSocket {
    /// What waits on the WebSocket-to-be.
    fn probe(&self) -> Option<Rc<Outbox>> {
        self.upgrade.as_ref()?.probe.borrow().clone()
    }
}

impl Inbound for EngineSocket {
    fn socket(&self) -> &Rc<Socket> {
        &self.stream
    }

    fn outbox(&self) -> Rc<Outbox> {
        self.probe().unwrap_or_else(|| self.engine.outbox.clone())
    }

    fn closed(&self, reason: CloseReason) {
        match &self.upgrade {
            Some(upgrade) if !upgrade.done.get() => {
                // Polling goes on.
                let probe = upgrade.probe.borrow_mut().take();
                if let Some(probe) = probe {
                    self.engine.end_probe(&probe);
                }
            }
            _ => self.engine.abort(reason),
        }
    }

    async fn message(&self, message: Message) {
        let packet = match message {
            Message::Text(text) => eio::decode_text(text),
            Message::Binary(data) => Ok(Packet::Binary(data)),
            Message::Ping(data) => {
                if !self.engine.weighs(data.len()) {
                    return;
                }
                let pong = Wire::raw(ws::pong(&data));
                return self.outbox().send(&EioMessage::One(pong));
            }
            Message::Pong(data) => {
                self.engine.weighs(data.len());
                return;
            }
            Message::Close(_) => {
                let close = Wire::raw(ws::close(1000, ""));
                return self.outbox().finish(Some(close), CloseReason::TransportClose);
            }
        };
        match (packet, self.probe()) {
            (Err(_), _) => self.outbox().end(CloseReason::ParseError),
            (Ok(packet), None) => self.engine.packet(packet).await,
            (Ok(packet), Some(probe)) => {
                if self.engine.probe_packet(&probe, &packet) {
                    if let Some(upgrade) = &self.upgrade {
                        upgrade.probe.borrow_mut().take();
                        upgrade.done.set(true);
                    }
                    self.engine.complete_upgrade(self.stream.clone());
                }
            }
        }
    }
}

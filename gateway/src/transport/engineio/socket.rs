//! Web sockets of Engine.IO sessions: new ones, and those that upgrade a
//! polling session, which move to the shard that holds it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::TcpStream;

use super::{code, has_engine};
use crate::hub::{CloseReason, Outbox};
use crate::protocol::engineio::{self as eio, Message as EioMessage, Packet, Wire};
use crate::protocol::websocket::{self as ws, Message};
use crate::session::engine::{Engine, Opening};
use crate::shard::{Control, Place, Shard};
use crate::transport::http::switch_protocols;
use crate::transport::request::ResponseBody;
use crate::transport::websocket::{self, Inbound, into_stream};

/// A WebSocket of an Engine.IO session, or one that wants to be.
struct EngineSocket {
    engine: Rc<Engine>,
    stream: Rc<TcpStream>,
    /// What waits on the WebSocket-to-be, until the upgrade is complete.
    probe: RefCell<Option<Rc<Outbox>>>,
    upgraded: Cell<bool>,
}

/// A new session over a WebSocket.
pub(super) fn open(
    shard: &Rc<Shard>,
    mut request: Request<Incoming>,
    opening: Opening,
    place: Place,
) -> Result<Response<ResponseBody>, u8> {
    let answer = switch_protocols(&request).map_err(|_| code::BAD_REQUEST)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let inner = shard.clone();
    shard.tasks.spawn_local(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((stream, leftover)) = into_stream(upgraded) else { return };
        let stream = Rc::new(stream);
        let Ok(engine) = Engine::open(&inner, &*inner.app, &opening, place, true) else { return };
        engine.outbox.attach_socket(stream.clone());
        engine.outbox.send(&EioMessage::One(engine.handshake()));
        run(&inner, engine, stream, leftover, None).await;
    });
    Ok(answer)
}

/// A WebSocket for a session that polls.
pub(super) async fn upgrade(
    shard: &Rc<Shard>,
    mut request: Request<Incoming>,
    sid: &str,
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
            return probe(&inner, &sid, stream, leftover).await;
        }
        inner.shared.metrics.shard_hops.inc();
        let (Some(remote), Ok(stream)) = (inner.shared.shards.get(owner), stream.into_std()) else {
            return;
        };
        let _ = remote.send(Control::Upgrade { sid, stream, leftover }).await;
    });
    Ok(answer)
}

/// A socket from another shard's listener.
pub async fn adopt(shard: &Rc<Shard>, sid: &str, stream: std::net::TcpStream, leftover: Bytes) {
    match TcpStream::from_std(stream) {
        Ok(stream) => probe(shard, sid, stream, leftover).await,
        Err(error) => tracing::warn!(%error, "a socket could not move to its shard"),
    }
}

/// A WebSocket that wants to carry a session from now on.
async fn probe(shard: &Rc<Shard>, sid: &str, stream: TcpStream, leftover: Bytes) {
    let stream = Rc::new(stream);
    let engine = shard.engine(sid);
    let begun = engine.and_then(|engine| Some((engine.begin_upgrade()?, engine)));
    let Some((probe, engine)) = begun else {
        // The session has its WebSocket already, or is about to, or is gone:
        // this one is closed, as the reference does, and the session goes on.
        let _ = stream.try_write(&ws::close(1000, ""));
        return;
    };
    probe.attach_socket(stream.clone());
    run(shard, engine, stream, leftover, Some(probe)).await;
}

async fn run(
    shard: &Rc<Shard>,
    engine: Rc<Engine>,
    stream: Rc<TcpStream>,
    leftover: Bytes,
    probe: Option<Rc<Outbox>>,
) {
    let upgraded = Cell::new(probe.is_none());
    let socket = EngineSocket { engine, stream, probe: RefCell::new(probe), upgraded };
    let reason = websocket::serve(shard, &socket.stream, leftover, &socket).await;
    if socket.upgraded.get() {
        socket.engine.abort(reason);
    } else {
        // Polling goes on.
        let probe = socket.probe.borrow_mut().take();
        if let Some(probe) = probe {
            socket.engine.end_probe(&probe);
        }
    }
}

impl Inbound for EngineSocket {
    fn outbox(&self) -> Rc<Outbox> {
        match &*self.probe.borrow() {
            Some(probe) => probe.clone(),
            None => self.engine.outbox.clone(),
        }
    }

    async fn message(&self, message: Message) {
        let packet = match message {
            Message::Text(text) => eio::decode_text(text),
            Message::Binary(data) => Ok(Packet::Binary(data)),
            Message::Ping(data) => {
                let pong = Wire::raw(ws::pong(&data));
                return self.outbox().send(&EioMessage::One(pong));
            }
            Message::Pong(_) => return,
            Message::Close(_) => {
                let close = Wire::raw(ws::close(1000, ""));
                return self.outbox().finish(Some(close), CloseReason::TransportClose);
            }
        };
        let probe = self.probe.borrow().clone();
        match (packet, probe) {
            (Err(_), _) => self.outbox().end(CloseReason::ParseError),
            (Ok(packet), None) => self.engine.packet(packet).await,
            (Ok(packet), Some(probe)) => {
                if self.engine.probe_packet(&probe, &packet) {
                    self.probe.borrow_mut().take();
                    self.upgraded.set(true);
                    self.engine.complete_upgrade(self.stream.clone());
                }
            }
        }
    }
}

//! Events and their acks: commands to the gateway, and what apps answer and
//! send.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Socket, SocketIo};
use crate::error::{Error, ErrorCode};
use crate::hub::CloseReason;
use crate::protocol::socketio::{self as sio, Packet};
use crate::publication::{Args, Value};
use crate::session::Session;
use crate::session::commands::{self, Answer, Body};
use crate::upstream::{ClientEvent, ClientInfo, Emit, Reply};

/// Acks that one socket may owe the gateway.
const PENDING_ACKS: usize = 1_000;

/// Events that wait for the client's ack.
#[derive(Default)]
pub(super) struct Acks {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Args>>,
}

// === impl SocketIo ===

impl SocketIo {
    pub(super) async fn event(&self, socket: &Rc<Socket>, packet: Packet) {
        let Some(data) = &packet.data else { return self.close(CloseReason::ParseError) };
        let Ok(event) = sio::parse_event(data, &packet.attachments) else {
            return self.close(CloseReason::ParseError);
        };
        let session = &socket.session;
        if !event.name.starts_with("push:") {
            return self.upstream(socket, event, packet.id).await;
        }
        let answer = commands::run(session, &event).await;
        let (body, pending) = match answer {
            Answer::Now(body) => (body, None),
            Answer::Pending(body, pending) => (Ok(Body::Short(body)), Some(pending)),
        };
        if let Some(id) = packet.id {
            let body = match body {
                Ok(body) => Value::json(&body),
                Err(error) => Value::json(&serde_json::json!({ "error": error.to_json() })),
            };
            self.send(&sio::ack(&session.namespace, id, &[body]));
        }
        if let Some(pending) = pending {
            pending.settle();
        }
    }

    async fn upstream(&self, socket: &Rc<Socket>, event: sio::Event, id: Option<u64>) {
        let session = &socket.session;
        let Some(upstream) = self.shard.shared.upstream.clone() else {
            self.shard.shared.metrics.events_unhandled.inc();
            if let Some(id) = id {
                let error = Error::new(
                    ErrorCode::NoHandler,
                    "no upstream is there for this event; name one in `upstreams`",
                );
                let body = serde_json::json!({ "error": error.to_json() });
                self.send(&sio::ack(&session.namespace, id, &[Value::json(&body)]));
            }
            return;
        };
        let Reply { emits, ack } = upstream
            .event(ClientEvent {
                client: session.info(),
                name: event.name,
                args: event.args,
                wants_ack: id.is_some(),
            })
            .await;
        for emit in emits {
            self.emit(socket, emit);
        }
        if let (Some(id), Some(args)) = (id, ack) {
            self.send(&sio::ack(&session.namespace, id, &args));
        }
    }

    pub(super) fn emit(&self, socket: &Socket, emit: Emit) {
        let id = emit.ack.and_then(|sender| {
            let mut acks = socket.acks.borrow_mut();
            let acks = acks.get_or_insert_default();
            // Beyond the limit the sender is dropped: its owner learns it.
            (acks.waiting.len() < PENDING_ACKS).then(|| {
                let id = acks.next;
                acks.next += 1;
                acks.waiting.insert(id, sender);
                id
            })
        });
        self.send(&sio::event(&socket.session.namespace, &emit.event, &emit.args, id));
    }

    pub(super) fn ack(&self, socket: &Socket, packet: &Packet) {
        let Some(id) = packet.id else { return };
        let data = packet.data.clone().unwrap_or_else(|| Bytes::from_static(b"[]"));
        let Ok(args) = sio::parse_args(&data, &packet.attachments) else {
            return self.close(CloseReason::ParseError);
        };
        // An ack that nobody waits for is ignored, as in the reference.
        let waiting = socket.acks.borrow_mut().as_mut().and_then(|acks| acks.waiting.remove(&id));
        if let Some(sender) = waiting {
            let _ = sender.send(args);
        }
    }
}

// === impl Session ===

impl Session {
    pub(super) fn info(&self) -> ClientInfo {
        ClientInfo {
            sid: self.id.clone(),
            namespace: self.namespace.as_str().into(),
            user: self.identity().user.clone(),
        }
    }
}

//! Socket.IO 5 over one Engine.IO session: namespaces, events, acks. Rules
//! as in the reference server (socket.io `client.ts`) and revision 5 of the
//! protocol.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use arcstr::ArcStr;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::commands::{self, Answer, Body};
use super::engine::{Engine, EngineApp, EngineSession, Inbound, Opening};
use super::meter::{Meter, Weighed};
use super::recovery::{Ownership, RecoveryRequest};
use super::sid::random_id;
use super::{NewSession, Session, Unannounced};
use crate::auth::{Identity, Newcomer};
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Form, Protocol};
use crate::protocol::socketio::{self as sio, Decoder, Kind, Packet};
use crate::publication::{Args, Value};
use crate::shard::Shard;
use crate::shard::timers::{Timed, Timer, TimerKey};
use crate::upstream::{ClientEvent, ClientInfo, Emit, Reply};

/// Acks that one socket may owe the gateway.
const PENDING_ACKS: usize = 1_000;

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

/// Events that wait for the client's ack.
#[derive(Default)]
struct Acks {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Args>>,
}

/// What CONNECT carries beside the app's own `auth`.
#[derive(Default, serde::Deserialize)]
struct ConnectData {
    token: Option<serde_json::Value>,
    pid: Option<serde_json::Value>,
    offset: Option<serde_json::Value>,
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

    // --- connect ---

    async fn connect(&self, packet: Packet) {
        let namespaces = &self.shard.shared.namespaces;
        let Some(index) = namespaces.iter().position(|name| *name == *packet.namespace) else {
            let refusal = sio::connect_error(&packet.namespace, "Invalid namespace", None);
            self.send(&refusal.into());
            return;
        };
        let auth = packet.data.unwrap_or_else(|| Bytes::from_static(b"{}"));
        let namespace = namespaces[index].clone();
        match self.join(&namespace, index, &auth).await {
            Ok(()) => self.stop_connect_timer(),
            Err(error) if error.code.retry() && error.code != ErrorCode::LimitConnections => {
                // CONNECT_ERROR would stop the client's reconnection for good.
                self.shard.refused(&error);
                self.close(CloseReason::Resync);
            }
            Err(error) => {
                self.shard.refused(&error);
                let data = error.to_json();
                let refusal = sio::connect_error(&namespace, &error.message, Some(&data));
                self.send(&refusal.into());
            }
        }
    }

    async fn join(&self, namespace: &ArcStr, index: usize, auth: &Bytes) -> Result<(), Error> {
        let data: ConnectData = serde_json::from_slice(auth).unwrap_or_default();
        let token = match &data.token {
            Some(serde_json::Value::String(token)) => Some(token.as_str()),
            Some(serde_json::Value::Null) | None => self.opening.token.as_deref(),
            Some(_) => {
                return Err(Error::new(
                    ErrorCode::Unauthorized,
                    "`auth.token` is not a string; pass the token as it was issued",
                ));
            }
        };
        let newcomer = Newcomer { token, protocol: "socketio", namespace };
        let identity = self.shard.shared.auth.authenticate(newcomer).await?;
        let Some(engine) = self.engine.upgrade() else { return Ok(()) };
        if engine.is_closed() {
            return Ok(());
        }
        let recoverable = self.opening.recovery && self.shard.shared.recoverable();
        let form = Form {
            protocol: Protocol::Socketio,
            namespace: u16::try_from(index).unwrap_or(u16::MAX),
            meta: false,
            recoverable,
        };
        if recoverable
            && let Some(request) = recovery_request(&data)
            && self.restore(&engine, namespace, form, &identity, &request).await?
        {
            self.greet_upstream(namespace, auth);
            return Ok(());
        }
        let session = Session::new(
            &self.shard,
            NewSession {
                id: random_id()?,
                namespace: namespace.clone(),
                user_place: self.shard.shared.door.user(&identity)?,
                identity,
                form,
                outbox: engine.outbox.clone(),
                engine: self.engine.clone(),
            },
        );
        let unannounced = Unannounced::new(&session);
        let pending = match session.join_all().await {
            Ok(pending) => pending,
            Err(error) => {
                session.end(true);
                return Err(error);
            }
        };
        if engine.is_closed() {
            drop(pending);
            session.end(true);
            return Ok(());
        }
        self.welcome(&session);
        unannounced.announced();
        pending.settle();
        self.greet_upstream(namespace, auth);
        Ok(())
    }

    /// Makes the session of an earlier connection again. False: it can't be.
    async fn restore(
        &self,
        engine: &Rc<Engine>,
        namespace: &ArcStr,
        form: Form,
        identity: &Arc<Identity>,
        request: &RecoveryRequest,
    ) -> Result<bool, Error> {
        let claim =
            Session::claim(&self.shard, request, namespace, identity.user.as_deref()).await?;
        let Some((record, owner)) = claim else {
            self.count("unknown");
            return Ok(false);
        };
        let pid: Arc<str> = request.pid.as_str().into();
        // The same gateway may still hold the old connection.
        self.shard.fenced(&pid, Some(owner));
        let session = Session::new(
            &self.shard,
            NewSession {
                id: record.sid.clone(),
                namespace: namespace.clone(),
                user_place: self.shard.shared.door.user(identity)?,
                identity: identity.clone(),
                form,
                outbox: engine.outbox.clone(),
                engine: self.engine.clone(),
            },
        );
        session.own(Ownership { pid, owner });
        let unannounced = Unannounced::new(&session);
        match session.restore(&record, request.offset.as_ref()).await {
            Ok(Some(pending)) => {
                if engine.is_closed() {
                    drop(pending);
                    session.end(false);
                    return Ok(true);
                }
                self.welcome(&session);
                unannounced.announced();
                pending.settle();
                session.count_recovery("recovered");
                Ok(true)
            }
            Ok(None) => {
                session.count_recovery("lost");
                session.end(true);
                Ok(false)
            }
            Err(error) => {
                // The record stays: the client may try again.
                session.end(false);
                Err(error)
            }
        }
    }

    fn count(&self, outcome: &'static str) {
        let label = crate::metrics::OutcomeLabel { outcome };
        self.shard.shared.metrics.recoveries.get_or_create(&label).inc();
    }

    /// The answer to CONNECT.
    fn welcome(&self, session: &Rc<Session>) {
        let mut data = serde_json::Map::new();
        data.insert("sid".to_owned(), session.id.as_ref().into());
        if let Some(pid) = session.pid() {
            data.insert("pid".to_owned(), pid.as_ref().into());
        }
        let data = serde_json::Value::Object(data).to_string();
        self.sockets
            .borrow_mut()
            .push(Rc::new(Socket { session: session.clone(), acks: RefCell::default() }));
        self.send(&sio::connect(&session.namespace, data.as_bytes()).into());
    }

    fn greet_upstream(&self, namespace: &str, auth: &Bytes) {
        let Some(upstream) = &self.shard.shared.upstream else { return };
        let Some(socket) = self.socket(namespace) else { return };
        for emit in upstream.connected(&socket.session.info(), auth) {
            self.emit(&socket, emit);
        }
    }

    // --- events ---

    async fn event(&self, socket: &Rc<Socket>, packet: Packet) {
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

    fn emit(&self, socket: &Socket, emit: Emit) {
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

    fn ack(&self, socket: &Socket, packet: &Packet) {
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

    fn send(&self, message: &crate::protocol::engineio::Message) {
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

fn recovery_request(data: &ConnectData) -> Option<RecoveryRequest> {
    let pid = data.pid.as_ref()?.as_str()?.to_owned();
    let offset = match &data.offset {
        None | Some(serde_json::Value::Null) => None,
        // An offset that isn't one: the session can't be made again.
        Some(offset) => Some(offset.as_str()?.parse().ok()?),
    };
    Some(RecoveryRequest { pid, offset })
}

// === impl Session ===

impl Session {
    fn info(&self) -> ClientInfo {
        ClientInfo {
            sid: self.id.clone(),
            namespace: self.namespace.as_str().into(),
            user: self.identity().user.clone(),
        }
    }
}

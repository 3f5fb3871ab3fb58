//! Joining a namespace: a new session, or the one of an earlier connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arcstr::ArcStr;
use bytes::Bytes;

use super::{Socket, SocketIo};
use crate::auth::{Identity, Newcomer};
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Form, Protocol};
use crate::protocol::socketio::{self as sio, Packet};
use crate::session::engine::Engine;
use crate::session::recovery::{Ownership, RecoveryRequest};
use crate::session::sid::random_id;
use crate::session::{NewSession, Session, Unannounced};

/// What CONNECT carries beside the app's own `auth`.
#[derive(Default, serde::Deserialize)]
struct ConnectData {
    token: Option<serde_json::Value>,
    pid: Option<serde_json::Value>,
    offset: Option<serde_json::Value>,
}

// === impl SocketIo ===

impl SocketIo {
    pub(super) async fn connect(&self, packet: Packet) {
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

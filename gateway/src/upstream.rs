//! The seam where apps that receive clients' events plug in.
//!
//! In this version there is one kind: a handler in the same process, for
//! those who embed the gateway and for its own tests.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::publication::Args;

/// Receives clients' events.
pub trait Upstream: Send + Sync + 'static {
    /// A client joined a namespace; `auth` is the JSON object that it sent.
    fn connected(&self, client: &ClientInfo, auth: &Bytes) -> Vec<Emit>;

    /// A client sent an event.
    fn event(&self, event: ClientEvent) -> BoxFuture<'static, Reply>;
}

/// Who sent it.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Socket.IO id.
    pub sid: Arc<str>,
    /// Namespace.
    pub namespace: Box<str>,
    /// User, if it has a token.
    pub user: Option<Arc<str>>,
}

/// An event from a client.
#[derive(Clone, Debug)]
pub struct ClientEvent {
    /// Who sent it.
    pub client: ClientInfo,
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Args,
    /// Whether the client waits for an answer.
    pub wants_ack: bool,
}

/// What a handler answers.
#[derive(Debug, Default)]
pub struct Reply {
    /// Sent to the client first.
    pub emits: Vec<Emit>,
    /// The arguments of the client's ack.
    pub ack: Option<Args>,
}

/// An event for one client.
#[derive(Debug)]
pub struct Emit {
    /// Its name.
    pub event: String,
    /// Its arguments.
    pub args: Args,
    /// Who gets the client's ack, if one is asked for. Dropped: the client
    /// went before it answered.
    pub ack: Option<oneshot::Sender<Args>>,
}

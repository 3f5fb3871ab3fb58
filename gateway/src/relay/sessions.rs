//! What is kept of Socket.IO sessions, so that a client that comes back, to
//! any gateway, is the same session again (connection state recovery).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::RelayError;
use crate::offset::Position;

/// Where session records are kept.
pub trait Sessions: Send + Sync {
    /// Writes a session's record; before a subscribe is acknowledged.
    /// `false`: another connection has taken the session over.
    fn put<'a>(
        &'a self,
        pid: &'a Arc<str>,
        record: SessionRecord,
    ) -> BoxFuture<'a, Result<bool, RelayError>>;

    /// The session's transport closed; from now on the record is valid for
    /// `maxDisconnection`. Batched; nothing is promised of a gateway that dies.
    fn closed(&self, pid: &Arc<str>);

    /// The client left for good.
    fn delete(&self, pid: &Arc<str>);

    /// A client came back: the record, now this connection's alone. The
    /// former owner, if it is alive, is told by [`super::FeedItem::Fenced`].
    fn claim<'a>(&'a self, pid: &'a str) -> BoxFuture<'a, Result<Claim, RelayError>>;
}

/// What a returning client gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Its session.
    Granted(SessionRecord),
    /// None: unknown, expired, or left for good.
    Unknown,
}

/// A session, as far as another gateway must know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its Socket.IO id, kept over recoveries.
    pub sid: Arc<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Whose it is; only the same user gets it back.
    pub user: Option<Box<str>>,
    /// What it is subscribed to.
    pub subscriptions: Vec<SubscriptionRecord>,
}

/// One subscription of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// The channel's name.
    pub channel: Box<str>,
    /// Where it began: nothing before it is owed.
    pub start: Position,
    /// Whether `{channel, id, time}` follows the data.
    pub meta: bool,
}

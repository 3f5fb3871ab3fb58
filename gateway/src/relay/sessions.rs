//! What is kept of Socket.IO sessions, so that a client that comes back, to
//! any gateway, is the same session again (connection state recovery).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::RelayError;
use crate::offset::Position;

/// Where session records are kept.
///
/// A record has one owner at a time: the connection that made it, then each
/// connection that claimed it. What a former owner still says is ignored, so
/// that its late close can't end the session of the connection that came after.
pub trait Sessions: Send + Sync {
    /// Writes the record of a new session, whose private id nobody has used.
    fn create<'a>(
        &'a self,
        pid: &'a Arc<str>,
        record: SessionRecord,
    ) -> BoxFuture<'a, Result<Owner, RelayError>>;

    /// Writes a session's record anew; before a subscribe is acknowledged.
    /// `false`: another connection has taken the session over, or it is gone.
    fn put<'a>(
        &'a self,
        pid: &'a Arc<str>,
        owner: Owner,
        record: SessionRecord,
    ) -> BoxFuture<'a, Result<bool, RelayError>>;

    /// The session's transport closed; from now on the record is valid for
    /// `maxDisconnection`. Batched; nothing is promised of a gateway that dies.
    fn closed(&self, pid: &Arc<str>, owner: Owner);

    /// The client left for good. Batched, as `closed` is.
    fn delete(&self, pid: &Arc<str>, owner: Owner);

    /// The client was sent away for good: when this returns nobody gets the
    /// session back, at any gateway.
    fn revoke<'a>(
        &'a self,
        pid: &'a Arc<str>,
        owner: Owner,
    ) -> BoxFuture<'a, Result<(), RelayError>>;

    /// A client came back: the record, now this connection's alone. The
    /// former owner, if it is alive, is told by [`super::FeedItem::Fenced`].
    fn claim<'a>(&'a self, pid: &'a str) -> BoxFuture<'a, Result<Claim, RelayError>>;
}

/// Who holds a session: a number that is given out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

/// What a returning client gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Its session, and the owner that the claiming connection now is.
    Granted(SessionRecord, Owner),
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
    /// Nothing up to here is owed: where it began, or the offset that the
    /// client subscribed with.
    pub start: Position,
    /// Where it entered the hub. An offset up to here was given before it.
    pub joined: Position,
    /// Whether `{channel, id, time}` follows the data.
    pub meta: bool,
}

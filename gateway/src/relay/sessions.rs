//! What is kept of Socket.IO sessions, so that a client that comes back, to
//! any gateway, is the same session again (connection state recovery).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::RelayError;
use crate::channel::Channel;
use crate::offset::Position;

/// How many records of closed sessions a gateway keeps at once: 1,000 clients
/// that leave each second, over the default `maxDisconnection`; over NATS 700,
/// since a record stays a minute longer there. Whose record has no room is told
/// that the session wasn't recovered. (Records of open sessions are as many as
/// there are open sessions.)
pub const MAX_CLOSED: usize = 1 << 17;

/// How many bytes those records may hold, with the same end: a client may
/// close as many sessions as it likes, each with as many long names as
/// `limits.subscriptions` lets it have.
pub const MAX_CLOSED_BYTES: usize = 128 << 20;

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
    /// When it began, in milliseconds since 1970; what is said of a user's
    /// sessions from before some time is said of it or not.
    #[serde(default)]
    pub began: u64,
    /// What it is subscribed to.
    pub subscriptions: Vec<SubscriptionRecord>,
}

/// One subscription of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// The channel's name.
    pub channel: Channel,
    /// Nothing up to here is owed: where it began, or the offset that the
    /// client subscribed with.
    pub start: Position,
    /// Where it entered the hub. An offset up to here was given before it.
    pub joined: Position,
    /// Whether `{channel, id, time}` follows the data.
    pub meta: bool,
}

//! The way between gateways: who publishes puts in, every gateway gets out.
//!
//! A relay orders publications, keeps the history that the channel rules ask
//! for, and hands every publication to the gateway's [`Fanout`]. Channels
//! with history share one sequence, so one number is a place in all of them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway_config::History;

use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::offset::{Offset, Position};
use crate::publication::{NewPublication, Publication, Published};

pub mod embedded;
pub mod fanout;
pub mod jetstream;
pub mod marks;
pub mod sessions;

pub use embedded::EmbeddedRelay;
pub use fanout::{Fanout, FanoutPermit};
pub use jetstream::JetStreamRelay;
pub use marks::{Mark, MarkKind};
pub use sessions::{Claim, Owner, SessionRecord, Sessions, SubscriptionRecord};
use sessions::{MAX_CLOSED, MAX_CLOSED_BYTES};

/// The way between gateways.
pub trait Relay: Send + Sync + 'static {
    /// Publishes. Resolves when the publication is stored (with history) or
    /// handed on (without).
    ///
    /// The caller has checked the event's name and the size.
    fn publish(&self, publication: NewPublication) -> BoxFuture<'_, Result<Published, RelayError>>;

    /// This gateway has its first subscriber of a channel. Resolves when
    /// what is published after it will arrive. Channels with history need no
    /// more than that; those without are subscribed to.
    fn join(&self, channel: &Channel) -> BoxFuture<'_, Result<(), RelayError>>;

    /// This gateway has no subscriber of a channel any more.
    fn leave(&self, channel: &Channel);

    /// How far the stream is known to reach.
    fn head(&self) -> Position;

    /// Ready when the feed has come to a place that a client holds, which may
    /// be from a gateway that is a moment ahead; or when nobody can have been
    /// there, which the replay tells.
    fn reach(&self, place: Position) -> BoxFuture<'_, Result<(), RelayError>> {
        // A gateway that is alone has been wherever its clients were.
        let _ = place;
        Box::pin(std::future::ready(Ok(())))
    }

    /// What several channels hold after a place each, merged in sequence order.
    fn replay(&self, request: Replay) -> BoxFuture<'_, Result<Replayed, RelayError>>;

    /// One channel's history, for people and apps to read.
    fn history(&self, query: HistoryQuery) -> BoxFuture<'_, Result<HistoryPage, RelayError>>;

    /// What is kept of sessions whose clients may come back.
    fn sessions(&self) -> &dyn Sessions;

    /// Asks whoever serves a subject; the first answer. The caller limits the
    /// time.
    fn ask<'a>(
        &'a self,
        subject: &'a str,
        question: Bytes,
    ) -> BoxFuture<'a, Result<Bytes, AskError>> {
        // Nobody can be there who isn't in this process.
        let _ = (subject, question);
        Box::pin(std::future::ready(Err(AskError::NobodyThere)))
    }

    /// Keeps a mark until its time is over, for gateways that start later.
    fn keep<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<(), RelayError>> {
        // A gateway that is alone has it in memory.
        let _ = mark;
        Box::pin(std::future::ready(Ok(())))
    }

    /// The marks that were kept after a place, and the place up to which they
    /// are; 0 is before all.
    fn kept(&self, after: u64) -> BoxFuture<'_, Result<(Vec<Mark>, u64), RelayError>> {
        Box::pin(std::future::ready(Ok((Vec::new(), after))))
    }

    /// How it is, for `/status` and metrics.
    fn status(&self) -> RelayStatus;
}

/// One thing that a relay tells the shards, in order.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// A publication of a channel that the shard wants; one with a position
    /// moves the shard's position.
    Publication(Arc<Publication>),
    /// The stream began a new life: no resume point of the old one holds.
    Epoch(Position),
    /// Publications are gone that the feed should have brought. Who is
    /// subscribed to their channels must come back and be told.
    Lost(Arc<Lost>),
    /// The session of this private id was taken over: a connection that
    /// holds it as another owner than this one must close. (The new owner may
    /// be a connection of the very same shard, and already be there.)
    Fenced {
        /// The session's private id.
        pid: Arc<str>,
        /// Who holds it from now on.
        owner: Owner,
    },
}

/// Which channels may have lost publications.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// These.
    pub channels: Vec<Channel>,
    /// And those that keep nothing for as long as so many milliseconds.
    pub older_than: u64,
}

/// What to replay: each channel after its place, up to `until`.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Epoch and time in which the places were given.
    pub from: Position,
    /// Each channel with the last sequence that the client has.
    pub channels: Vec<(Channel, u64)>,
    /// The last sequence to replay: the shard's position when it began to
    /// hold live publications back.
    pub until: Position,
    /// Only so many of each channel's latest; for `last`.
    pub last: Option<usize>,
}

/// A replay, or the news that it can't be had.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// In sequence order. Empty where the gap can't be filled.
    pub publications: Vec<Arc<Publication>>,
    /// Channels with a gap that can't be filled: another epoch, trimmed,
    /// expired, or no history by the rules.
    pub lost: Vec<Channel>,
}

/// Which part of a channel's history.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// Of which channel.
    pub channel: Channel,
    /// Only what is after it.
    pub since: Option<Offset>,
    /// Only what is before it.
    pub before: Option<Offset>,
    /// At most so many.
    pub limit: usize,
    /// Newest first.
    pub newest_first: bool,
}

/// A part of a channel's history.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// In the order asked for.
    pub publications: Vec<Arc<Publication>>,
    /// How far the stream reached when it was read.
    pub head: Position,
    /// False: what followed `since` is partly gone.
    pub complete: bool,
    /// Whether there is more beyond the limit.
    pub more: bool,
}

/// How a relay is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RelayStatus {
    /// `memory` or `nats`.
    pub kind: &'static str,
    /// Whether publications go through.
    pub connected: bool,
    /// What is wrong.
    pub error: Option<String>,
    /// The server's version.
    pub version: Option<String>,
    /// Publications stored and not yet seen here.
    pub lag: u64,
}

/// Why nobody answers a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody serves the subject.
    #[error("nobody serves the subject")]
    NobodyThere,
    /// The relay is not reachable.
    #[error("the relay is not reachable: {0}")]
    Unreachable(String),
}

/// Why a relay can't.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// Not now; it may be tried again.
    #[error("the relay is not reachable: {0}; try again")]
    Unavailable(String),
    /// The gateway is stopping.
    #[error("the gateway is stopping; try again at another one")]
    Stopped,
    /// The channel keeps no history by the rules.
    #[error("the channel has no history; a channel rule with `history` gives it one")]
    NoHistory,
}

// === impl Lost ===

impl Lost {
    /// Whether a channel, with what its rule keeps, is one of them.
    pub fn hits(&self, channel: &Channel, history: Option<History>) -> bool {
        let Some(history) = history else { return false };
        history.max_age.as_millis() < self.older_than || self.channels.contains(channel)
    }
}

// === impl RelayError ===

impl From<RelayError> for Error {
    fn from(error: RelayError) -> Self {
        let code = match error {
            RelayError::Unavailable(_) | RelayError::Stopped => ErrorCode::Unavailable,
            RelayError::NoHistory => ErrorCode::NotFound,
        };
        Self::new(code, error.to_string())
    }
}

//! A mock of a relay: records what it is asked to publish, keeps it in a
//! list, and fails where a test says so. It has no sessions and no fan-out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use crate::channel::Channel;
use crate::offset::Position;
use crate::publication::{NewPublication, Publication, Published};
use crate::relay::{
    Claim, HistoryPage, HistoryQuery, Owner, Relay, RelayError, RelayStatus, Replay, Replayed,
    SessionRecord, Sessions,
};

#[derive(Default)]
pub struct FakeRelay {
    /// What it was asked to publish, in order.
    pub published: Mutex<Vec<NewPublication>>,
    /// What it keeps, of channels that begin with `orders.`.
    pub kept: Mutex<Vec<Arc<Publication>>>,
    /// Channels on which publishing fails; on the channel `panic` it panics.
    pub broken: Mutex<HashSet<Channel>>,
}

/// A position of the only life that this stream has.
pub fn position(sequence: u64) -> Position {
    Position { epoch: 36, sequence, time: 1_767_323_045_000 + sequence }
}

impl Relay for FakeRelay {
    fn publish(&self, new: NewPublication) -> BoxFuture<'_, Result<Published, RelayError>> {
        Box::pin(async move {
            assert_ne!(new.channel.as_str(), "panic", "as the test asked for");
            if self.broken.lock().unwrap().contains(&new.channel) {
                return Err(RelayError::Unavailable("no server".to_owned()));
            }
            self.published.lock().unwrap().push(new.clone());
            let mut kept = self.kept.lock().unwrap();
            if !new.channel.as_str().starts_with("orders.") || !new.store {
                return Ok(Published { position: None, duplicate: false });
            }
            let same = |old: &&Arc<Publication>| old.channel == new.channel && old.id == new.id;
            if let Some(first) = kept.iter().find(same).filter(|_| new.id.is_some()) {
                return Ok(Published { position: first.position, duplicate: true });
            }
            let position = position(kept.len() as u64 + 1);
            kept.push(Arc::new(Publication {
                channel: new.channel,
                event: new.event,
                args: new.args,
                spread: new.spread,
                id: new.id,
                time: position.time,
                position: Some(position),
                except: new.except,
            }));
            Ok(Published { position: Some(position), duplicate: false })
        })
    }

    fn join(&self, _: &Channel) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async { Ok(()) })
    }

    fn leave(&self, _: &Channel) {}

    fn head(&self) -> Position {
        position(self.kept.lock().unwrap().len() as u64)
    }

    fn replay(&self, _: Replay) -> BoxFuture<'_, Result<Replayed, RelayError>> {
        Box::pin(async { Ok(Replayed { publications: Vec::new(), lost: Vec::new() }) })
    }

    fn history(&self, query: HistoryQuery) -> BoxFuture<'_, Result<HistoryPage, RelayError>> {
        let mut found: Vec<_> = self.kept.lock().unwrap().clone();
        found.retain(|publication| {
            let sequence = publication.position.unwrap().sequence;
            publication.channel == query.channel
                && query.since.as_ref().is_none_or(|o| sequence > o.sequence_of(&query.channel))
                && query.before.as_ref().is_none_or(|o| sequence < o.sequence_of(&query.channel))
        });
        if query.newest_first {
            found.reverse();
        }
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let head = self.head();
        Box::pin(async move { Ok(HistoryPage { publications: found, head, complete: true, more }) })
    }

    fn sessions(&self) -> &dyn Sessions {
        &NoSessions
    }

    fn status(&self) -> RelayStatus {
        RelayStatus { kind: "memory", connected: true, error: None, version: None, lag: 0 }
    }
}

struct NoSessions;

impl Sessions for NoSessions {
    fn create<'a>(
        &'a self,
        _: &'a Arc<str>,
        _: SessionRecord,
    ) -> BoxFuture<'a, Result<Owner, RelayError>> {
        Box::pin(async { Ok(Owner(1)) })
    }

    fn put<'a>(
        &'a self,
        _: &'a Arc<str>,
        _: Owner,
        _: SessionRecord,
    ) -> BoxFuture<'a, Result<bool, RelayError>> {
        Box::pin(async { Ok(true) })
    }

    fn closed(&self, _: &Arc<str>, _: Owner) {}

    fn delete(&self, _: &Arc<str>, _: Owner) {}

    fn revoke<'a>(&'a self, _: &'a Arc<str>, _: Owner) -> BoxFuture<'a, Result<(), RelayError>> {
        Box::pin(async { Ok(()) })
    }

    fn claim<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Claim, RelayError>> {
        Box::pin(async { Ok(Claim::Unknown) })
    }
}

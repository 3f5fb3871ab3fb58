//! The embedded relay: one gateway alone, history in its memory.
//!
//! # Layout
//!
//! - `log`: what is kept of every channel, and what is known of what is gone
//! - `ids`: publication ids seen lately
//! - `times`: when a sequence was current
//! - `read`: replays and history pages
//! - `sessions`: the records of sessions that may come back
//! - `record`: one of them, packed
//! - `clock`: what time it is

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gateway_config::{History, Period, Relay as RelayConfig};

use super::{
    Fanout, FanoutPermit, FeedItem, HistoryPage, HistoryQuery, Relay, RelayError, RelayStatus,
    Replay, Replayed, Sessions,
};
use crate::channel::Channel;
use crate::metrics::Metrics;
use crate::offset::Position;
use crate::publication::{NewPublication, Publication, Published};
use crate::rules::{Rules, SharedRules};

mod clock;
mod ids;
mod log;
mod read;
mod record;
mod sessions;
pub(super) mod times;

#[cfg(test)]
mod tests;

pub use clock::Clock;

use ids::{IdHasher, MAX_IDS, RecentIds};
use log::{Logs, PARTS};
use sessions::EmbeddedSessions;
use times::Times;

/// How often memory of what has expired is given back. What a client may
/// read does not depend on it: limits are applied on read too. A sweep of
/// 100,000 channels was measured at 55 ms of CPU, in parts of 0.2 ms.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// The relay of a gateway that is alone: the same semantics as over NATS, for
/// as long as the process lives.
pub struct EmbeddedRelay {
    rules: SharedRules,
    fanout: Fanout,
    clock: Clock,
    id_hasher: IdHasher,
    /// Held for the time of one append, or of one channel's read. Publications
    /// enter the shards' queues under it: that is what makes the order of the
    /// sequence the order of every queue.
    stream: Mutex<Stream>,
    sessions: EmbeddedSessions,
    metrics: Metrics,
}

/// What a relay is made of.
pub struct EmbeddedOptions {
    /// The channel rules, with what they may keep together.
    pub rules: SharedRules,
    /// Where publications go.
    pub fanout: Fanout,
    /// How long a session's record outlives its connection; none: no records.
    pub max_disconnection: Option<Period>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
}

/// What is behind the lock.
struct Stream {
    head: Position,
    logs: Logs,
    ids: RecentIds,
    times: Times,
    /// The rules that held at the last read or sweep.
    rules: Arc<Rules>,
    /// Whether it was said that history goes early; once each time that there
    /// is too much.
    overflowing: bool,
}

// === impl EmbeddedRelay ===

impl EmbeddedRelay {
    /// A relay that begins empty, with a new epoch.
    ///
    /// The caller runs [`EmbeddedRelay::run`].
    pub fn new(options: EmbeddedOptions) -> Arc<Self> {
        let EmbeddedOptions { rules, fanout, max_disconnection, metrics, clock } = options;
        let epoch = clock.now();
        // Nothing was published yet; whoever is here has all since now.
        let head = Position { epoch, sequence: 0, time: epoch };
        fanout.advance(head);
        let stream = Stream {
            head,
            logs: Logs::new(room_of(&rules.load())),
            ids: RecentIds::new(MAX_IDS),
            times: Times::new(epoch),
            rules: rules.load_full(),
            overflowing: false,
        };
        Arc::new(Self {
            sessions: EmbeddedSessions::new(
                max_disconnection,
                fanout.clone(),
                clock.clone(),
                metrics.clone(),
            ),
            rules,
            fanout,
            clock,
            id_hasher: IdHasher::default(),
            stream: Mutex::new(stream),
            metrics,
        })
    }

    /// Gives back the memory of what has expired, every few seconds until
    /// `stop`. The caller spawns it and joins it.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = interval.tick() => {}
            }
            for part in 0..PARTS {
                self.sweep_part(part);
                tokio::task::yield_now().await;
            }
            while !self.sweep_rest() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Gives back the memory of what has expired, at once.
    pub fn sweep(&self) {
        for part in 0..PARTS {
            self.sweep_part(part);
        }
        while !self.sweep_rest() {}
    }

    fn sweep_part(&self, part: usize) {
        self.read(|stream, rules, now| {
            stream.logs.sweep(part, now, |channel| history_of(rules, channel));
            stream.overflowing &= !stream.logs.is_calm();
            self.show(stream.logs.bytes());
        });
    }

    /// Ids and sessions. False: there is more to do.
    fn sweep_rest(&self) -> bool {
        // So many at a time as take well under a millisecond.
        const BATCH: usize = 4096;
        let ids = self.read(|stream, _, now| {
            let all = stream.ids.expire(now, BATCH);
            if all {
                stream.ids.shrink();
            }
            all
        });
        self.sessions.sweep(BATCH) && ids
    }

    /// Gives a publication its place, keeps it and sends it; or finds that it
    /// was there before.
    fn append(&self, new: NewPublication, permit: FanoutPermit<'_>) -> Published {
        let history = if new.store { history_of(&self.rules.load(), &new.channel) } else { None };
        let key = history.and(new.id.as_deref()).map(|id| self.id_hasher.key(&new.channel, id));

        let mut stream = self.lock();
        let now = stream.now(&self.clock);
        if let Some(position) = key.and_then(|key| stream.ids.get(key, stream.head.epoch, now)) {
            return Published { position: Some(position), duplicate: true };
        }
        let mut overflows = false;
        let position = history.map(|_| Position {
            epoch: stream.head.epoch,
            sequence: stream.head.sequence + 1,
            time: now,
        });
        let publication = Arc::new(Publication {
            channel: new.channel,
            event: new.event,
            args: new.args,
            spread: new.spread,
            id: new.id,
            time: now,
            position,
            except: new.except,
        });
        if let (Some(history), Some(position)) = (history, position) {
            stream.head = position;
            stream.times.note(position.sequence, now);
            if let Some(key) = key {
                stream.ids.insert(key, position);
            }
            let kept = Arc::clone(&publication);
            let early = stream.logs.append(position.sequence, kept, new.ttl, history);
            if early > 0 {
                self.metrics.history_removed_early.inc_by(early);
                overflows = !std::mem::replace(&mut stream.overflowing, true);
            }
            self.show(stream.logs.bytes());
        }
        permit.send(FeedItem::Publication(publication));
        drop(stream);
        if overflows {
            tracing::warn!(
                "history is full: the oldest publications of all channels go before their time, \
                 and clients that come back from before them are told; raise \
                 `relay.historyBytes`, or let rules keep less"
            );
        }
        Published { position, duplicate: false }
    }

    /// Shows what history takes.
    fn show(&self, bytes: usize) {
        self.metrics.history_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Reads under the lock, with the rules in force and the time.
    fn read<T>(&self, read: impl FnOnce(&mut Stream, &Rules, u64) -> T) -> T {
        let mut stream = self.lock();
        let rules = self.rules.load();
        if !Arc::ptr_eq(&stream.rules, &rules) {
            stream.rules = Arc::clone(&rules);
            stream.logs.rules_changed();
            stream.logs.set_room(room_of(&rules));
        }
        let now = stream.now(&self.clock);
        read(&mut stream, &rules, now)
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        // A panic under the lock ends one request, not the relay.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay for EmbeddedRelay {
    fn publish(&self, publication: NewPublication) -> BoxFuture<'_, Result<Published, RelayError>> {
        Box::pin(async move {
            let permit = self.fanout.reserve().await?;
            Ok(self.append(publication, permit))
        })
    }

    fn join(&self, _: &Channel) -> BoxFuture<'_, Result<(), RelayError>> {
        // Every publication comes through here, subscribed to or not.
        Box::pin(std::future::ready(Ok(())))
    }

    fn leave(&self, _: &Channel) {}

    fn head(&self) -> Position {
        self.lock().head
    }

    fn replay(&self, request: Replay) -> BoxFuture<'_, Result<Replayed, RelayError>> {
        Box::pin(async move { Ok(self.read_replay(&request)) })
    }

    fn history(&self, query: HistoryQuery) -> BoxFuture<'_, Result<HistoryPage, RelayError>> {
        Box::pin(async move { self.read_history(&query) })
    }

    fn sessions(&self) -> &dyn Sessions {
        &self.sessions
    }

    fn status(&self) -> RelayStatus {
        RelayStatus { kind: "memory", connected: true, error: None, version: None, lag: 0 }
    }
}

// === impl Stream ===

impl Stream {
    /// The time, which never goes back behind the last publication's.
    fn now(&self, clock: &Clock) -> u64 {
        clock.now().max(self.head.time)
    }
}

/// How many bytes history may take.
fn room_of(rules: &Rules) -> usize {
    rules.history_bytes().unwrap_or(RelayConfig::MEMORY_HISTORY_BYTES)
}

/// How much of a channel is kept; none where a rule keeps nothing at all.
fn history_of(rules: &Rules, channel: &Channel) -> Option<History> {
    rules
        .of(channel)
        .history
        .filter(|history| history.max_messages > 0 && history.max_age > Period::default())
}

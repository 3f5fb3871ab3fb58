//! Holes in the feed, and the stream's new lives.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Content, Follower, Incoming, Stopped};
use crate::channel::Channel;
use crate::offset::Position;
use crate::relay::jetstream::api::{Api, ApiError, Get, Stored, StreamInfo};
use crate::relay::jetstream::line::Headers;
use crate::relay::jetstream::{kept_by, room, subjects, time};
use crate::relay::{FeedItem, Lost};

/// Messages of one batch.
const BATCH: usize = 512;
/// How often a replica that may be behind is asked before the leader is.
const REPLICA_TRIES: u32 = 3;
/// A replica was seen behind by so much; doubled with every try.
const REPLICA_DELAY: Duration = Duration::from_millis(20);
/// A new leader may show less than it has for a moment.
const RECHECKS: u32 = 5;
const RECHECK_DELAY: Duration = Duration::from_millis(400);

/// What a fill has seen, to tell what is lost.
#[derive(Default)]
struct Seen {
    /// Sequences that were not there.
    missing: u64,
    /// How many came of each channel, by subject.
    counts: HashMap<String, usize>,
}

// === impl Follower ===

impl Follower<'_> {
    /// Compares the position with the stream and comes to its end.
    pub(super) async fn catch_up(&mut self) -> Result<Result<(), ApiError>, Stopped> {
        if self.check {
            match self.compare().await? {
                Ok(()) => self.check = false,
                Err(error) => return Ok(Err(error)),
            }
        }
        self.fill(self.owed).await
    }

    async fn compare(&mut self) -> Result<Result<(), ApiError>, Stopped> {
        for recheck in 0..=RECHECKS {
            let info = match self.relay.feed_api.info(&self.relay.stream).await {
                Ok(info) => info,
                Err(error) if error.is_no_stream() => return self.new_life(false).await,
                Err(error) => return Ok(Err(error)),
            };
            self.relay.note_stream(&info);
            if epoch(&info) != Some(self.position.epoch) {
                return self.new_life(false).await;
            }
            if info.state.last_seq >= self.position.sequence {
                match self.is_same().await {
                    Ok(true) => self.owed = self.owed.max(info.state.last_seq),
                    Ok(false) => return self.new_life(true).await,
                    Err(error) => return Ok(Err(error)),
                }
                return Ok(Ok(()));
            }
            if recheck < RECHECKS {
                tokio::time::sleep(RECHECK_DELAY).await;
            }
        }
        self.new_life(true).await
    }

    /// Whether the position's message is still the same, or gone.
    async fn is_same(&mut self) -> Result<bool, ApiError> {
        let get = Get { seq: Some(self.position.sequence), ..Get::default() };
        if self.position.sequence == 0 {
            return Ok(true);
        }
        let stored = self.relay.feed_api.get_from_leader(&self.relay.stream, &get).await?;
        Ok(stored.is_none_or(|stored| stored.time == self.position.time))
    }

    /// The stream began anew, or went back behind the position: no place
    /// that anybody holds is one of it. Not `sure`: unless it turns out to be
    /// there as ever (a server that comes back may not know of it at first).
    pub(super) async fn new_life(&mut self, sure: bool) -> Result<Result<(), ApiError>, Stopped> {
        let info = match self.relay.ensure_stream().await {
            Ok(info) => info,
            Err(error) => return Ok(Err(error)),
        };
        let Some(position) = head_of(&self.relay.feed_api, &info) else {
            return Ok(Err(ApiError::Malformed("a stream without a time".to_owned())));
        };
        let (api, now) = (&self.relay.feed_api, self.relay.clock.now());
        if let Err(error) = room::anchor(api, &self.relay.subjects, &info.config, now).await {
            tracing::debug!(%error, "the stream takes no anchor");
        }
        let same =
            position.epoch == self.position.epoch && position.sequence >= self.position.sequence;
        if same && !sure {
            self.owed = self.owed.max(position.sequence);
            self.check = true;
            return Ok(Err(ApiError::NoResponders));
        }
        tracing::warn!(
            was = self.position.sequence,
            is = position.sequence,
            "the stream began a new life; sessions can't be recovered from the old one"
        );
        self.relay.metrics.relay_lost.inc();
        self.relay.shed.store(0, Ordering::Relaxed);
        self.relay.ring.reset(position);
        self.relay.set_last(position.sequence);
        self.position = position;
        self.owed = position.sequence;
        self.check = false;
        self.send(FeedItem::Epoch(position)).await?;
        Ok(Ok(()))
    }

    /// Brings everything up to a sequence from the stream. Ends only when
    /// the position is there.
    pub(super) async fn fill(&mut self, until: u64) -> Result<Result<(), ApiError>, Stopped> {
        let before = self.position;
        let mut seen = Seen::default();
        let filled = self.fill_from(until, &mut seen).await?;
        if !seen.counts.is_empty() {
            self.relay.metrics.relay_fills.inc();
            self.relay.metrics.relay_filled.inc_by(seen.counts.values().sum::<usize>() as u64);
        }
        if seen.missing > 0 {
            self.tell_lost(before, &seen).await?;
        }
        if filled.is_ok() && self.relay.feed_api.is_connected() {
            self.relay.health.well();
        }
        Ok(filled)
    }

    async fn fill_from(
        &mut self,
        until: u64,
        seen: &mut Seen,
    ) -> Result<Result<(), ApiError>, Stopped> {
        let mut tries = 0;
        while self.position.sequence < until {
            let from = self.position.sequence + 1;
            let count = usize::try_from(until - self.position.sequence).unwrap_or(BATCH).min(BATCH);
            let batch = match self.relay.feed_api.batch(&self.relay.stream, from, ">", count).await
            {
                Ok(batch) => batch,
                Err(error) => return Ok(Err(error)),
            };
            if batch.is_empty() {
                if tries < REPLICA_TRIES {
                    tokio::time::sleep(REPLICA_DELAY * 2_u32.pow(tries)).await;
                    tries += 1;
                    continue;
                }
                if let Err(error) = self.ask_leader(until, seen).await? {
                    return Ok(Err(error));
                }
            }
            tries = 0;
            for stored in &batch {
                self.accept_stored(stored, seen).await?;
            }
        }
        Ok(Ok(()))
    }

    /// No replica that was asked has more. The leader knows whether there is.
    async fn ask_leader(
        &mut self,
        until: u64,
        seen: &mut Seen,
    ) -> Result<Result<(), ApiError>, Stopped> {
        let relay = self.relay;
        let from = self.position.sequence + 1;
        let get = Get { seq: Some(from), next_by_subj: Some(">"), ..Get::default() };
        let stored = match relay.feed_api.get_from_leader(&relay.stream, &get).await {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(stored) = stored {
            self.accept_stored(&stored, seen).await?;
            return Ok(Ok(()));
        }
        let info = match relay.feed_api.info(&relay.stream).await {
            Ok(info) => info,
            Err(error) => return Ok(Err(error)),
        };
        if info.state.last_seq < until {
            // It went back behind what was seen of it.
            self.check = true;
            return Ok(Err(ApiError::Malformed("the stream is shorter than its feed".to_owned())));
        }
        // Between here and its end there is nothing any more.
        let Some(position) = head_of(&self.relay.feed_api, &info) else {
            return Ok(Err(ApiError::Malformed("a stream without a time".to_owned())));
        };
        self.step_over(position.sequence + 1, seen);
        relay.ring.set_head_time(position.time);
        self.position = position;
        self.silence.reached(position.sequence);
        relay.fanout.advance(position);
        Ok(Ok(()))
    }

    /// The next message that the stream has.
    async fn accept_stored(&mut self, stored: &Stored, seen: &mut Seen) -> Result<(), Stopped> {
        self.step_over(stored.sequence, seen);
        // The stream has no subject that isn't a channel's; one that had
        // would be passed by.
        let channel = self.relay.subjects.channel_of(&stored.subject).unwrap_or_default();
        *seen.counts.entry(channel.to_owned()).or_default() += 1;
        let incoming = Incoming {
            sequence: stored.sequence,
            time: stored.time,
            channel,
            content: Content::Stored {
                headers: Headers::Map(stored.headers.as_ref()),
                payload: &stored.payload,
            },
        };
        self.accept(&incoming).await.map(drop)
    }

    /// What is before `sequence` is not there.
    fn step_over(&mut self, sequence: u64, seen: &mut Seen) {
        let mut next = self.position.sequence + 1;
        // A long way: what is before the ring's reach need not be in it.
        if sequence.saturating_sub(next) > 1_000_000 {
            let skipped = sequence - 1;
            seen.missing += sequence - next;
            let position = Position { sequence: skipped, ..self.position };
            self.relay.ring.reset(position);
            self.position = position;
            return;
        }
        while next < sequence {
            self.relay.ring.push_missing();
            seen.missing += 1;
            self.position.sequence = next;
            next += 1;
        }
    }

    /// Sequences were missing. That is no loss for what had its own TTL, for
    /// ticks, and for what was never stored; it may be one for channels that
    /// the stream has trimmed since, by number or by age; and for any of them
    /// if it had no room for them.
    async fn tell_lost(&mut self, before: Position, seen: &Seen) -> Result<(), Stopped> {
        let shed = self.relay.shed_after(before.sequence).await;
        let rules = self.relay.rules.load();
        let full = |(channel, count): (&String, &usize)| -> Option<Channel> {
            let history = kept_by(&rules.of_subject(channel))?;
            (*count >= history.max_messages).then(|| subjects::channel(channel))?
        };
        let channels: Vec<Channel> = seen.counts.iter().filter_map(full).collect();
        let age = self.relay.now().saturating_sub(before.time);
        let older_than = if shed { u64::MAX } else { age };
        let youngest = rules.shortest_age().as_millis();
        drop(rules);
        if channels.is_empty() && older_than <= youngest {
            return Ok(());
        }
        tracing::warn!(
            missing = seen.missing,
            after = before.sequence,
            "publications were gone before the feed could bring them; their subscribers are told"
        );
        self.relay.metrics.relay_lost.inc();
        self.send(FeedItem::Lost(Arc::new(Lost { channels, older_than }))).await
    }
}

/// A stream's creation time.
pub fn epoch(info: &StreamInfo) -> Option<u64> {
    time::parse(&info.created)
}

/// A stream's end.
pub fn head_of(api: &Api, info: &StreamInfo) -> Option<Position> {
    let epoch = epoch(info)?;
    let sequence = info.state.last_seq;
    // An empty stream shows the year 1.
    let last = if sequence > 0 { api.time(&info.state.last_ts) } else { None };
    let time = last.unwrap_or(epoch);
    Some(Position { epoch, sequence, time })
}

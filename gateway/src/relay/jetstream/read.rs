//! Replays and history pages: from the ring, and from the stream what is
//! older.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use gateway_config::History;

use super::api::ApiError;
use super::line::Headers;
use super::ring::{Kept, Unread, When};
use super::{Get, JetStreamRelay, kept_by, unavailable};
use crate::channel::Channel;
use crate::offset::{Offset, Position};
use crate::relay::{HistoryPage, HistoryQuery, RelayError, Replay, Replayed};
use crate::rules::Rules;

/// Messages of one batch.
const BATCH: usize = 256;
/// Channels of one replay that are read at the same time.
const AT_ONCE: usize = 8;
/// How long a replay waits for the feed to come to where its client was.
const FEED_PATIENCE: Duration = Duration::from_secs(2);

/// Where a client is in a channel.
#[derive(Clone, Copy)]
struct Place {
    /// The last sequence that it has.
    sequence: u64,
    /// A time at or before the one at which the next message came.
    next: u64,
}

// === impl JetStreamRelay ===

impl JetStreamRelay {
    pub(super) async fn read_replay(&self, request: Replay) -> Result<Replayed, RelayError> {
        let Replay { from, channels, until, last } = request;
        let all_lost = |channels: Vec<(Channel, u64)>| {
            let lost = channels.into_iter().map(|(channel, _)| channel).collect();
            Replayed { publications: Vec::new(), lost }
        };
        let mut highest = channels.iter().map(|(_, sequence)| *sequence).max().unwrap_or(0);
        highest = highest.max(from.sequence);
        if last.is_none() && !self.knows(from, highest).await? {
            return Ok(all_lost(channels));
        }
        let rules = self.reading_rules().await;
        let mut lost = Vec::new();
        let mut wanted = Vec::new();
        let mut limits: HashMap<Channel, (History, Place)> = HashMap::new();
        for (channel, sequence) in channels {
            let Some(history) = self.history_of(&rules, &channel) else {
                if last.is_none() {
                    lost.push(channel);
                }
                continue;
            };
            if last.is_some() {
                limits.insert(channel.clone(), (history, Place { sequence: 0, next: 0 }));
                wanted.push((channel, 0));
            } else if sequence < until.sequence {
                let place = self.place_of(from, sequence).await?;
                let old = self.now().saturating_sub(place.next) > history.max_age.as_millis();
                if old {
                    lost.push(channel);
                } else {
                    limits.insert(channel.clone(), (history, place));
                    wanted.push((channel, sequence));
                }
            }
        }
        let found =
            self.read(&wanted, until.sequence).await.map_err(|error| unavailable(&error))?;
        let first = match limits.values().map(|(_, place)| place.sequence).min() {
            Some(sequence) if last.is_none() => self.first_kept_after(sequence).await?,
            _ => 0,
        };
        let mut by_channel: HashMap<Channel, Vec<Kept>> = HashMap::new();
        for kept in found {
            by_channel.entry(kept.publication.channel.clone()).or_default().push(kept);
        }
        let now = self.now();
        let mut publications = Vec::new();
        for (channel, (history, place)) in limits {
            if place.sequence.saturating_add(1) < first {
                lost.push(channel);
                continue;
            }
            let Some(found) = by_channel.remove(&channel) else { continue };
            let young = |kept: &Kept| {
                now.saturating_sub(kept.publication.time) <= history.max_age.as_millis()
            };
            let whole = found.len() < history.max_messages && found.iter().all(young);
            if last.is_none() && !whole {
                lost.push(channel);
                continue;
            }
            let most = last.unwrap_or(usize::MAX).min(history.max_messages);
            let alive = found
                .into_iter()
                .rev()
                .take(history.max_messages)
                .filter(|kept| young(kept) && kept.expires > now)
                .take(most);
            publications.extend(alive.map(|kept| kept.publication));
        }
        publications.sort_unstable_by_key(|publication| {
            publication.position.map_or(0, |position| position.sequence)
        });
        Ok(Replayed { publications, lost })
    }

    pub(super) async fn read_history(
        &self,
        query: HistoryQuery,
    ) -> Result<HistoryPage, RelayError> {
        let HistoryQuery { channel, since, before, limit, newest_first } = query;
        let rules = self.reading_rules().await;
        let history = self.history_of(&rules, &channel).ok_or(RelayError::NoHistory)?;
        let head = self.ring.head();
        let mut page = HistoryPage { publications: Vec::new(), head, complete: true, more: false };
        let mut until = head.sequence;
        if let Some(offset) = &before {
            let sequence = offset.sequence_of(&channel);
            if !self.knows(offset.position, sequence.max(offset.position.sequence)).await? {
                // Before another life's offset there was that life only.
                page.complete = false;
                return Ok(page);
            }
            until = until.min(sequence.saturating_sub(1));
        }
        let mut after = 0;
        if let Some(offset) = &since {
            match self.place_in(offset, &channel).await? {
                Some(place) => {
                    after = place.sequence;
                    let age = self.now().saturating_sub(place.next);
                    page.complete = after >= until || age <= history.max_age.as_millis();
                }
                None => page.complete = false,
            }
        }
        // All of it: whether one is among the latest shows at the end only.
        let found = self
            .read(&[(channel.clone(), after)], head.sequence)
            .await
            .map_err(|error| unavailable(&error))?;
        if since.is_some()
            && after < until
            && after.saturating_add(1) < self.first_kept_after(after).await?
        {
            page.complete = false;
        }
        let now = self.now();
        let skip = found.len().saturating_sub(history.max_messages);
        let young =
            |kept: &Kept| now.saturating_sub(kept.publication.time) <= history.max_age.as_millis();
        let sequence = |kept: &Kept| kept.publication.position.map_or(0, |p| p.sequence);
        if since.is_some() && after < until && (skip > 0 || !found.iter().all(young)) {
            page.complete = false;
        }
        let alive = found
            .iter()
            .skip(skip)
            .filter(|kept| young(kept) && kept.expires > now && sequence(kept) <= until);
        let publications = alive.map(|kept| kept.publication.clone());
        let take = limit.saturating_add(1);
        page.publications = if newest_first {
            publications.rev().take(take).collect()
        } else {
            publications.take(take).collect()
        };
        page.more = page.publications.len() > limit;
        page.publications.truncate(limit);
        Ok(page)
    }

    /// The rules to read by: those in force, as soon as the stream follows
    /// them.
    async fn reading_rules(&self) -> Arc<Rules> {
        // Without the stream the old ones hold as well; see below.
        let _ = self.apply_rules().await;
        self.rules.load_full()
    }

    /// How much is kept of a channel; none also while the stream doesn't
    /// store it, or the ring has left it out, whatever the rules say.
    fn history_of(&self, rules: &Rules, channel: &Channel) -> Option<History> {
        let history = kept_by(&rules.of(channel))?;
        self.effective.load().by_feed(&channel.to_subject()).then_some(history)
    }

    /// What channels have, each after its sequence, up to `until`, in no
    /// order among channels. Own TTLs that ran out are not looked at here.
    async fn read(&self, channels: &[(Channel, u64)], until: u64) -> Result<Vec<Kept>, ApiError> {
        let mut found = Vec::new();
        let mut rest = channels.to_vec();
        loop {
            let first = match self
                .ring
                .read(&rest, until, |unread, position| self.read_unread(unread, position))
            {
                Ok(recent) => {
                    found.extend(recent);
                    return Ok(found);
                }
                Err(first) => first,
            };
            // What is before the ring.
            let end = until.min(first.saturating_sub(1));
            let behind: Vec<_> = rest.iter().filter(|(_, after)| *after < end).cloned().collect();
            let older: Vec<Vec<Kept>> = futures_util::stream::iter(behind)
                .map(|(channel, after)| async move { self.read_stored(&channel, after, end).await })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            found.extend(older.into_iter().flatten());
            for (_, after) in &mut rest {
                *after = (*after).max(end);
            }
            if end >= until {
                return Ok(found);
            }
        }
    }

    /// What the stream has of one channel after a sequence and up to another.
    async fn read_stored(
        &self,
        channel: &Channel,
        after: u64,
        until: u64,
    ) -> Result<Vec<Kept>, ApiError> {
        let name = channel.to_subject();
        let rule = self.rules.load().of_subject(&name);
        let subject = self.subjects.publish(&name);
        let epoch = self.ring.head().epoch;
        let mut found = Vec::new();
        let mut next = after.saturating_add(1);
        while next <= until {
            let mut batch = self.api.batch(&self.stream, next, &subject, BATCH).await?;
            if batch.is_empty() {
                // A replica may be behind; the leader is not.
                let get = Get { seq: Some(next), next_by_subj: Some(&subject), ..Get::default() };
                batch.extend(self.api.get_from_leader(&self.stream, &get).await?);
            }
            let Some(last) = batch.last() else { break };
            next = last.sequence + 1;
            for stored in batch.iter().filter(|stored| stored.sequence <= until) {
                let position = Position { epoch, sequence: stored.sequence, time: stored.time };
                let headers = Headers::Map(stored.headers.as_ref());
                // What no client could take was counted where it was wanted.
                found.extend(Self::decode_stored(&rule, position, &name, headers, &stored.payload));
            }
        }
        Ok(found)
    }

    /// Asked after a read from a place on: the first sequence from which on
    /// nothing of it was lost for want of room.
    async fn first_kept_after(&self, sequence: u64) -> Result<u64, RelayError> {
        if sequence.saturating_add(1) >= self.ring.first() {
            // The ring had all of it, but for what the feed knows it missed.
            return Ok(self.shed.load(Ordering::Relaxed));
        }
        self.first_kept(&self.api).await.map_err(|error| unavailable(&error))
    }

    /// What the feed brought, and nobody has looked at.
    fn read_unread(&self, unread: &Unread, position: Position) -> Option<Kept> {
        let channel = unread.channel()?;
        let rule = self.rules.load().of_subject(channel);
        let (headers, payload) = (unread.frame.headers(), unread.frame.payload());
        Self::decode_stored(&rule, position, channel, headers, &payload).ok()
    }

    /// Whether a position is one of this life: not ahead of the stream, and
    /// with the time of the message that it names, where that is still here.
    /// Waits for the feed to come as far as `highest`.
    async fn knows(&self, position: Position, highest: u64) -> Result<bool, RelayError> {
        let head = self.ring.head();
        if position.epoch != head.epoch {
            return Ok(false);
        }
        if !self.come_to(highest).await? {
            return Ok(false);
        }
        if position.sequence == 0 {
            return Ok(true);
        }
        let time = self.stored_time(position.sequence).await?;
        Ok(time.is_none_or(|time| time == position.time))
    }

    /// Waits for the feed to come to a sequence. False: the stream isn't as
    /// far.
    pub(super) async fn come_to(&self, sequence: u64) -> Result<bool, RelayError> {
        if sequence <= self.ring.head().sequence {
            return Ok(true);
        }
        let info = self.api.info(&self.stream).await.map_err(|error| unavailable(&error))?;
        if info.state.last_seq < sequence {
            return Ok(false);
        }
        if let When::Later(there) = self.ring.when(sequence) {
            let _ = tokio::time::timeout(FEED_PATIENCE, there).await;
        }
        if self.ring.head().sequence < sequence {
            let behind = "this gateway is behind the one that the client was at";
            return Err(RelayError::Unavailable(behind.to_owned()));
        }
        Ok(true)
    }

    /// When a sequence was stored, if it is still here.
    async fn stored_time(&self, sequence: u64) -> Result<Option<u64>, RelayError> {
        if let Some(time) = self.ring.time_of(sequence) {
            return Ok(Some(time));
        }
        if sequence >= self.ring.first() {
            // The ring knows that it isn't there.
            return Ok(None);
        }
        let get = Get { seq: Some(sequence), ..Get::default() };
        let stored = self.api.get_from_leader(&self.stream, &get).await;
        Ok(stored.map_err(|error| unavailable(&error))?.map(|stored| stored.time))
    }

    /// A sequence with what is known of the time when the next one came. A
    /// position's own time is exact, and holds for what is after it as well.
    async fn place_of(&self, position: Position, sequence: u64) -> Result<Place, RelayError> {
        let next = self.ring.at_or_before(sequence.saturating_add(1));
        if sequence >= position.sequence {
            return Ok(Place { sequence, next: next.max(position.time) });
        }
        if next > 0 {
            return Ok(Place { sequence, next });
        }
        if sequence == 0 {
            // No message has it; none is older than the stream, and its
            // epoch is when it was made.
            return Ok(Place { sequence, next: position.epoch });
        }
        // Before this gateway's time.
        let time = self.stored_time(sequence).await?;
        Ok(Place { sequence, next: time.unwrap_or(0) })
    }

    /// Where an offset is in a channel; none if it is of another life.
    async fn place_in(
        &self,
        offset: &Offset,
        channel: &Channel,
    ) -> Result<Option<Place>, RelayError> {
        let position = offset.position;
        let sequence = offset.sequence_of(channel);
        if !self.knows(position, sequence.max(position.sequence)).await? {
            return Ok(None);
        }
        self.place_of(position, sequence).await.map(Some)
    }
}

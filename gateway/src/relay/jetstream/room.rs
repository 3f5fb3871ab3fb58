//! What the stream has room for, and what it lost for want of room.
//!
//! A stream with `max_bytes` drops its first messages, of whatever channel,
//! and says nothing of it. What came after a place is whole as long as the
//! stream still has something at or before that place: it drops from the front
//! alone. But ticks and publications with a TTL go from the front as well, so
//! gateways put *anchors* there: messages of a subject of their own, that go
//! with the stream's `max_age` or for want of room and in no other way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use super::JetStreamRelay;
use super::api::{Api, ApiError, Get, StreamConfig, StreamInfo};
use super::subjects::Subjects;

/// Time between two looks at the stream, with jitter.
const EVERY: Duration = Duration::from_secs(10);
/// The shortest time between two anchors, in milliseconds.
const CLOSEST: u64 = 10_000;
/// From this part of its limit on the stream is full: NATS drops just enough
/// for the next message.
const FULL: (u64, u64) = (15, 16);
/// Below this part there is room again.
const CALM: (u64, u64) = (3, 4);
/// How often the stream is asked what it lost, when it doesn't answer.
const TRIES: u32 = 4;
const RETRY: Duration = Duration::from_millis(250);

// === impl JetStreamRelay ===

impl JetStreamRelay {
    /// Looks after the stream's room until it is dropped.
    pub(super) async fn watch_room(&self) {
        let mut full = false;
        loop {
            match self.look_at_room().await {
                Ok(info) => full = say(full, &info),
                Err(error) => tracing::debug!(%error, "the stream's size can't be had"),
            }
            tokio::time::sleep(EVERY.mul_f64(0.75 + 0.5 * super::jitter())).await;
        }
    }

    async fn look_at_room(&self) -> Result<StreamInfo, ApiError> {
        let info = self.api.info(&self.stream).await?;
        self.metrics.history_bytes.set(i64::try_from(info.state.bytes).unwrap_or(i64::MAX));
        self.note_limit(&info.config);
        anchor(&self.api, &self.subjects, &info.config, self.clock.now()).await?;
        Ok(info)
    }

    /// Whether the stream may lose its beginning.
    pub(super) fn note_limit(&self, config: &StreamConfig) {
        self.limited.store(config.is_limited(), Ordering::Relaxed);
    }

    /// It may have been limited: it is looked at before that is believed.
    pub(super) fn doubt_limit(&self) {
        self.limited.store(true, Ordering::Relaxed);
    }

    /// The first sequence from which on nothing was lost for want of room; 0:
    /// nothing ever was. What is read before it is asked is judged by it.
    pub(super) async fn first_kept(&self, api: &Api) -> Result<u64, ApiError> {
        let known = self.shed.load(Ordering::Relaxed);
        if !self.limited.load(Ordering::Relaxed) {
            return Ok(known);
        }
        let info = api.info(&self.stream).await?;
        self.note_limit(&info.config);
        Ok(if info.config.is_limited() { known.max(info.state.first_seq) } else { known })
    }

    /// Whether the feed, which found sequences missing after a place, lost
    /// some of them for want of room. That is remembered: the ring has gaps
    /// there.
    pub(super) async fn shed_after(&self, sequence: u64) -> bool {
        if !self.limited.load(Ordering::Relaxed) {
            return false;
        }
        for _ in 0..TRIES {
            match self.first_kept(&self.feed_api).await {
                Ok(first) if sequence.saturating_add(1) < first => {
                    self.shed.fetch_max(first, Ordering::Relaxed);
                    return true;
                }
                Ok(_) => return false,
                Err(error) => tracing::debug!(%error, "it can't be seen what the stream lost"),
            }
            tokio::time::sleep(RETRY).await;
        }
        // Nobody may miss something and not be told.
        self.shed.fetch_max(self.ring.head().sequence + 1, Ordering::Relaxed);
        true
    }
}

/// Puts an anchor into a stream that may lose its beginning, unless there is
/// a young one.
pub async fn anchor(
    api: &Api,
    subjects: &Subjects,
    config: &StreamConfig,
    now: u64,
) -> Result<(), ApiError> {
    if !config.is_limited() {
        return Ok(());
    }
    let subject = subjects.anchor();
    let last = Get { last_by_subj: Some(&subject), ..Get::default() };
    let found = api.get_from_leader(&config.name, &last).await?;
    if found.as_ref().is_some_and(|found| now.saturating_sub(found.time) < spacing(config)) {
        return Ok(());
    }
    let mut headers = HeaderMap::new();
    let before = found.map_or(0, |found| found.sequence);
    headers.insert("Nats-Expected-Last-Subject-Sequence", before.to_string().as_str());
    match api.publish(subject, headers, Bytes::new()).await {
        // Another gateway was first.
        Err(error) if error.is_conflict() => Ok(()),
        result => result.map(drop),
    }
}

/// Milliseconds between two anchors: half as many as a subject may have live
/// as long as any publication.
fn spacing(config: &StreamConfig) -> u64 {
    let count = u64::try_from(config.max_msgs_per_subject / 2).unwrap_or(0).max(1);
    (config.max_age / 1_000_000 / count).max(CLOSEST)
}

/// Says once that the stream is full, and knows it until there is room again.
fn say(full: bool, info: &StreamInfo) -> bool {
    let (bytes, Ok(max)) = (info.state.bytes, u64::try_from(info.config.max_bytes)) else {
        return false;
    };
    let part = |(over, under): (u64, u64)| max / under * over;
    if full {
        return bytes >= part(CALM);
    }
    let is_full = max > 0 && bytes >= part(FULL);
    if is_full {
        tracing::warn!(
            bytes,
            max,
            "the stream is full: NATS removes the oldest publications of all channels before their \
             time, and clients that come back from before them are told; raise \
             `relay.historyBytes`, or let rules keep less"
        );
    }
    is_full
}

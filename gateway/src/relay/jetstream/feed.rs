//! Follows the stream: everything with history, in order, once, none missing.
//!
//! # Layout
//!
//! - `fill`: holes, checks, and the stream's new lives
//! - `silence`: ticks, blindness, outages
//!
//! One position holds for all channels. Sequences of the stream are
//! contiguous, so any message shows any loss.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::JetStreamRelay;
use super::crossing::Source;
use super::line::{Frame, Headers, UNSTORED};
use super::ring::{Kept, Unread};
use super::subjects;
use super::subjects::{ANCHOR, TICK};
use crate::offset::Position;
use crate::publication::Publication;
use crate::relay::{FeedItem, RelayError};
use crate::rules::{Rule, Rules};

mod fill;
mod silence;

pub use fill::head_of;
use silence::Silence;

/// Time between two attempts to fill, while they fail.
const RETRY: Duration = Duration::from_millis(250);

/// The one who follows.
pub struct Follower<'a> {
    relay: &'a JetStreamRelay,
    /// What the line has read.
    live: mpsc::Receiver<Vec<Frame>>,
    connected: watch::Receiver<u64>,
    position: Position,
    /// The stream is known to reach up to here.
    owed: u64,
    /// The stream is to be compared with the position.
    check: bool,
    /// When to try again what failed.
    retry: Option<Instant>,
    silence: Silence<'a>,
}

/// A message of the stream, however it came.
struct Incoming<'m> {
    sequence: u64,
    time: u64,
    /// As a subject.
    channel: &'m str,
    content: Content<'m>,
}

/// What is in it.
#[derive(Clone, Copy)]
enum Content<'m> {
    /// It came just now, and nobody has looked at it.
    Live(&'m Frame),
    /// It was asked for.
    Stored { headers: Headers<'m>, payload: &'m Bytes },
}

/// The relay's queues are closed: the gateway is stopping.
struct Stopped;

// === impl Follower ===

impl<'a> Follower<'a> {
    /// Follows from the ring's head on.
    pub fn new(relay: &'a JetStreamRelay, live: mpsc::Receiver<Vec<Frame>>) -> Self {
        let position = relay.ring.head();
        let connected = relay.line.connected();
        Self {
            relay,
            live,
            connected,
            position,
            owed: position.sequence,
            // What happened since the head was read.
            check: true,
            retry: None,
            silence: Silence::new(relay.tick),
        }
    }

    /// Follows until the gateway stops.
    pub async fn run(mut self) {
        while self.step().await.is_ok() {}
    }

    async fn step(&mut self) -> Result<(), Stopped> {
        if (self.check || self.owed > self.position.sequence)
            && self.retry.is_none_or(|retry| retry <= Instant::now())
        {
            self.retry = None;
            if let Err(error) = self.catch_up().await? {
                tracing::debug!(%error, "the feed can't be compared with the stream");
                self.relay.health.trouble(&error);
                self.retry = Some(Instant::now() + RETRY);
            }
        }
        let wake = self.silence.wake().min(self.retry.unwrap_or_else(far));
        tokio::select! {
            frames = self.live.recv() => self.take_all(frames.ok_or(Stopped)?).await?,
            changed = self.connected.changed() => {
                changed.map_err(|_| Stopped)?;
                self.check = true;
                self.retry = None;
            }
            () = tokio::time::sleep_until(wake) => self.tick().await?,
            ack = self.silence.ack() => self.ticked(ack).await,
        }
        Ok(())
    }

    /// What was read at once.
    async fn take_all(&mut self, frames: Vec<Frame>) -> Result<(), Stopped> {
        let mut wanted = false;
        for frame in frames {
            if frame.sid == UNSTORED {
                self.relay.hand_on_unstored(&frame).await.map_err(|_: RelayError| Stopped)?;
                wanted = true;
            } else {
                wanted |= self.take(&frame).await?;
            }
        }
        let relay = self.relay;
        if !wanted && !relay.ring.is_awaited() && !relay.line.is_asked() {
            relay.line.pause.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A message of the feed. False: it was wanted by nobody here.
    async fn take(&mut self, frame: &Frame) -> Result<bool, Stopped> {
        let Some(incoming) = self.read(frame) else { return Ok(false) };
        self.silence.broken();
        let sequence = incoming.sequence;
        if sequence <= self.position.sequence {
            self.again(&incoming).await?;
            return Ok(true);
        }
        self.owed = self.owed.max(sequence);
        if sequence > self.position.sequence + 1 {
            if self.retry.is_some() {
                // The hole can't be filled just now.
                return Ok(true);
            }
            tracing::debug!(
                position = self.position.sequence,
                sequence,
                "a hole in the feed; it is filled from the stream"
            );
            if let Err(error) = self.fill(sequence - 1).await? {
                self.relay.health.trouble(&error);
                self.retry = Some(Instant::now() + RETRY);
                return Ok(true);
            }
        }
        // The fill may have brought it, or another life.
        if sequence == self.position.sequence + 1 {
            return self.accept(&incoming).await;
        }
        Ok(true)
    }

    /// A message that isn't above the position: it was here before, or the
    /// stream lives anew.
    async fn again(&mut self, incoming: &Incoming<'_>) -> Result<(), Stopped> {
        let known = self.relay.ring.time_of(incoming.sequence);
        if known == Some(incoming.time) {
            return Ok(());
        }
        // Never dropped in good faith: with another time under the same
        // sequence, the stream is another one.
        if known.is_some() {
            tracing::warn!(
                sequence = incoming.sequence,
                "the stream has another message under a sequence that was seen before"
            );
            while let Err(error) = self.new_life(true).await? {
                self.relay.health.trouble(&error);
                tokio::time::sleep(RETRY).await;
            }
            return Ok(());
        }
        self.check = true;
        Ok(())
    }

    /// Where a live message stands in the stream; the rest of it waits for
    /// somebody who wants it.
    fn read<'m>(&self, frame: &'m Frame) -> Option<Incoming<'m>> {
        let place = frame.headers().place()?;
        // Who may publish to the feed's subjects could forge all of it: the
        // documentation says which permissions to give.
        if place.stream != self.relay.stream {
            return None;
        }
        Some(Incoming {
            sequence: place.sequence,
            time: self.relay.api.time(place.time)?,
            // What isn't UTF-8 is no channel's, and has its place.
            channel: frame.subject().map_or(Some(""), |s| self.relay.subjects.channel_of(s))?,
            content: Content::Live(frame),
        })
    }

    /// The next message: the ring has it, then the shards get it. False: none
    /// wants it.
    async fn accept(&mut self, incoming: &Incoming<'_>) -> Result<bool, Stopped> {
        let position = Position {
            epoch: self.position.epoch,
            sequence: incoming.sequence,
            time: incoming.time,
        };
        let (relay, channel) = (self.relay, incoming.channel);
        let effective = relay.effective.load();
        let rule = relay.rule_if_kept(&effective.rules, channel);
        let mut publication = None;
        match (rule, incoming.content) {
            (None, _) => relay.ring.push(position, None),
            (Some(_), Content::Live(frame)) => {
                let from = frame.subject().map_or(0, |subject| subject.len() - channel.len());
                relay.ring.push_unread(position, Unread { frame: frame.clone(), channel: from });
            }
            (Some(rule), Content::Stored { headers, payload }) => {
                let kept = relay.keep_by(&rule, position, channel, headers, payload);
                publication = kept.as_ref().map(|kept| kept.publication.clone());
                relay.ring.push(position, kept);
            }
        }
        if !Arc::ptr_eq(&*effective, &*relay.effective.load()) {
            // It was read by rules that hold no longer.
            relay.ring.forget();
        }
        drop(effective);
        relay.note_last(position.sequence);
        self.position = position;
        self.owed = self.owed.max(position.sequence);
        self.silence.reached(position.sequence);
        if let (Some(rule), Content::Live(frame)) = (rule, incoming.content) {
            if relay.crossings.is_idle() && relay.fanout.pass_by(channel, position) {
                return Ok(false);
            }
            let (headers, payload) = (frame.headers(), frame.payload());
            let kept = relay.keep_by(&rule, position, channel, headers, &payload);
            publication = kept.map(|kept| kept.publication);
        }
        let wanted = publication.is_some();
        let level = self.owed <= position.sequence;
        let handed = relay.hand_on_stored(channel, position, publication, level).await;
        handed.map_err(|_: RelayError| Stopped)?;
        Ok(wanted)
    }

    async fn send(&mut self, item: FeedItem) -> Result<(), Stopped> {
        self.relay.fanout.send(item).await.map_err(|_: RelayError| Stopped)
    }
}

// === impl JetStreamRelay ===

impl JetStreamRelay {
    /// Reads a stored message, and counts it if no client could take it.
    /// None: nothing for subscribers.
    pub(super) fn keep(
        &self,
        rules: &Rules,
        position: Position,
        channel: &str,
        headers: Headers<'_>,
        payload: &Bytes,
    ) -> Option<Kept> {
        let rule = self.rule_if_kept(rules, channel)?;
        self.keep_by(&rule, position, channel, headers, payload)
    }

    /// The channel's rule, if the feed brings the channel.
    fn rule_if_kept(&self, rules: &Rules, channel: &str) -> Option<Rule> {
        if channel == TICK || channel == ANCHOR {
            return None;
        }
        let rule = rules.of_subject(channel);
        // What leaves the feed comes from it until it has gone over.
        let kept = super::kept_by(&rule).is_some()
            || self.crossings.is_before_switch(channel, Source::Core);
        kept.then_some(rule)
    }

    fn keep_by(
        &self,
        rule: &Rule,
        position: Position,
        channel: &str,
        headers: Headers<'_>,
        payload: &Bytes,
    ) -> Option<Kept> {
        match Self::decode_stored(rule, position, channel, headers, payload) {
            Ok(kept) => Some(kept),
            Err(reason) => {
                self.skips.count(&self.metrics, channel, reason);
                None
            }
        }
    }

    /// Reads a stored message.
    pub(super) fn decode_stored(
        rule: &Rule,
        position: Position,
        channel: &str,
        headers: Headers<'_>,
        payload: &Bytes,
    ) -> Result<Kept, super::message::Undeliverable> {
        let name = subjects::channel(channel).ok_or(super::message::Undeliverable::Channel)?;
        let content = super::message::decode(channel, headers, payload, rule.max_payload)?;
        let expires = super::message::expiry(&content, position.time);
        let publication = content.into_publication(name, position.time, Some(position));
        Ok(Kept { publication: Arc::new(publication), expires })
    }

    /// Hands on what the feed brought; none: the position alone. `level`: the
    /// feed is at the stream's end.
    async fn hand_on_stored(
        &self,
        channel: &str,
        position: Position,
        publication: Option<Arc<Publication>>,
        level: bool,
    ) -> Result<(), RelayError> {
        if !self.crossings.is_idle() {
            self.go_over(level).await?;
        }
        let Some(publication) = publication else {
            self.fanout.advance(position);
            return Ok(());
        };
        if self.crossings.is_idle() {
            return self.fanout.send(FeedItem::Publication(publication)).await;
        }
        let permit = self.fanout.reserve().await?;
        let settled = || Source::of(self.effective.load().by_feed(channel));
        let sequence = Some(position.sequence);
        self.crossings.decide(channel, &publication, sequence, settled, |deliver| {
            if deliver {
                permit.send(FeedItem::Publication(publication.clone()));
            } else {
                permit.advance(position);
            }
        });
        Ok(())
    }

    /// Channels whose time has come go over to the feed.
    async fn go_over(&self, level: bool) -> Result<(), RelayError> {
        let now = std::time::Instant::now();
        for (subject, late) in self.crossings.switch_to_feed(now) {
            tracing::debug!(channel = subject, late = late.len(), "a channel comes from the feed");
            self.interests.look_at(subject);
            for publication in late {
                // The position is past it already.
                let publication =
                    Publication { position: None, ..Arc::unwrap_or_clone(publication) };
                self.fanout.send(FeedItem::Publication(Arc::new(publication))).await?;
            }
        }
        self.crossings.expire(level, now);
        Ok(())
    }
}

/// A moment that never comes.
fn far() -> Instant {
    Instant::now() + Duration::from_hours(24)
}

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
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::JetStreamRelay;
use super::api::last;
use super::crossing::Source;
use super::ring::Kept;
use super::subjects;
use super::subjects::TICK;
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
    live: Subscriber,
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
    headers: Option<&'m HeaderMap>,
    payload: &'m Bytes,
}

/// The relay's queues are closed: the gateway is stopping.
struct Stopped;

// === impl Follower ===

impl<'a> Follower<'a> {
    /// Follows from the ring's head on.
    pub fn new(
        relay: &'a JetStreamRelay,
        live: Subscriber,
        connected: watch::Receiver<u64>,
    ) -> Self {
        let position = relay.ring.head();
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
            message = self.live.next() => match message {
                Some(message) => self.take(&message).await?,
                // The client library gives up only when it is told to.
                None => return Err(Stopped),
            },
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

    /// A message of the feed.
    async fn take(&mut self, message: &Message) -> Result<(), Stopped> {
        let Some(incoming) = self.read(message) else { return Ok(()) };
        self.silence.broken();
        let sequence = incoming.sequence;
        if sequence <= self.position.sequence {
            return self.again(&incoming).await;
        }
        self.owed = self.owed.max(sequence);
        if sequence > self.position.sequence + 1 {
            if self.retry.is_some() {
                // The hole can't be filled just now.
                return Ok(());
            }
            tracing::debug!(
                position = self.position.sequence,
                sequence,
                "a hole in the feed; it is filled from the stream"
            );
            if let Err(error) = self.fill(sequence - 1).await? {
                self.relay.health.trouble(&error);
                self.retry = Some(Instant::now() + RETRY);
                return Ok(());
            }
        }
        // The fill may have brought it, or another life.
        if sequence == self.position.sequence + 1 {
            self.accept(&incoming).await?;
        }
        Ok(())
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

    /// What stands in a live message's headers; the server's come last.
    fn read<'m>(&self, message: &'m Message) -> Option<Incoming<'m>> {
        let headers = message.headers.as_ref()?;
        // Who may publish to the feed's subjects could forge all of it: the
        // documentation says which permissions to give.
        if last(headers, "Nats-Stream")? != self.relay.stream {
            return None;
        }
        Some(Incoming {
            sequence: last(headers, "Nats-Sequence")?.parse().ok()?,
            time: last(headers, "Nats-Time-Stamp").and_then(|text| self.relay.api.time(text))?,
            channel: self.relay.subjects.channel_of(&message.subject)?,
            headers: Some(headers),
            payload: &message.payload,
        })
    }

    /// The next message: the ring has it, then the shards get it.
    async fn accept(&mut self, incoming: &Incoming<'_>) -> Result<(), Stopped> {
        let position = Position {
            epoch: self.position.epoch,
            sequence: incoming.sequence,
            time: incoming.time,
        };
        let relay = self.relay;
        let publication = {
            let effective = relay.effective.load();
            let (channel, headers) = (incoming.channel, incoming.headers);
            let kept = relay.keep(&effective.rules, position, channel, headers, incoming.payload);
            let publication = kept.as_ref().map(|kept| kept.publication.clone());
            relay.ring.push(position, kept);
            if !Arc::ptr_eq(&*effective, &*relay.effective.load()) {
                // It was read by rules that hold no longer.
                relay.ring.forget();
            }
            publication
        };
        self.relay.note_last(position.sequence);
        self.position = position;
        self.owed = self.owed.max(position.sequence);
        self.silence.reached(position.sequence);
        let level = self.owed <= position.sequence;
        let handed = relay.hand_on_stored(incoming.channel, position, publication, level).await;
        handed.map_err(|_: RelayError| Stopped)
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
        headers: Option<&HeaderMap>,
        payload: &Bytes,
    ) -> Option<Kept> {
        if channel == TICK {
            return None;
        }
        let rule = rules.of_subject(channel);
        // What leaves the feed comes from it until it has gone over.
        let kept = super::kept_by(&rule).is_some()
            || self.crossings.is_before_switch(channel, Source::Core);
        if !kept {
            return None;
        }
        match Self::decode_stored(&rule, position, channel, headers, payload) {
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
        headers: Option<&HeaderMap>,
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

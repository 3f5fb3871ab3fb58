//! Silence proves nothing: a gateway that hears nothing publishes a tick, and
//! sees by its acknowledgement whether there was something to hear.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Follower, Stopped, far};
use crate::relay::jetstream::api::{ApiError, PubAck};

/// How long an acknowledged sequence may take to come.
const BLIND_AFTER: Duration = Duration::from_secs(1);
/// How long an acknowledgement may take.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time between two ticks while the stream doesn't answer.
const MAX_BACKOFF: Duration = Duration::from_secs(4);
/// After so long without an answer another server is tried.
const SWITCH_AFTER: Duration = Duration::from_secs(10);
/// In seconds: how long a tick is stored.
pub const TICK_TTL: &str = "10";

/// What is known while nothing is heard.
pub(super) struct Silence<'a> {
    /// How long is silence. With jitter, so that one gateway's tick spares
    /// the others theirs.
    interval: Duration,
    /// When the next tick is due.
    next: Instant,
    /// The tick that isn't acknowledged yet.
    sent: Option<BoxFuture<'a, Result<PubAck, ApiError>>>,
    /// A sequence that was acknowledged, and by when it must come.
    expected: Option<(u64, Instant)>,
    /// Since when ticks aren't acknowledged, and how many.
    outage: Option<(Instant, u32)>,
}

// === impl Silence ===

impl Silence<'_> {
    pub(super) fn new(interval: Duration) -> Self {
        let interval = interval.mul_f64(1.0 + 0.5 * crate::relay::jetstream::jitter());
        let next = Instant::now() + interval;
        Self { interval, next, sent: None, expected: None, outage: None }
    }

    /// Something was heard.
    pub(super) fn broken(&mut self) {
        self.next = Instant::now() + self.interval;
        self.outage = None;
    }

    /// The feed has come to a sequence.
    pub(super) fn reached(&mut self, sequence: u64) {
        if self.expected.is_some_and(|(expected, _)| expected <= sequence) {
            self.expected = None;
        }
    }

    /// When there is something to do.
    pub(super) fn wake(&self) -> Instant {
        match (self.expected, &self.sent) {
            (Some((_, deadline)), _) => deadline,
            (None, Some(_)) => far(),
            (None, None) => self.next,
        }
    }

    /// The tick's acknowledgement, when it comes.
    pub(super) async fn ack(&mut self) -> Result<PubAck, ApiError> {
        match &mut self.sent {
            Some(sent) => {
                let ack = sent.await;
                self.sent = None;
                ack
            }
            None => std::future::pending().await,
        }
    }
}

// === impl Follower ===

impl Follower<'_> {
    /// Silence: sends a tick; or it is too long since one was acknowledged.
    pub(super) async fn tick(&mut self) -> Result<(), Stopped> {
        let now = Instant::now();
        if let Some((sequence, deadline)) = self.silence.expected {
            if deadline > now {
                return Ok(());
            }
            self.silence.expected = None;
            self.owed = self.owed.max(sequence);
            self.check = true;
            self.relay.metrics.relay_blind.inc();
            tracing::warn!(
                position = self.position.sequence,
                sequence,
                "the feed is blind: what was stored didn't come; another NATS server is tried"
            );
            self.relay.health.say("the feed is blind");
            // Requests may well be answered; then what is missing comes now.
            if let Err(error) = self.catch_up().await? {
                self.relay.health.trouble(&error);
            }
            self.relay.reconnect().await;
            return Ok(());
        }
        if self.silence.next > now || self.silence.sent.is_some() {
            return Ok(());
        }
        let relay = self.relay;
        self.silence.sent = Some(Box::pin(async move {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-TTL", TICK_TTL);
            let publish = relay.api.publish(relay.subjects.tick(), headers, bytes::Bytes::new());
            tokio::time::timeout(ACK_TIMEOUT, publish)
                .await
                .unwrap_or(Err(ApiError::Timeout(ACK_TIMEOUT)))
        }));
        Ok(())
    }

    /// The tick was stored, or not.
    pub(super) async fn ticked(&mut self, ack: Result<PubAck, ApiError>) {
        let now = Instant::now();
        match ack {
            Ok(ack) => {
                self.silence.broken();
                self.relay.note_last(ack.seq);
                if ack.seq > self.position.sequence {
                    self.silence.expected = Some((ack.seq, now + BLIND_AFTER));
                } else if ack.seq < self.position.sequence {
                    // Stored behind the position: another life.
                    self.check = self.relay.ring.time_of(ack.seq).is_none();
                }
                if self.relay.api.is_connected() && self.retry.is_none() {
                    self.relay.health.well();
                }
            }
            Err(error) => {
                // Nothing is acknowledged: an outage, not blindness.
                let (since, count) = self.silence.outage.unwrap_or((now, 0));
                if count == 0 {
                    tracing::warn!(%error, "the stream doesn't answer");
                }
                self.relay.health.trouble(&error);
                self.silence.outage = Some((since, count + 1));
                let backoff = MAX_BACKOFF.min(Duration::from_millis(500) * 2_u32.pow(count.min(4)));
                self.silence.next = now + backoff;
                if now - since >= SWITCH_AFTER {
                    self.silence.outage = Some((now, 1));
                    self.relay.reconnect().await;
                }
                if error.is_no_stream() || error == ApiError::NoResponders {
                    // It may be gone.
                    self.check = true;
                }
            }
        }
    }
}

//! How much one connection may send: messages and bytes a second.

use std::cell::Cell;
use std::time::Duration;

use gateway_config::Limits;
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// What may come at once, in time at the rate that is set.
const BURST: Duration = Duration::from_secs(1);
/// Who is refused for so long, without a pause as long as [`BURST`], does not
/// mean to stop.
const ABUSE: Duration = Duration::from_secs(10);
/// And who is refused so many times the messages of a second before.
const ABUSE_TIMES: u32 = 10;

/// The meter of one connection. There is none where nothing is limited.
pub struct Meter {
    began: Instant,
    messages: Bucket,
    bytes: Bucket,
    /// When it was first refused since it last was quiet, and how often.
    refused: Cell<Option<(Instant, Instant, u32)>>,
    most: u32,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// It is handled.
    Good,
    /// It is refused, by this limit.
    Refused(&'static str),
    /// It is refused, and so is the client that sent it.
    Abuse(&'static str),
}

/// One rate; see [`crate::door::pace`].
struct Bucket {
    /// Nanoseconds that one costs; 0: nothing.
    interval: u64,
    burst: u64,
    due: Cell<u64>,
}

// === impl Meter ===

impl Meter {
    /// The limits of a connection that begins; `largest`: bytes that a
    /// message may have, which must not be too many by themselves.
    pub fn new(limits: &Limits, largest: usize) -> Option<Box<Self>> {
        let (messages, bytes) = (limits.messages_per_second, limits.bytes_per_second);
        let most = u32::try_from(messages.max(1)).unwrap_or(u32::MAX);
        (messages > 0 || bytes > 0).then(|| {
            Box::new(Self {
                began: Instant::now(),
                messages: Bucket::new(messages, 1),
                bytes: Bucket::new(bytes, largest),
                refused: Cell::new(None),
                most: most.saturating_mul(ABUSE_TIMES),
            })
        })
    }

    /// Bytes have come that are part of a message.
    pub fn part(&self, bytes: usize) {
        let now = nanos(self.began.elapsed());
        self.bytes.charge(now, bytes);
    }

    /// A message of so many bytes, or their rest, has come.
    pub fn message(&self, bytes: usize) -> Weighed {
        let time = Instant::now();
        let now = nanos(time - self.began);
        // Whatever comes of it: what is refused was sent all the same.
        self.bytes.charge(now, bytes);
        let limit = if !self.messages.has_room(now, 1) {
            "messagesPerSecond"
        } else if !self.bytes.has_room(now, 0) {
            "bytesPerSecond"
        } else {
            self.messages.charge(now, 1);
            return Weighed::Good;
        };
        let (first, last, count) = self.refused.get().unwrap_or((time, time, 0));
        let (first, count) = if time - last > BURST { (time, 1) } else { (first, count + 1) };
        self.refused.set(Some((first, time, count)));
        if time - first >= ABUSE || count > self.most {
            Weighed::Abuse(limit)
        } else {
            Weighed::Refused(limit)
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(rate: usize, largest: usize) -> Self {
        let interval = if rate == 0 {
            0
        } else {
            (1_000_000_000 / u64::try_from(rate).unwrap_or(u64::MAX)).max(1)
        };
        let largest = interval.saturating_mul(u64::try_from(largest).unwrap_or(u64::MAX));
        Self { interval, burst: nanos(BURST).max(largest), due: Cell::new(0) }
    }

    fn charge(&self, now: u64, count: usize) {
        let cost = self.interval.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX));
        // Never so far ahead that a client would be shut out for longer than
        // it took to get there.
        let most = now.saturating_add(self.burst.saturating_mul(2));
        self.due.set(self.due.get().max(now).saturating_add(cost).min(most));
    }

    fn has_room(&self, now: u64, count: u64) -> bool {
        self.due.get().max(now).saturating_add(self.interval * count)
            <= now.saturating_add(self.burst)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

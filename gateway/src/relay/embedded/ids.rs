//! Which publication ids were seen lately: what makes a publisher's retry
//! harmless.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::channel::Channel;
use crate::offset::Position;

#[cfg(test)]
mod tests;

/// How long an id is remembered, in milliseconds: `JetStream`'s default
/// duplicate window, so that both relays forgive the same retries.
pub const WINDOW: u64 = 120_000;

/// How many ids are remembered at once: 8,700 a second over the whole window,
/// in at most 110 MiB. Beyond it the oldest are forgotten early.
pub const MAX_IDS: usize = 1 << 20;

/// Makes keys of ids.
///
/// A key is 128 bits of keyed hash (`SipHash` twice, keys of this process) in
/// place of the texts: a third of the memory, and two ids of a window meet by
/// chance less than once in 10^26 windows.
#[derive(Default)]
pub struct IdHasher {
    high: RandomState,
    low: RandomState,
}

/// A channel and an id in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdKey(u64, u64);

/// Ids of the last two minutes, each with where its publication is.
pub struct RecentIds {
    seen: HashMap<IdKey, Seen>,
    /// When each came, oldest first.
    order: VecDeque<(IdKey, u64)>,
    capacity: usize,
    /// Whether it was said that ids are forgotten early; once each time that
    /// there were too many.
    overflowing: bool,
}

#[derive(Clone, Copy)]
struct Seen {
    sequence: u64,
    time: u64,
}

// === impl IdHasher ===

impl IdHasher {
    /// The key of an id in a channel.
    pub fn key(&self, channel: &Channel, id: &str) -> IdKey {
        let text = (channel.as_str(), id);
        IdKey(self.high.hash_one(text), self.low.hash_one(text))
    }
}

// === impl RecentIds ===

impl RecentIds {
    /// Remembers at most `capacity` ids.
    pub fn new(capacity: usize) -> Self {
        Self { seen: HashMap::new(), order: VecDeque::new(), capacity, overflowing: false }
    }

    /// Where the publication of this id is, if it came within the window.
    pub fn get(&self, key: IdKey, epoch: u64, now: u64) -> Option<Position> {
        let Seen { sequence, time } = *self.seen.get(&key)?;
        (now.saturating_sub(time) < WINDOW).then_some(Position { epoch, sequence, time })
    }

    /// Remembers an id. Forgets at most two whose time is over, so that no
    /// publisher pays for all.
    pub fn insert(&mut self, key: IdKey, position: Position) {
        self.expire(position.time, 2);
        if self.order.len() >= self.capacity {
            if !self.overflowing {
                self.overflowing = true;
                tracing::warn!(
                    ids = self.capacity,
                    "more publication ids in two minutes than are remembered; a retry that comes \
                     late may be delivered twice: publish with fewer ids"
                );
            }
            self.forget_oldest();
        }
        self.seen.insert(key, Seen { sequence: position.sequence, time: position.time });
        self.order.push_back((key, position.time));
    }

    /// Forgets up to `most` ids whose time is over. False: there are more.
    pub fn expire(&mut self, now: u64, most: usize) -> bool {
        for _ in 0..most {
            match self.order.front() {
                Some((_, time)) if now.saturating_sub(*time) >= WINDOW => self.forget_oldest(),
                _ => {
                    self.overflowing &= self.order.len() >= self.capacity;
                    return true;
                }
            }
        }
        false
    }

    /// Gives back the memory that a busy time has left.
    pub fn shrink(&mut self) {
        if self.order.capacity() > 1024 && self.order.len() < self.order.capacity() / 4 {
            self.order.shrink_to(self.order.len() * 2);
            self.seen.shrink_to(self.order.len() * 2);
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    fn forget_oldest(&mut self) {
        let Some((key, time)) = self.order.pop_front() else { return };
        // The same id may have come again after its window.
        if self.seen.get(&key).is_some_and(|seen| seen.time == time) {
            self.seen.remove(&key);
        }
    }
}

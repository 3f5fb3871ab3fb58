//! How much the records of ended sessions may take: who connects and goes,
//! again and again, leaves one each time.

use std::collections::VecDeque;

use crate::relay::{MAX_CLOSED, MAX_CLOSED_BYTES};

#[cfg(test)]
mod tests;

/// The records of this gateway's ended sessions that NATS still keeps.
#[derive(Default)]
pub struct Ended {
    /// By the second at which they go, the first one first.
    seconds: VecDeque<Second>,
    count: usize,
    bytes: usize,
    /// Whether it was said that there are too many; once each time that there
    /// are.
    overflowing: bool,
}

/// Records that go at the same second.
struct Second {
    until: u64,
    count: usize,
    bytes: usize,
}

// === impl Ended ===

impl Ended {
    /// Whether there is room for one more, at a time in milliseconds.
    pub fn has_room(&mut self, now: u64, bytes: usize) -> bool {
        while let Some(first) = self.seconds.pop_front_if(|first| first.until <= now / 1_000) {
            self.count -= first.count;
            self.bytes -= first.bytes;
        }
        self.overflowing &= self.count > MAX_CLOSED / 2 || self.bytes > MAX_CLOSED_BYTES / 2;
        self.count < MAX_CLOSED && self.bytes + bytes <= MAX_CLOSED_BYTES
    }

    /// One more is kept, until then.
    pub fn add(&mut self, until: u64, bytes: usize) {
        let until = second(until);
        let index = self.seconds.partition_point(|second| second.until < until);
        if self.seconds.get(index).is_none_or(|second| second.until != until) {
            self.seconds.insert(index, Second { until, count: 0, bytes: 0 });
        }
        let second = &mut self.seconds[index];
        second.count += 1;
        second.bytes += bytes;
        self.count += 1;
        self.bytes += bytes;
    }

    /// Its client came back: it is kept no longer.
    pub fn remove(&mut self, until: u64, bytes: usize) {
        let until = second(until);
        let Ok(index) = self.seconds.binary_search_by_key(&until, |second| second.until) else {
            return;
        };
        let second = &mut self.seconds[index];
        // One that an earlier process of this name kept isn't among them.
        if second.count > 0 && second.bytes >= bytes {
            second.count -= 1;
            second.bytes -= bytes;
            self.count -= 1;
            self.bytes -= bytes;
        }
    }

    /// There is no room. Whether that is new.
    pub fn overflows(&mut self) -> bool {
        !std::mem::replace(&mut self.overflowing, true)
    }
}

/// The second after which a record is gone.
fn second(until: u64) -> u64 {
    until / 1_000 + 1
}

//! When a sequence was current, roughly, long after its publication is gone.

use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// Milliseconds between two marks while they are young.
const SPACING: u64 = 1_000;

/// Marks kept, 64 KiB. The younger half is a second apart (the last half
/// hour); older ones are ever farther apart, and the first one stays.
const MAX_MARKS: usize = 4_096;

/// Marks in time: at this sequence it was that late.
pub struct Times {
    marks: VecDeque<Mark>,
}

struct Mark {
    sequence: u64,
    time: u64,
}

// === impl Times ===

impl Times {
    /// Begins at sequence 0.
    pub fn new(start: u64) -> Self {
        Self { marks: VecDeque::from([Mark { sequence: 0, time: start }]) }
    }

    /// The next sequence, and when it came.
    pub fn note(&mut self, sequence: u64, time: u64) {
        if self.marks.back().is_some_and(|last| time - last.time < SPACING) {
            return;
        }
        self.marks.push_back(Mark { sequence, time });
        if self.marks.len() > MAX_MARKS {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index > MAX_MARKS / 2 || index % 2 == 1
            });
        }
    }

    /// A time at or before the one at which a sequence came: within a second
    /// of it if that was in the last half hour.
    pub fn at_or_before(&self, sequence: u64) -> u64 {
        let after = self.marks.partition_point(|mark| mark.sequence <= sequence);
        self.marks.get(after.saturating_sub(1)).map_or(0, |mark| mark.time)
    }
}

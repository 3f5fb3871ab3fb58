//! What was counted.

use std::time::{Duration, Instant};

use crate::dialect::MARK;
use crate::load::DATA;

/// Counters of one load.
pub struct Tally {
    /// Clients that were begun.
    pub opened: usize,
    /// Clients that are subscribed.
    pub ready: usize,
    /// Clients whose session was recovered.
    pub recovered: usize,
    /// Clients that the server closed.
    pub closed: usize,
    /// Why a client was refused, if one was.
    pub refused: Option<String>,
    /// Publications that were sent.
    pub published: u64,
    /// Deliveries that came.
    pub delivered: u64,
    /// Deliveries that had come if none were lost; set when publishing ends.
    pub expected: u64,
    /// How long deliveries were under way, while they are noted.
    pub delays: Delays,
    begin: Instant,
    /// When what is handled now was read, and when the last delivery was, in
    /// microseconds since `begin`.
    now: u64,
    last: u64,
}

/// Times of deliveries in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    /// Whether they are noted.
    pub noted: bool,
    times: Vec<u32>,
}

// === impl Tally ===

impl Tally {
    /// Nothing yet.
    #[allow(clippy::new_without_default)] // it begins now, which is no default
    pub fn new() -> Self {
        Self {
            opened: 0,
            ready: 0,
            recovered: 0,
            closed: 0,
            refused: None,
            published: 0,
            delivered: 0,
            expected: 0,
            delays: Delays::default(),
            begin: Instant::now(),
            now: 0,
            last: 0,
        }
    }

    /// Deliveries that are missing.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// A publication's data, stamped with this moment.
    pub fn stamp(&self) -> String {
        self.stamp_at(Instant::now())
    }

    /// The same with another moment: when it was due.
    pub fn stamp_at(&self, moment: Instant) -> String {
        let micros = moment.saturating_duration_since(self.begin).as_micros();
        format!("{}{micros:015}{}", char::from(MARK), "x".repeat(DATA - 16))
    }

    /// What is read from now on came at this moment.
    pub fn now(&mut self) {
        self.now = self.micros();
    }

    /// Counts what a message holds.
    pub fn deliver(&mut self, text: &[u8], count: u64) {
        self.delivered += count;
        self.last = self.now;
        if self.delays.noted {
            for mark in memchr::memchr_iter(MARK, text) {
                let stamp = text.get(mark + 1..mark + 16).unwrap_or_default();
                let sent = stamp.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit & 0x0f));
                // What is not stamped says zero.
                if sent > 0 {
                    let delay = u32::try_from(self.now.saturating_sub(sent));
                    self.delays.times.push(delay.unwrap_or(u32::MAX));
                }
            }
        }
    }

    /// When the last delivery came; when the load began, if none has.
    pub fn last_delivery(&self) -> Instant {
        self.begin + Duration::from_micros(self.last)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

// === impl Delays ===

impl Delays {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// So many of a thousand took no longer.
    pub fn at(&mut self, thousandths: usize) -> Duration {
        self.times.sort_unstable();
        let index = (self.times.len() * thousandths).div_ceil(1000).saturating_sub(1);
        Duration::from_micros(self.times.get(index).copied().unwrap_or_default().into())
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.times.clear();
    }
}

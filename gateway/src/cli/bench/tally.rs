//! What was counted, by clients and the publisher of one process.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cli::Failure;

/// Delays above are counted as this: an hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;
/// Different reasons that are kept.
const REASONS: usize = 5;

/// The counts of a run.
pub(super) struct Tally {
    subscribed: AtomicU32,
    failed: AtomicU32,
    closed: AtomicU32,
    /// Subscribers of each channel; those that were closed are still counted,
    /// as what they missed was missed.
    channels: Vec<AtomicU32>,
    published: AtomicU64,
    refused: AtomicU64,
    skipped: AtomicU64,
    expected: AtomicU64,
    delivered: AtomicU64,
    times: Mutex<Times>,
    failures: Mutex<Failures>,
}

/// How long things took, in microseconds.
#[derive(Clone)]
pub(super) struct Times {
    /// From when a publication was due until a client has read it.
    pub(super) deliveries: Histogram<u64>,
    /// From when a publication was sent until the API has answered.
    pub(super) publishes: Histogram<u64>,
}

/// How a client's life ended.
pub(super) struct Ended {
    /// Whether its subscription was in force.
    pub(super) subscribed: bool,
    /// Why it ended.
    pub(super) why: Failure,
}

#[derive(Default)]
struct Failures {
    first: Option<Failure>,
    /// The first that will not go away by itself.
    refusal: Option<Failure>,
    reasons: BTreeMap<String, u64>,
}

// === impl Tally ===

impl Tally {
    /// Nothing yet.
    pub(super) fn new(channels: u32) -> Self {
        Self {
            subscribed: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            closed: AtomicU32::new(0),
            channels: (0..channels).map(|_| AtomicU32::new(0)).collect(),
            published: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            times: Mutex::new(Times { deliveries: histogram(), publishes: histogram() }),
            failures: Mutex::default(),
        }
    }

    /// A client's subscription is in force.
    pub(super) fn subscribe(&self, channel: u32) {
        self.subscribed.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.channels.get(channel as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A client has ended before the run did, or never began.
    pub(super) fn end(&self, ended: Ended) {
        let counter = if ended.subscribed { &self.closed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.note(ended.why);
    }

    /// A publication was taken.
    pub(super) fn publish(&self, channel: u32, took: Duration) {
        self.published.fetch_add(1, Ordering::Relaxed);
        let subscribers = self.channels.get(channel as usize);
        let subscribers = subscribers.map_or(0, |count| count.load(Ordering::Relaxed));
        self.expected.fetch_add(u64::from(subscribers), Ordering::Relaxed);
        self.record(|times| record(&mut times.publishes, took));
    }

    /// A publication was not taken.
    pub(super) fn refuse(&self, failure: Failure) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.note(failure);
    }

    /// Publications whose time passed while too many others were under way.
    pub(super) fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// Publications have come to a client, so long after they were due.
    pub(super) fn deliver(&self, delays: &[Duration]) {
        self.record(|times| {
            for delay in delays {
                record(&mut times.deliveries, *delay);
            }
        });
        self.delivered.fetch_add(delays.len() as u64, Ordering::Relaxed);
    }

    fn record(&self, put: impl FnOnce(&mut Times)) {
        // Poisoned only by a panic, which ends the process.
        if let Ok(mut times) = self.times.lock() {
            put(&mut times);
        }
    }

    fn note(&self, failure: Failure) {
        let Ok(mut failures) = self.failures.lock() else { return };
        let words = failure.to_string();
        if failures.reasons.len() < REASONS || failures.reasons.contains_key(&words) {
            *failures.reasons.entry(words).or_default() += 1;
        }
        if matches!(failure, Failure::Refused(_)) {
            failures.refusal.get_or_insert_with(|| failure.clone());
        }
        failures.first.get_or_insert(failure);
    }

    /// Clients whose subscription is, or was, in force.
    pub(super) fn subscribed(&self) -> u32 {
        self.subscribed.load(Ordering::Relaxed)
    }

    /// Clients that need not be waited for any more.
    pub(super) fn settled(&self) -> u32 {
        self.subscribed() + self.failed.load(Ordering::Relaxed)
    }

    /// Clients that ended before the run did.
    pub(super) fn closed(&self) -> u32 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Publications that the API has taken.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Publications that it has not.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Publications that were due and not sent.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Deliveries that what was published makes.
    pub(super) fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }

    /// Deliveries that have come.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// The first thing that will go wrong again.
    pub(super) fn refusal(&self) -> Option<Failure> {
        self.failures.lock().ok()?.refusal.clone()
    }

    /// The first thing that went wrong.
    pub(super) fn first_failure(&self) -> Option<Failure> {
        self.failures.lock().ok()?.first.clone()
    }

    /// What went wrong, and how often; the first few different reasons.
    pub(super) fn reasons(&self) -> Vec<(String, u64)> {
        let failures = self.failures.lock();
        failures.map_or_else(
            |_| Vec::new(),
            |failures| failures.reasons.iter().map(|(words, n)| (words.clone(), *n)).collect(),
        )
    }

    /// How long things took so far.
    pub(super) fn times(&self) -> Times {
        let times = self.times.lock();
        times.map_or_else(
            |_| Times { deliveries: histogram(), publishes: histogram() },
            |times| times.clone(),
        )
    }
}

#[allow(clippy::expect_used)] // The bounds are constants, and valid.
fn histogram() -> Histogram<u64> {
    // Three digits: 1.23 ms and 1.24 ms are two.
    Histogram::new_with_bounds(1, LONGEST, 3).expect("1 < LONGEST")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST).max(1));
}

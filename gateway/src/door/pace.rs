//! So many a second: the generic cell rate algorithm (ITU-T I.371), which
//! needs one number for each thing that is limited and no timer.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Addresses whose pace is told apart, in each of two tables.
const SLOTS: usize = 1 << 14;

/// One pace, shared by threads: when the next would be due, in nanoseconds.
#[derive(Default)]
pub struct Pace(AtomicU64);

/// The paces of all addresses there are, in as much memory as those of a few:
/// an address has a place in each of two tables, shared with others that are
/// different ones in each, and is too fast if it is in both. Somebody with
/// many addresses fills nothing up.
#[derive(Default)]
pub struct Paces(OnceLock<[Table; 2]>);

struct Table {
    slots: Box<[Pace]>,
    hash: RandomState,
}

// === impl Pace ===

impl Pace {
    /// How long to wait for a turn at `rate` a second, at most `patience`;
    /// `None`: longer, and no turn is taken. As many as are due within
    /// `burst` need not wait.
    pub fn take(
        &self,
        now: Duration,
        rate: usize,
        burst: Duration,
        patience: Duration,
    ) -> Option<Duration> {
        let now = nanos(now);
        let interval = 1_000_000_000 / u64::try_from(rate.max(1)).unwrap_or(u64::MAX);
        // One at least.
        let burst = nanos(burst).max(interval);
        let mut wait = 0;
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            let next = due.max(now).saturating_add(interval);
            wait = next.saturating_sub(now.saturating_add(burst));
            (wait <= nanos(patience)).then_some(next)
        });
        taken.ok().map(|_| Duration::from_nanos(wait))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

// === impl Paces ===

impl Paces {
    /// Whether it is an address's turn.
    pub fn take(&self, address: IpAddr, now: Duration, rate: usize, burst: Duration) -> bool {
        let tables = self.0.get_or_init(|| [Table::default(), Table::default()]);
        let mut taken = false;
        for table in tables {
            taken |= table.of(address).take(now, rate, burst, Duration::ZERO).is_some();
        }
        taken
    }
}

// === impl Table ===

impl Default for Table {
    fn default() -> Self {
        Self {
            slots: std::iter::repeat_with(Pace::default).take(SLOTS).collect(),
            hash: RandomState::new(),
        }
    }
}

impl Table {
    fn of(&self, address: IpAddr) -> &Pace {
        #[allow(clippy::cast_possible_truncation)] // Its low bits are as good.
        let hash = self.hash.hash_one(address) as usize;
        &self.slots[hash % SLOTS]
    }
}

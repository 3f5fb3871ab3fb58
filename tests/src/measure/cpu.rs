//! CPU time of processes.

use std::ops::Sub;
use std::time::Duration;

/// User and system time together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu(pub Duration);

/// Linux tells times in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

// === impl Cpu ===

impl Cpu {
    /// Of these processes, so far. One that is gone counts nothing.
    pub fn of(pids: impl IntoIterator<Item = u32>) -> Self {
        Self(pids.into_iter().filter_map(ticks).map(|ticks| TICK * ticks).sum())
    }

    /// In microseconds, for each of so many.
    pub fn per(self, count: u64) -> f64 {
        self.0.as_secs_f64() * 1e6 / f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX))
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self(self.0.saturating_sub(before.0))
    }
}

/// Fields 14 and 15 of `/proc/<pid>/stat` (`man 5 proc`).
fn ticks(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

//! What the gateway uses, and what it counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::Gateway;
use crate::http::get;
use crate::measure::Cpu;

/// All numbers of `/metrics`, by name and labels.
#[derive(Clone, Debug, Default)]
pub struct Look(BTreeMap<String, f64>);

/// What a process has used in a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Of one core, in percent.
    pub cpu: f64,
    /// The most resident memory, in MiB.
    pub memory: f64,
}

/// Looks at a process's memory every now and then.
pub struct Watch {
    pid: u32,
    begin: Instant,
    cpu: Cpu,
    most: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

// === impl Look ===

impl Look {
    /// What it counts now.
    pub async fn at(gateway: &Gateway) -> Self {
        let reply = get(&format!("{}/metrics", gateway.admin())).await;
        let lines = reply.text().lines().filter(|line| !line.starts_with('#'));
        let numbers = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(numbers.collect())
    }

    /// The sum of all samples of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let of = self.0.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
        of.map(|(_, value)| value).sum()
    }

    /// What was counted since another look; nothing that stayed the same.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        for (name, value) in &mut self.0 {
            *value -= before.0.get(name).copied().unwrap_or_default();
        }
        self.0.retain(|_, value| value.abs() > 0.5);
        self
    }

    /// Samples of these names: the labels, and the number.
    pub fn of(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let name = name.to_owned();
        self.0.iter().filter_map(move |(sample, value)| {
            let labels = sample.strip_prefix(&*name)?;
            let labels = labels.strip_prefix('{')?.strip_suffix('}')?;
            Some((labels, *value))
        })
    }
}

// === impl Watch ===

impl Watch {
    /// From now on. To be called on a runtime.
    pub fn start(pid: u32) -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let seen = most.clone();
        let task = tokio::spawn(async move {
            loop {
                seen.fetch_max(resident(pid).unwrap_or(0), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self { pid, begin: Instant::now(), cpu: Cpu::of([pid]), most, task }
    }

    /// Until now.
    pub fn stop(self) -> Used {
        self.task.abort();
        let most = resident(self.pid).unwrap_or(0).max(self.most.load(Ordering::Relaxed));
        let cpu = (Cpu::of([self.pid]) - self.cpu).0.as_secs_f64();
        Used { cpu: cpu / self.begin.elapsed().as_secs_f64() * 100.0, memory: most as f64 / 1024.0 }
    }
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

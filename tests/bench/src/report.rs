//! What a run found: every figure of every round, and what is made of them.
//!
//! # Layout
//!
//! - `table`: for people, in Markdown
//! - `chart`: for the documentation, as SVG

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::contender::FLOOR;
use crate::scenario::{Figures, Scenario};

mod chart;
mod table;

#[cfg(test)]
pub(crate) mod tests;

/// A whole run, as it is written to JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The day, `2026-01-31`.
    pub date: String,
    /// What it ran on.
    pub machine: Machine,
    /// Load averages of one minute, before and after. What else runs on the
    /// machine takes from all servers alike, in one run.
    pub load: [f64; 2],
    /// Names and versions, in the table's order.
    pub servers: Vec<Named>,
    /// Every measurement.
    pub rows: Vec<Row>,
}

/// The machine.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as Linux names it.
    pub processor: String,
    /// How many of them.
    pub cores: usize,
    /// All memory in GiB.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
}

/// A server of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub scenario: String,
    /// Which form of it; empty where there is one.
    pub variant: String,
    /// Of whom.
    pub server: String,
    /// The number of the round, from 0.
    pub round: usize,
    /// What was found, or why nothing was.
    #[serde(default)]
    pub figures: Figures,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

// === impl Report ===

impl Report {
    /// The median of a figure over all rounds.
    pub fn median(&self, of: Scenario, variant: &str, server: &str, figure: &str) -> Option<f64> {
        median(self.rows(of, variant, server).filter_map(|row| row.figures.get(figure).copied()))
    }

    /// The largest of a figure over all rounds.
    pub fn most(&self, of: Scenario, server: &str, figure: &str) -> f64 {
        let rows = self.rows(of, "", server);
        rows.filter_map(|row| row.figures.get(figure).copied()).fold(0.0, f64::max)
    }

    /// The median of a figure's ratios to the floor's in the same round.
    pub fn ratio(&self, of: Scenario, server: &str, figure: &str) -> Option<f64> {
        median(self.rows(of, "", server).filter_map(|row| {
            let mut floor = self.rows(of, "", FLOOR);
            let floor = floor.find(|floor| floor.round == row.round)?;
            Some(row.figures.get(figure)? / floor.figures.get(figure)?)
        }))
    }

    /// The measurements of one server.
    pub fn rows(&self, of: Scenario, variant: &str, server: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| {
            row.scenario == of.name() && row.variant == variant && row.server == server
        })
    }
}

// === impl Machine ===

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let kib = value(&memory, "MemTotal").unwrap_or_default();
        let kib: u64 = kib.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            processor: value(&processors, "model name").unwrap_or_default(),
            // All that the machine has, wherever this thread is kept.
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: (kib + (1 << 19)) >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Today, as `2026-01-31`.
pub fn today() -> String {
    let output = Command::new("date").args(["-u", "+%F"]).output();
    output.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().into())
}

/// The middle one; of two, their mean.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values.get(middle).copied()
    } else {
        Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0)
    }
}

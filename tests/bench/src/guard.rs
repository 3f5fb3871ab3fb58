//! Whether the gateway's ratios to the floor got worse than they were: never
//! a time, which is another on each machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::contender::OURS;
use crate::report::Report;
use crate::scenario::Scenario;

#[cfg(test)]
mod tests;

/// A ratio may be this much worse than the baseline's.
const TOLERANCE: f64 = 1.15;

/// Ratios that are guarded.
const GUARDED: [(Scenario, &str); 5] = [
    (Scenario::Broadcast, "cpu_us"),
    (Scenario::Windowed, "cpu_us"),
    (Scenario::Rooms, "cpu_us"),
    (Scenario::Paced, "cpu_us"),
    (Scenario::Idle, "connect_us"),
];

/// Medians of the gateway's ratios to the floor, by `scenario.figure`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Baseline(BTreeMap<String, f64>);

// === impl Baseline ===

impl Baseline {
    /// Of a run.
    pub fn of(report: &Report) -> Self {
        let ratio = |&(scenario, figure): &(Scenario, &str)| {
            let ratio = report.ratio(scenario, OURS, figure)?;
            let rounded = (ratio * 1000.0).round() / 1000.0;
            Some((format!("{}.{figure}", scenario.name()), rounded))
        };
        Self(GUARDED.iter().filter_map(ratio).collect())
    }

    /// The committed one.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// Compares a run of these scenarios with it: a line for each figure, and
    /// the scenarios of those that are worse than the tolerance.
    ///
    /// # Errors
    ///
    /// When one was not measured.
    pub fn compare(
        &self,
        found: &Self,
        scenarios: &[Scenario],
    ) -> anyhow::Result<(String, Vec<Scenario>)> {
        let (mut text, mut worse) = (String::new(), Vec::new());
        for &(scenario, figure) in GUARDED.iter().filter(|(one, _)| scenarios.contains(one)) {
            let name = format!("{}.{figure}", scenario.name());
            let before = *self.0.get(&name).with_context(|| format!("no baseline of {name}"))?;
            let now = *found.0.get(&name).with_context(|| format!("{name} was not measured"))?;
            let is_worse = now > before * TOLERANCE;
            let verdict = if is_worse { ": over 15 % worse" } else { "" };
            let _ = writeln!(text, "{name}: {now:.3} × floor, baseline {before:.3}{verdict}");
            if is_worse {
                worse.push(scenario);
            }
        }
        Ok((text, worse))
    }
}

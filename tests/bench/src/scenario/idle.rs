//! Clients that do nothing.

use std::time::{Duration, Instant};

use super::{Effort, Figures, figures};
use crate::contender::Contender;
use crate::dialect::Plan;
use crate::scenario::fanout::TOGETHER;

/// Connected before anything is measured, so that what a server sets aside
/// once counts for nobody.
const FIRST: usize = 200;
/// Memory is looked at so long after the last connect.
const SETTLE: Duration = Duration::from_secs(3);

/// Connects clients without channels: CPU of a connect, memory of each, and
/// what their pings cost.
#[allow(clippy::cast_precision_loss)] // counts of clients
pub(super) fn idle(contender: &Contender, effort: &Effort) -> anyhow::Result<Figures> {
    let server = contender.start("{}")?;
    let mut load = contender.load(&server)?;
    load.connect(FIRST, TOGETHER, |_| Plan::default())?;
    load.rest(Duration::from_secs(1))?;
    let (cpu, memory) = (server.cpu()?, server.resident_kib()?);
    let count = effort.idle - FIRST;
    load.connect(count, TOGETHER, |_| Plan::default())?;
    let connects = server.cpu()? - cpu;
    load.rest(SETTLE)?;
    let grown = server.resident_kib()?.saturating_sub(memory);
    let mut found = figures([
        ("connect_us", connects.per(count as u64)),
        ("kib_per_client", grown as f64 / count as f64),
    ]);
    if contender.is_ours() && !effort.pings.is_zero() {
        let (cpu, begin) = (server.cpu()?, Instant::now());
        load.rest(effort.pings)?;
        let share = (server.cpu()? - cpu).0.as_secs_f64() / begin.elapsed().as_secs_f64();
        found.extend(figures([("pings_core_percent", share * 100.0)]));
    }
    found.extend(figures([("closed", load.tally.closed as f64)]));
    Ok(found)
}

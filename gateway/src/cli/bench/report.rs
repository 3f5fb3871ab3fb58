//! A run's tally in words, or as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Bench;
use super::tally::{Tally, Times};

/// Width of the longest bar.
const BAR: u64 = 40;
/// What is told of a distribution.
const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// How a run went.
pub(super) struct Outcome {
    clients: u32,
    subscribed: u32,
    closed: u32,
    spent: Spent,
    published: u64,
    refused: u64,
    skipped: u64,
    expected: u64,
    delivered: u64,
    times: Times,
    reasons: Vec<(String, u64)>,
}

/// How long the parts of a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Until all clients were subscribed, or given up.
    pub(super) connecting: Duration,
    /// From then on until the last publication.
    pub(super) publishing: Duration,
}

/// One line on a run that goes on.
pub(super) fn progress(tally: &Tally, elapsed: Duration) -> String {
    let times = tally.times();
    let mut line = format!(
        "{:4} s  {} clients, {} published, {} delivered",
        elapsed.as_secs(),
        tally.subscribed() - tally.closed(),
        tally.published(),
        tally.delivered()
    );
    if !times.deliveries.is_empty() {
        let _ = write!(
            line,
            ", p50 {}, p99 {}",
            words(times.deliveries.value_at_percentile(50.0)),
            words(times.deliveries.value_at_percentile(99.0))
        );
    }
    line
}

// === impl Outcome ===

impl Outcome {
    /// Of a run that has ended.
    pub(super) fn new(command: &Bench, tally: &Tally, spent: Spent) -> Self {
        Self {
            clients: command.clients,
            subscribed: tally.subscribed(),
            closed: tally.closed(),
            spent,
            published: tally.published(),
            refused: tally.refused(),
            skipped: tally.skipped(),
            expected: tally.expected(),
            delivered: tally.delivered(),
            times: tally.times(),
            reasons: tally.reasons(),
        }
    }

    /// Whether all that was asked for has happened.
    pub(super) fn is_whole(&self) -> bool {
        self.subscribed == self.clients
            && self.closed == 0
            && self.refused == 0
            && self.skipped == 0
            && self.missing() == 0
    }

    fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "clients     {} of {} subscribed in {:.1} s, {} closed before the end\n\
             published   {} in {:.0} s, {} refused, {} left out: too many were under way\n\
             deliveries  {} of {}, {} missing\n",
            self.subscribed,
            self.clients,
            self.spent.connecting.as_secs_f64(),
            self.closed,
            self.published,
            self.spent.publishing.as_secs_f64(),
            self.refused,
            self.skipped,
            self.delivered,
            self.expected,
            self.missing()
        );
        // Writing into a String does not fail.
        for (reason, count) in &self.reasons {
            let _ = writeln!(text, "            {count} x {reason}");
        }
        text.push('\n');
        let _ = write!(text, "{:<12}", "");
        for (name, _) in PERCENTILES {
            let _ = write!(text, "{name:>10}");
        }
        let _ = writeln!(text, "{:>10}", "max");
        for (name, times) in
            [("publish", &self.times.publishes), ("delivery", &self.times.deliveries)]
        {
            let _ = write!(text, "{name:<12}");
            for (_, percentile) in PERCENTILES {
                let _ = write!(text, "{:>10}", told(times, times.value_at_percentile(percentile)));
            }
            let _ = writeln!(text, "{:>10}", told(times, times.max()));
        }
        text.push_str("\ndelivery, from when a publication was due until a client has read it\n");
        text.push_str(&bars(&self.times.deliveries));
        text.truncate(text.trim_end().len());
        text
    }

    /// For programs. Times are in microseconds.
    pub(super) fn to_json(&self) -> String {
        let reasons: Vec<Value> = self
            .reasons
            .iter()
            .map(|(reason, count)| json!({"reason": reason, "count": count}))
            .collect();
        json!({
            "clients": {
                "asked": self.clients, "subscribed": self.subscribed, "closed": self.closed,
                "connecting": micros(self.spent.connecting),
            },
            "publications": {
                "seconds": self.spent.publishing.as_secs_f64(), "taken": self.published, "refused": self.refused, "skipped": self.skipped,
                "answer": percentiles(&self.times.publishes),
            },
            "deliveries": {
                "expected": self.expected, "delivered": self.delivered, "missing": self.missing(),
                "delay": percentiles(&self.times.deliveries),
            },
            "reasons": reasons,
        })
        .to_string()
    }
}

fn percentiles(times: &Histogram<u64>) -> Value {
    let mut all: serde_json::Map<String, Value> = PERCENTILES
        .iter()
        .map(|(name, percentile)| {
            ((*name).to_owned(), json!(times.value_at_percentile(*percentile)))
        })
        .collect();
    all.insert("max".to_owned(), json!(times.max()));
    Value::Object(all)
}

/// One line for each doubling of the delay.
fn bars(times: &Histogram<u64>) -> String {
    let steps: Vec<(u64, u64)> = times
        .iter_log(1, 2.0)
        .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
        .skip_while(|(_, count)| *count == 0)
        .collect();
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    let mut text = String::new();
    for (to, count) in steps {
        // One at least, where there is something at all.
        let length = (count * BAR).div_ceil(most);
        let bar = "#".repeat(usize::try_from(length).unwrap_or_default());
        let _ = writeln!(text, "{:>10}  {bar:<40}  {count}", format!("<= {}", words(to)));
    }
    text
}

fn told(times: &Histogram<u64>, micros: u64) -> String {
    if times.is_empty() { "-".to_owned() } else { words(micros) }
}

/// Microseconds as people read them.
#[allow(clippy::cast_precision_loss)] // Three digits are shown.
fn words(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..100_000 => format!("{:.1} ms", micros as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

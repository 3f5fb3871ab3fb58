//! What came of it.

use std::collections::BTreeMap;
use std::fmt;

use bench::cores::Cores;

use super::attackers::Forces;
use super::good::Figures;
use super::look::{Look, Used};

/// p99 under attack is at most so many times the quiet one.
const RATIO: f64 = 2.0;
/// Of the deliveries that are due each second, at least this part came.
const RATE: f64 = 0.99;

/// What was measured once.
#[derive(Clone, Debug)]
pub struct Phase {
    /// By the good clients.
    pub figures: Figures,
    /// By the gateway's process.
    pub used: Used,
}

/// Both measurements, and the attackers' part.
pub struct Report {
    /// Deliveries that were due each second.
    pub due_per_second: u64,
    /// Who ran where.
    pub cores: Cores,
    /// What lets the good clients go before others.
    pub priority: String,
    /// Without attackers.
    pub quiet: Phase,
    /// With them.
    pub hostile: Phase,
    /// How many there were.
    pub forces: Forces,
    /// What they counted.
    pub attacks: BTreeMap<String, u64>,
    /// What the gateway counted since they came.
    pub counted: Look,
    /// Sessions that a fault of the gateway ended.
    pub panicked: f64,
}

// === impl Report ===

impl Report {
    /// How many times the quiet p99 the hostile one is.
    pub fn ratio(&self) -> f64 {
        self.hostile.figures.delay[1] / self.quiet.figures.delay[1].max(f64::MIN_POSITIVE)
    }

    /// What is not as it should be.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (name, phase) in [("quiet", &self.quiet), ("under attack", &self.hostile)] {
            let figures = &phase.figures;
            if figures.lost() > 0 {
                reasons.push(format!("{name}: {} deliveries were lost", figures.lost()));
            }
            if figures.closed > 0 {
                reasons.push(format!("{name}: {} good clients were closed", figures.closed));
            }
            let least = self.due_per_second as f64 * RATE;
            if figures.rate() < least {
                reasons.push(format!("{name}: {:.0} deliveries a second", figures.rate()));
            }
        }
        if self.ratio() > RATIO {
            reasons.push(format!("p99 is {:.2} times the quiet one", self.ratio()));
        }
        if self.panicked > 0.5 {
            reasons.push(format!("{} sessions panicked", self.panicked));
        }
        let opened =
            |kind: &str| self.attacks.get(&format!("{kind}, opened")).copied().unwrap_or(0);
        let forces = [
            ("slow", self.forces.slow as u64),
            ("deaf", self.forces.deaf as u64),
            ("flood", self.forces.flood as u64),
        ];
        for (kind, wanted) in forces {
            if opened(kind) < wanted {
                reasons.push(format!("only {} of {wanted} `{kind}` attacked", opened(kind)));
            }
        }
        reasons
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cores.server, self.cores.others) {
            (Some(gateway), Some(others)) => writeln!(
                f,
                "the gateway on core {gateway}; good clients ({}), publisher and \
                 attackers on core {others}",
                self.priority
            )?,
            _ => writeln!(f, "one core for all: the figures say little")?,
        }
        writeln!(f, "\n| | quiet | under attack |\n|---|---|---|")?;
        let phases = [&self.quiet, &self.hostile];
        let mut row = |name: &str, text: &dyn Fn(&Phase) -> String| {
            writeln!(f, "| {name} | {} | {} |", text(phases[0]), text(phases[1]))
        };
        let three = |values: [f64; 3]| values.map(|value| format!("{value:.2}")).join(" / ");
        row("deliveries due", &|phase| phase.figures.due.to_string())?;
        row("lost", &|phase| phase.figures.lost().to_string())?;
        row("deliveries/s", &|phase| format!("{:.0}", phase.figures.rate()))?;
        row("good clients closed", &|phase| phase.figures.closed.to_string())?;
        row("delay: p50 / p99 / longest, ms", &|phase| three(phase.figures.delay))?;
        row("good clients' own lateness: the same, ms", &|phase| three(phase.figures.late))?;
        row("gateway's CPU, % of a core", &|phase| format!("{:.0}", phase.used.cpu))?;
        row("gateway's memory at most, MiB", &|phase| format!("{:.0}", phase.used.memory))?;
        writeln!(f, "\np99 under attack: {:.2} times the quiet one", self.ratio())?;
        writeln!(f, "\nthe attackers' count:")?;
        for (name, count) in &self.attacks {
            writeln!(f, "  {name}: {count}")?;
        }
        writeln!(f, "\nthe gateway's, meanwhile:")?;
        for name in [
            "push_connections_opened_total",
            "push_connections_closed_total",
            "push_refused_total",
            "push_limited_total",
        ] {
            for (labels, count) in self.counted.of(name) {
                writeln!(f, "  {name} {labels}: {count}")?;
            }
        }
        let reasons = self.reasons();
        if reasons.is_empty() {
            write!(f, "\nok")
        } else {
            write!(f, "\nFAILED: {}", reasons.join("; "))
        }
    }
}

//! The report as Markdown.

use std::fmt;

use super::Report;
use crate::scenario::Scenario;

/// A column of the table of all servers.
struct Column {
    scenario: Scenario,
    figure: &'static str,
    heading: &'static str,
    show: fn(f64) -> String,
    /// Whether its ratio to the floor follows.
    compared: bool,
}

const COLUMNS: [Column; 11] = [
    column(Scenario::Broadcast, "deliveries_per_s", "broadcast, deliveries/s", thousands, true),
    column(Scenario::Broadcast, "cpu_us", "CPU each", micros, true),
    column(Scenario::Windowed, "deliveries_per_s", "windowed, deliveries/s", thousands, true),
    column(Scenario::Windowed, "cpu_us", "CPU each", micros, true),
    column(Scenario::Rooms, "cpu_us", "rooms, CPU each", micros, true),
    column(Scenario::Paced, "cpu_us", "paced, CPU each", micros, true),
    column(Scenario::Paced, "p50_us", "p50", millis, false),
    column(Scenario::Paced, "p99_us", "p99", millis, false),
    column(Scenario::Publish, "p50_us", "one publish, p50", whole_micros, false),
    column(Scenario::Idle, "kib_per_client", "idle, KiB a client", plain, false),
    column(Scenario::Idle, "connect_us", "CPU of a connect", whole_micros, false),
];

const fn column(
    scenario: Scenario,
    figure: &'static str,
    heading: &'static str,
    show: fn(f64) -> String,
    compared: bool,
) -> Column {
    Column { scenario, figure, heading, show, compared }
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.side_by_side(f)?;
        self.losses(f)?;
        for scenario in Scenario::ALL {
            self.alone(scenario, f)?;
        }
        for row in &self.rows {
            if let Some(reason) = &row.failed {
                writeln!(f, "FAILED: {} {} {}: {reason}", row.server, row.scenario, row.variant)?;
            }
        }
        let Self { machine, load, .. } = self;
        writeln!(
            f,
            "\n{}: {} × {}, {} GiB, Linux {}; load {:.1} before, {:.1} after",
            self.date,
            machine.cores,
            machine.processor,
            machine.memory_gib,
            machine.kernel,
            load[0],
            load[1]
        )
    }
}

impl Report {
    /// All servers, one a line.
    fn side_by_side(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was_measured =
            |column: &&Column| self.rows.iter().any(|row| row.scenario == column.scenario.name());
        let columns: Vec<_> = COLUMNS.iter().filter(was_measured).collect();
        if columns.is_empty() {
            return Ok(());
        }
        write!(f, "| server |")?;
        for column in &columns {
            write!(f, " {} |", column.heading)?;
        }
        writeln!(f, "\n|---|{}", "---|".repeat(columns.len()))?;
        for server in &self.servers {
            write!(f, "| {} |", format!("{} {}", server.name, server.version).trim_end())?;
            for column in &columns {
                let cell = self.median(column.scenario, "", &server.name, column.figure);
                write!(f, " {}", cell.map_or_else(|| "–".to_owned(), column.show))?;
                if let Some(ratio) = self.ratio(column.scenario, &server.name, column.figure)
                    && column.compared
                {
                    write!(f, " ({ratio:.2})")?;
                }
                write!(f, " |")?;
            }
            writeln!(f)?;
        }
        writeln!(f)
    }

    /// Who lost deliveries or clients; the most in any round.
    fn losses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            for scenario in Scenario::ALL.into_iter().filter(|scenario| scenario.is_for_all()) {
                let lost = self.most(scenario, &server.name, "lost");
                let closed = self.most(scenario, &server.name, "closed");
                if lost > 0.0 || closed > 0.0 {
                    let (name, scenario) = (&server.name, scenario.name());
                    writeln!(
                        f,
                        "{name}, {scenario}: {lost:.0} deliveries lost, {closed:.0} clients closed"
                    )?;
                }
            }
        }
        Ok(())
    }

    /// What only the gateway does, a line for each variant.
    fn alone(&self, scenario: Scenario, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of the idle clients, only their pings are not in the table above.
        let only = |name: &&String| match scenario {
            Scenario::Idle => name.starts_with("pings"),
            other => !other.is_for_all(),
        };
        let rows: Vec<_> = self.rows.iter().filter(|row| row.scenario == scenario.name()).collect();
        let first = rows.iter().find(|row| row.figures.keys().any(|name| only(&name)));
        let Some(first) = first else { return Ok(()) };
        let figures: Vec<_> = first.figures.keys().filter(only).collect();
        let mut variants: Vec<&str> = Vec::new();
        for row in rows.iter().filter(|row| row.failed.is_none()) {
            if !variants.contains(&row.variant.as_str()) {
                variants.push(&row.variant);
            }
        }
        write!(f, "\n| {} |", scenario.name())?;
        for figure in &figures {
            write!(f, " {figure} |")?;
        }
        writeln!(f, "\n|---|{}", "---|".repeat(figures.len()))?;
        for variant in variants {
            write!(f, "| {variant} |")?;
            for figure in &figures {
                let cell = self.median(scenario, variant, &first.server, figure);
                write!(f, " {} |", cell.map_or_else(|| "–".to_owned(), plain))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn thousands(value: f64) -> String {
    format!("{:.0}k", value / 1e3)
}

fn micros(value: f64) -> String {
    format!("{value:.2} µs")
}

fn whole_micros(value: f64) -> String {
    format!("{value:.0} µs")
}

fn millis(value: f64) -> String {
    format!("{:.1} ms", value / 1e3)
}

/// With as many digits as say something.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

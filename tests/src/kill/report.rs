//! What came of a scenario: the clients' logs beside the stream's content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use crate::fleet::Log;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Publications in the stream.
    pub stored: u64,
    /// Publications that the publishers were told are stored.
    pub acknowledged: u64,
    /// Of these, not in the stream.
    pub unstored: u64,
    /// In the stream more than once.
    pub doubled: u64,
    /// Answers that a publisher had to do without.
    pub retries: u64,
    /// Clients.
    pub clients: usize,
    /// Connections that they made beyond the first.
    pub reconnects: u64,
    /// Publications that they saw.
    pub delivered: u64,
    /// Publications of the stream that a client did not see.
    pub lost: u64,
    /// Publications that a client saw again.
    pub duplicated: u64,
    /// Publications that came behind a later one.
    pub reordered: u64,
    /// Publications that are not in the stream.
    pub invented: u64,
    /// What clients noted, with their kind.
    pub notes: Vec<String>,
}

// === impl Report ===

impl Report {
    pub(super) fn new(
        acknowledged: &BTreeMap<String, u64>,
        retries: u64,
        stored: &BTreeMap<String, Vec<u64>>,
        logs: Vec<Log>,
    ) -> Self {
        let mut report = Self { retries, clients: logs.len(), ..Self::default() };
        let mut places = HashMap::new();
        for (name, numbers) in stored {
            let mut place = HashMap::new();
            for (index, n) in numbers.iter().enumerate() {
                report.stored += 1;
                report.doubled += u64::from(place.insert(*n, index).is_some());
            }
            places.insert(name.clone(), place);
        }
        for (name, count) in acknowledged {
            report.acknowledged += count;
            let stored = |n: &u64| places.get(name).is_some_and(|place| place.contains_key(n));
            report.unstored += (0..*count).filter(|n| !stored(n)).count() as u64;
        }
        for log in logs {
            report.reconnects += log.connects.saturating_sub(1);
            for note in &log.notes {
                report.notes.push(format!("{}: {note}", log.kind));
            }
            for (name, seen) in &log.seen {
                report.compare(&log.kind, name, &places[name], seen);
            }
        }
        report
    }

    /// What one client saw of one channel.
    fn compare(&mut self, kind: &str, name: &str, places: &HashMap<u64, usize>, seen: &[u64]) {
        let (mut had, mut furthest) = (HashSet::new(), None);
        let mut wrong = Vec::new();
        for n in seen {
            self.delivered += 1;
            let Some(place) = places.get(n) else {
                self.invented += 1;
                wrong.push(format!("{n} invented"));
                continue;
            };
            if !had.insert(*n) {
                self.duplicated += 1;
                wrong.push(format!("{n} again"));
            } else if furthest.is_some_and(|furthest| furthest > *place) {
                self.reordered += 1;
                wrong.push(format!("{n} late"));
            }
            furthest = furthest.max(Some(*place));
        }
        let missing: Vec<_> = places.keys().filter(|n| !had.contains(n)).collect();
        self.lost += missing.len() as u64;
        if let (Some(first), Some(last)) = (missing.iter().min(), missing.iter().max()) {
            wrong.push(format!("{} missing between {first} and {last}", missing.len()));
        }
        if !wrong.is_empty() {
            wrong.truncate(10);
            self.notes.push(format!("{kind}: {name}: {}", wrong.join(", ")));
        }
    }

    /// Whether every client ended with exactly the stream's content, and the
    /// stream with exactly what was acknowledged.
    pub fn is_clean(&self) -> bool {
        self.stored > 0
            && [self.lost, self.duplicated, self.reordered, self.invented] == [0; 4]
            && [self.unstored, self.doubled] == [0; 2]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        writeln!(
            f,
            "publications: {} stored, {} acknowledged, {} of them not stored, {} stored twice, {} tries more",
            self.stored, self.acknowledged, self.unstored, self.doubled, self.retries
        )?;
        writeln!(f, "clients: {}, reconnects {}", self.clients, self.reconnects)?;
        write!(
            f,
            "deliveries: {}; lost {}, duplicated {}, reordered {}, invented {}",
            self.delivered, self.lost, self.duplicated, self.reordered, self.invented
        )
    }
}

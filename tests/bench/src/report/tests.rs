#![allow(clippy::expect_used)]

use super::{Named, Report, Row, median};
use crate::contender::{FLOOR, OURS};
use crate::scenario::Scenario;

/// Rounds of a broadcast, each with the floor's and the gateway's CPU.
pub(crate) fn report(rounds: &[(f64, f64)]) -> Report {
    let named = |name: &str| Named { name: name.to_owned(), version: String::new() };
    let mut report = Report { servers: vec![named(FLOOR), named(OURS)], ..Report::default() };
    for (round, &(floor, ours)) in rounds.iter().enumerate() {
        for (server, cpu) in [(FLOOR, floor), (OURS, ours)] {
            report.rows.push(Row {
                scenario: Scenario::Broadcast.name().to_owned(),
                variant: String::new(),
                server: server.to_owned(),
                round,
                figures: [("cpu_us".to_owned(), cpu)].into(),
                failed: None,
            });
        }
    }
    report
}

#[test]
fn the_median_is_the_middle_or_the_mean_of_two() {
    assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
    assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
    assert_eq!(median([].into_iter()), None);
}

#[test]
fn a_ratio_is_taken_within_each_round() {
    // The machine was twice as slow in the second round, for both.
    let report = report(&[(8.0, 4.0), (16.0, 8.0), (8.0, 6.0)]);
    assert_eq!(report.ratio(Scenario::Broadcast, OURS, "cpu_us"), Some(0.5));
    assert_eq!(report.median(Scenario::Broadcast, "", OURS, "cpu_us"), Some(6.0));
}

#[test]
fn table_and_chart_name_every_server_with_its_ratio() {
    let report = report(&[(8.0, 4.0)]);
    let (table, chart) = (report.to_string(), report.svg());
    assert!(table.contains("| pushcluster | – | 4.00 µs (0.50) |"), "{table}");
    assert!(chart.contains(">floor<") && chart.contains("0.50 (4.0 µs)"), "{chart}");
}

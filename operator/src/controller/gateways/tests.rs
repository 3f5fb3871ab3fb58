use std::collections::BTreeMap;

use super::{GatewayStatus, Seen, accepting, deletion_costs};
use crate::controller::live::PodLive;

/// Pods with their connections and whether they get new clients.
fn pods(all: &[(&str, u64, bool)]) -> (Vec<PodLive>, BTreeMap<String, Seen>) {
    let pods = all.iter().map(|(name, _, accepting)| PodLive {
        name: (*name).to_owned(),
        ready: true,
        accepting: *accepting,
        ..PodLive::default()
    });
    let seen = all.iter().map(|(name, connections, _)| {
        let status = GatewayStatus {
            connections: *connections,
            accepting: true,
            ..GatewayStatus::default()
        };
        ((*name).to_owned(), Seen::Status(status))
    });
    (pods.collect(), seen.collect())
}

fn changes(all: &[(&str, u64, bool)]) -> Vec<(String, bool)> {
    let (pods, seen) = pods(all);
    accepting(&pods, &seen, 10_000)
}

fn one(name: &str, accepting: bool) -> Vec<(String, bool)> {
    vec![(name.to_owned(), accepting)]
}

#[test]
fn the_overfull_get_no_new_clients_until_they_are_not() {
    assert_eq!(changes(&[("a", 300, true), ("b", 100, true)]), one("a", false));
    assert_eq!(changes(&[("a", 300, false), ("b", 100, true)]), [], "as it should be");
    assert_eq!(changes(&[("a", 110, false), ("b", 100, true)]), one("a", true));
    assert_eq!(changes(&[("a", 60, true), ("b", 0, true)]), [], "too few to matter");
    assert_eq!(changes(&[("a", 1100, true), ("b", 1000, true)]), [], "hardly more than others");
}

#[test]
fn someone_always_gets_them() {
    assert_eq!(changes(&[("a", 10_000, true), ("b", 10_000, true)]), one("b", false));
    assert_eq!(changes(&[("a", 12_000, false), ("b", 11_000, false)]), one("b", true));
}

#[test]
fn those_that_drain_or_say_no_get_none() {
    let (pods, mut seen) = pods(&[("a", 5, true), ("b", 5, true), ("c", 5, true)]);
    let mut of = |name: &str, change: fn(&mut GatewayStatus)| {
        if let Some(Seen::Status(status)) = seen.get_mut(name) {
            change(status);
        }
    };
    of("a", |status| status.draining = true);
    of("b", |status| status.accepting = false);
    assert_eq!(accepting(&pods, &seen, 10_000), [("a".to_owned(), false), ("b".to_owned(), false)]);
}

#[test]
fn nothing_is_known_of_the_silent() {
    let (pods, mut seen) = pods(&[("a", 5, true), ("b", 5, false)]);
    seen.insert("a".to_owned(), Seen::Silent("no answer".to_owned()));
    seen.insert("b".to_owned(), Seen::Silent("no answer".to_owned()));
    assert_eq!(accepting(&pods, &seen, 10_000), []);
}

#[test]
fn the_emptiest_cost_least_to_delete() {
    let (mut pods, mut seen) =
        pods(&[("a", 300, true), ("b", 100, true), ("c", 900, true), ("d", 7, true)]);
    pods[1].cost = Some("100".to_owned());
    pods[3].deleting = true;
    if let Some(Seen::Status(status)) = seen.get_mut("c") {
        status.draining = true;
    }
    assert_eq!(deletion_costs(&pods, &seen), [("a".to_owned(), 300), ("c".to_owned(), 0)]);
}

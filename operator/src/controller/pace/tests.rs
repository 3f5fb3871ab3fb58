#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::json;

use super::{Pace, wait};
use crate::controller::build::tests::plan_with;
use crate::controller::build::{self, Capable};
use crate::controller::gateways::{GatewayStatus, Seen};
use crate::controller::kinds::Kind;
use crate::controller::live::{PodLive, Workload};

const NOW: i64 = 1_800_000_000;

/// A rollout of three gateways, in the middle.
fn rolling() -> Workload {
    Workload { wanted: 3, updated: 2, replicas: 4, ready: 4, observed: true, ..Workload::default() }
}

/// So many gateways are ready, and so many more are asked to go.
fn pods(ready: usize, leaving: usize) -> Vec<PodLive> {
    let ready = (0..ready).map(|number| PodLive {
        name: format!("ready-{number}"),
        ready: true,
        ..PodLive::default()
    });
    let leaving = (0..leaving).map(|number| PodLive {
        name: format!("leaving-{number}"),
        // A gateway that drains stays ready.
        ready: true,
        deleting: true,
        leaves_by: Some(NOW + 10),
        ..PodLive::default()
    });
    ready.chain(leaving).collect()
}

fn pace<'a>(
    gateways: Option<&'a Workload>,
    at_once: i32,
    pods: &'a [PodLive],
    seen: &'a BTreeMap<String, Seen>,
) -> Pace<'a> {
    Pace { gateways, wanted: 3, at_once, pods, seen, now: NOW }
}

fn waits_with(gateways: &Workload, at_once: i32, pods: &[PodLive]) -> bool {
    pace(Some(gateways), at_once, pods, &BTreeMap::new()).waits()
}

#[test]
fn the_next_gateway_waits_for_the_one_that_drains() {
    assert!(
        waits_with(&rolling(), 1, &pods(4, 1)),
        "a new one is ready before the old one is gone"
    );
    assert!(!waits_with(&rolling(), 1, &pods(4, 0)), "it is gone");
    assert!(!waits_with(&rolling(), 1, &pods(3, 1)), "a new one must start meanwhile");
    assert!(!waits_with(&rolling(), 1, &pods(2, 1)), "one has died: it is replaced at once");
}

#[test]
fn as_many_drain_as_may() {
    assert!(!waits_with(&rolling(), 2, &pods(4, 1)), "two may");
    assert!(waits_with(&rolling(), 2, &pods(5, 1)), "two more would be three");
    assert!(waits_with(&rolling(), 2, &pods(4, 2)), "two do");
    assert!(!waits_with(&rolling(), 2, &pods(5, 0)), "none does");
}

#[test]
fn a_newer_version_ends_no_gateway_that_has_just_started_beside_one_that_drains() {
    let none = BTreeMap::new();
    let mut starting = pods(4, 1);
    starting[0].ready = false;
    let waits = |pods: &[PodLive]| pace(Some(&rolling()), 1, pods, &none).renewal_waits();
    assert!(waits(&starting));
    assert!(!waits(&pods(4, 0)), "only that one goes then");
    assert!(!waits(&pods(3, 1)), "the last one of a rollout drains");
}

#[test]
fn a_scale_down_is_no_rollout() {
    let settled = Workload { updated: 5, replicas: 5, ..rolling() };
    assert!(!waits_with(&settled, 1, &pods(5, 2)));
    assert!(!pace(None, 1, &pods(5, 2), &BTreeMap::new()).waits(), "there is no Deployment yet");
    let unseen = Workload { observed: false, ..settled };
    assert!(waits_with(&unseen, 1, &pods(5, 2)), "who knows what its controller will make of it");
}

#[test]
fn nothing_waits_for_a_lost_node() {
    let mut all = pods(4, 1);
    all[4].leaves_by = Some(NOW - 119);
    assert!(waits_with(&rolling(), 1, &all));
    all[4].leaves_by = Some(NOW - 120);
    assert!(!waits_with(&rolling(), 1, &all));
}

#[test]
fn a_gateway_that_was_told_to_drain_counts_while_it_has_clients() {
    let all = pods(4, 0);
    let says = |left| {
        let status = GatewayStatus {
            draining: true,
            drain_remaining: Some(left),
            ..GatewayStatus::default()
        };
        let seen = BTreeMap::from([("ready-0".to_owned(), Seen::Status(status))]);
        pace(Some(&rolling()), 1, &all, &seen).waits()
    };
    assert!(says(7));
    assert!(!says(0), "it stays, empty");
}

#[test]
fn while_it_waits_no_new_gateway_has_been_ready_for_long_enough() {
    let plan = plan_with(json!({}), &[]).unwrap();
    let mut all = build::all(&plan, Capable::default()).unwrap();
    wait(&plan, &mut all);
    let gateways = all.iter().find(|one| one.kind == Kind::Deployment).unwrap();
    let spec = &gateways.body["spec"];
    // 70 s as ever, 85 s of grace, 2 minutes for the kubelet.
    assert_eq!(spec["minReadySeconds"], 275);
    assert_eq!(spec["progressDeadlineSeconds"], 875);
    assert_eq!(spec["paused"], false, "a paused one lets the last old gateway go all the same");
}

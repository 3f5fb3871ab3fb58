#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use super::show;
use crate::controller::gateways::{GatewayStatus, NatsSeen};
use crate::controller::live::PodLive;
use crate::crd::PushClusterStatus;

#[test]
fn it_shows_what_each_gateway_says() {
    let pod = |name: &str, problem: Option<&str>| PodLive {
        name: name.to_owned(),
        accepting: true,
        problem: problem.map(str::to_owned),
        ..PodLive::default()
    };
    let pods = [pod("live-a", None), pod("live-b", None), pod("live-c", Some("ImagePullBackOff"))];
    let well = GatewayStatus {
        connections: 1_200,
        accepting: true,
        config_hash: "5f1c9e000000".to_owned(),
        nats: NatsSeen { connected: true, ..NatsSeen::default() },
        ..GatewayStatus::default()
    };
    let draining = GatewayStatus {
        connections: 7,
        accepting: false,
        draining: true,
        drain_remaining: Some(7),
        ..well.clone()
    };
    let seen = BTreeMap::from([
        ("live-a".to_owned(), Ok(well)),
        ("live-b".to_owned(), Ok(draining)),
        ("live-c".to_owned(), Err("no address".to_owned())),
    ]);
    let status = PushClusterStatus { ready_replicas: 2, desired_replicas: 3, ..Default::default() };
    let text = show("live", &status, &pods, &seen);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "live: 2 of 3 gateways are ready");
    assert_eq!(
        lines[2],
        "  live-a   1200         yes          -       5f1c9e000000   connected  0"
    );
    assert_eq!(
        lines[3],
        "  live-b   7            no           7 left  5f1c9e000000   connected  0"
    );
    assert_eq!(lines[4], "  live-c   ?            ImagePullBackOff");
}

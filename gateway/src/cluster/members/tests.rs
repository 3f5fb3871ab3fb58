#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use super::{Beat, BeatKind, Members, Roll};
use crate::session::sid::GatewayId;

fn beat(kind: BeatKind) -> Beat {
    Beat {
        kind,
        tls: false,
        peer: Some("127.0.0.1:8082".to_owned()),
        version: "0.1.0".to_owned(),
        uptime: 1,
        connections: 2,
        accepting: true,
        draining: false,
        config_hash: "abc".to_owned(),
        lag: 0,
    }
}

const ONE: GatewayId = GatewayId(1);
const TWO: GatewayId = GatewayId(2);

#[test]
fn a_silent_gateway_is_gone_and_who_waits_for_it_learns_it() {
    let (members, begin) = (Members::default(), Instant::now());
    let mut roll = Roll::new(begin);
    assert!(roll.heard(&members, ONE, 1, beat(BeatKind::Hello), begin));
    assert!(roll.heard(&members, TWO, 1, beat(BeatKind::Beat), begin));
    let gone = members.get(ONE).unwrap().gone.clone();
    for second in 1..=8 {
        let now = begin + Duration::from_secs(second);
        roll.heard_myself(now);
        assert!(!roll.heard(&members, TWO, second + 1, beat(BeatKind::Beat), now));
        let expired = roll.expire(&members, now);
        assert_eq!(expired.contains(&ONE), second == 7, "after {second} s");
    }
    assert!(gone.is_cancelled());
    assert!(!members.get(TWO).unwrap().gone.is_cancelled());
    assert_eq!(members.len(), 1);
}

#[test]
fn who_hears_nobody_at_all_removes_nobody() {
    let (members, begin) = (Members::default(), Instant::now());
    let mut roll = Roll::new(begin);
    roll.heard(&members, ONE, 1, beat(BeatKind::Beat), begin);
    assert!(roll.expire(&members, begin + Duration::from_secs(40)).is_empty(), "NATS is away");
    let back = begin + Duration::from_secs(41);
    roll.heard_myself(back);
    assert!(roll.expire(&members, back).is_empty(), "the other has its time again");
    let later = back + Duration::from_secs(7);
    roll.heard_myself(back + Duration::from_secs(4));
    roll.heard_myself(later);
    assert_eq!(roll.expire(&members, later), [ONE]);
}

#[test]
fn a_goodbye_holds_against_what_was_said_before_it() {
    let (members, now) = (Members::default(), Instant::now());
    let mut roll = Roll::new(now);
    roll.heard(&members, ONE, 1, beat(BeatKind::Beat), now);
    roll.heard(&members, ONE, 3, beat(BeatKind::Bye), now);
    assert!(!roll.heard(&members, ONE, 2, beat(BeatKind::Beat), now));
    assert!(members.is_empty());
}

#[test]
fn another_nats_server_has_as_much_time_as_the_one_before() {
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let patience = Duration::from_millis(3_500);
    let mut roll = Roll::new(begin);
    let given_up: Vec<u64> =
        (0..=12).step_by(2).filter(|s| roll.gives_up(patience, at(*s))).collect();
    assert_eq!(given_up, [4, 8, 12], "not every two seconds");
    roll.heard_myself(at(13));
    assert!(!roll.gives_up(patience, at(16)));
    assert!(roll.gives_up(patience, at(17)));
}

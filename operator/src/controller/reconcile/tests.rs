use std::collections::BTreeMap;
use std::time::Duration;

use super::backoff;
use super::report::{gone, servers_gone};
use crate::controller::live::PodLive;

fn pods(names: &[(&str, bool)]) -> Vec<PodLive> {
    names
        .iter()
        .map(|(name, deleting)| PodLive {
            name: (*name).to_owned(),
            deleting: *deleting,
            ..PodLive::default()
        })
        .collect()
}

#[test]
fn pods_that_go_by_themselves_are_told_from_those_of_a_rollout() {
    let settled = ("as it was".to_owned(), vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    let now = pods(&[("a", false), ("b", true), ("d", false)]);
    assert_eq!(gone(Some(&settled), "as it was", &now), ["b", "c"]);
    assert_eq!(gone(Some(&settled), "another number or template", &now), [""; 0]);
    assert_eq!(gone(None, "as it was", &now), [""; 0]);
}

#[test]
fn failures_are_tried_again_ever_more_rarely() {
    assert_eq!(backoff(1), Duration::from_secs(1));
    assert_eq!(backoff(3), Duration::from_secs(4));
    assert_eq!(backoff(1_000), Duration::from_mins(2));
}

/// A NATS server that is made anew has its name again, and another identity.
#[test]
fn a_nats_server_made_anew_was_gone() {
    let known = ["a", "b"].map(|name| (name.to_owned(), format!("{name}1")));
    let settled = ("as it was".to_owned(), BTreeMap::from(known));
    let pod = |name: &str, uid: &str, deleting: bool| PodLive {
        name: name.to_owned(),
        uid: uid.to_owned(),
        deleting,
        ..PodLive::default()
    };
    let all = [pod("a", "a1", false), pod("b", "b1", false)];
    assert_eq!(servers_gone(Some(&settled), "as it was", &all), [""; 0]);
    let anew = [pod("a", "a2", false), pod("b", "b1", true)];
    assert_eq!(servers_gone(Some(&settled), "as it was", &anew), ["a", "b"]);
    assert_eq!(servers_gone(Some(&settled), "another template", &anew), [""; 0]);
}

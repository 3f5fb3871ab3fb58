#![allow(clippy::unwrap_used, clippy::expect_used)]

use gateway_config::Period;

use super::*;
use crate::offset::Position;

const HISTORY: History = History { max_messages: 3, max_age: Period::from_secs(10) };

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn append(logs: &mut Logs, name: &str, sequence: u64, time: u64, ttl: Option<u64>) {
    let publication = Publication {
        channel: channel(name),
        event: "e".into(),
        args: smallvec::SmallVec::new(),
        spread: false,
        id: None,
        time,
        position: Some(Position { epoch: 1, sequence, time }),
        except: Vec::new(),
    };
    logs.append(sequence, Arc::new(publication), ttl, HISTORY);
}

fn kept(logs: &mut Logs, name: &str, now: u64) -> Vec<u64> {
    let Some(log) = logs.get(&channel(name), HISTORY, now) else { return Vec::new() };
    log.between(0, u64::MAX, now).map(|p| p.position.unwrap().sequence).collect()
}

/// Whether a place, the next publication after which came at `next`, lost
/// something.
fn lost(logs: &mut Logs, name: &str, sequence: u64, next: u64, now: u64) -> bool {
    logs.lost(&channel(name), Place { sequence, next }, HISTORY, now)
}

fn sweep(logs: &mut Logs, now: u64) {
    for part in 0..PARTS {
        logs.sweep(part, now, |_| Some(HISTORY));
    }
}

#[test]
fn the_rule_is_applied_from_the_front() {
    let mut logs = Logs::new();
    for sequence in 1..=5 {
        append(&mut logs, "a", sequence, sequence * 1_000, None);
    }
    assert_eq!(kept(&mut logs, "a", 5_000), [3, 4, 5]);
    assert_eq!(kept(&mut logs, "a", 14_000), [4, 5], "ten seconds are not too old");
    assert_eq!(kept(&mut logs, "a", 14_001), [5]);
}

#[test]
fn a_quiet_channel_with_an_old_place_has_lost_nothing() {
    let mut logs = Logs::new();
    append(&mut logs, "noisy", 1, 0, None);
    append(&mut logs, "noisy", 2, 0, None);
    sweep(&mut logs, 20_000);
    append(&mut logs, "quiet", 3, 20_000, None);
    assert!(!lost(&mut logs, "quiet", 3, 20_000, 20_000));
    // The place is older than what the noisy channel dropped; the quiet one
    // has its log, and its log knows.
    for sequence in 4..=8 {
        append(&mut logs, "noisy", sequence, 20_000, None);
    }
    assert!(!lost(&mut logs, "quiet", 3, 20_000, 30_000));
    assert!(lost(&mut logs, "noisy", 4, 20_000, 20_000));
    assert!(!lost(&mut logs, "noisy", 5, 20_000, 20_000));
}

#[test]
fn own_ttl_is_no_loss_also_in_the_middle() {
    let mut logs = Logs::new();
    append(&mut logs, "a", 1, 0, Some(500));
    append(&mut logs, "a", 2, 0, None);
    append(&mut logs, "a", 3, 0, Some(1_000));
    assert_eq!(kept(&mut logs, "a", 499), [1, 2, 3]);
    assert_eq!(kept(&mut logs, "a", 500), [2, 3]);
    assert_eq!(kept(&mut logs, "a", 1_000), [2]);
    assert!(!lost(&mut logs, "a", 0, 0, 1_000));
    sweep(&mut logs, 1_000);
    let log = logs.get(&channel("a"), HISTORY, 1_000).unwrap();
    assert_eq!(log.entries.len(), 1, "the memory is given back");
    append(&mut logs, "a", 4, 1_000, None);
    append(&mut logs, "a", 5, 1_000, None);
    assert!(!lost(&mut logs, "a", 0, 0, 1_000), "it made room");
}

#[test]
fn what_its_own_ttl_ended_takes_no_room() {
    let mut logs = Logs::new();
    append(&mut logs, "a", 1, 0, Some(500));
    for sequence in 2..=4 {
        append(&mut logs, "a", sequence, 500, None);
    }
    assert_eq!(kept(&mut logs, "a", 500), [2, 3, 4]);
    assert!(!lost(&mut logs, "a", 0, 0, 500));
}

#[test]
fn a_channel_of_which_nothing_is_left_goes_and_its_loss_is_still_known() {
    let mut logs = Logs::new();
    append(&mut logs, "a", 1, 0, None);
    append(&mut logs, "a", 2, 5_000, None);
    sweep(&mut logs, 12_000);
    assert_eq!(logs.len(), 1);
    sweep(&mut logs, 16_000);
    assert_eq!(logs.len(), 0);
    assert!(lost(&mut logs, "a", 0, 0, 16_000));
    assert!(lost(&mut logs, "a", 1, 5_000, 16_000));
    assert!(!lost(&mut logs, "a", 2, 6_001, 16_000));
    // Another channel that has nothing: a place younger than maxAge is sure.
    assert!(!lost(&mut logs, "b", 1, 6_001, 16_000));
    // It begins anew. What was lost before is still lost.
    append(&mut logs, "a", 9, 16_000, None);
    assert!(lost(&mut logs, "a", 1, 5_000, 16_000));
    assert!(!lost(&mut logs, "a", 2, 6_001, 16_000));
    assert!(!lost(&mut logs, "a", 9, 16_000, 16_000));
}

#[test]
fn a_loss_is_remembered_while_places_are_young_though_ttl_emptied_the_channel() {
    let mut logs = Logs::new();
    for sequence in 1..=4 {
        append(&mut logs, "a", sequence, 0, Some(1_000));
    }
    // The first went for the limit, the others by their own ttl.
    sweep(&mut logs, 2_000);
    assert!(kept(&mut logs, "a", 2_000).is_empty());
    assert!(lost(&mut logs, "a", 0, 0, 2_000));
    assert!(!lost(&mut logs, "a", 1, 0, 2_000));
}

#[test]
fn age_proves_nothing_of_channels_that_went_under_other_rules() {
    let mut logs = Logs::new();
    append(&mut logs, "a", 1, 0, None);
    sweep(&mut logs, 16_000);
    logs.rules_changed();
    // By a longer maxAge the place would be young enough.
    let longer = History { max_age: Period::from_secs(3_600), ..HISTORY };
    assert!(logs.lost(&channel("a"), Place { sequence: 0, next: 0 }, longer, 16_000));
    assert!(!logs.lost(&channel("a"), Place { sequence: 1, next: 16_000 }, longer, 16_000));
}

#[test]
fn a_rule_that_loses_its_history_frees_it_and_that_is_a_loss() {
    let mut logs = Logs::new();
    append(&mut logs, "a", 1, 0, None);
    append(&mut logs, "a", 2, 0, None);
    for part in 0..PARTS {
        logs.sweep(part, 1, |_| None);
    }
    assert!(kept(&mut logs, "a", 1).is_empty());
    assert!(lost(&mut logs, "a", 1, 0, 1));
    assert!(!lost(&mut logs, "a", 2, 1, 1));
}

#[test]
fn a_place_and_a_bound_cut_exactly() {
    let mut logs = Logs::new();
    for sequence in [2, 4, 6] {
        append(&mut logs, "a", sequence, 0, None);
    }
    let log = logs.get(&channel("a"), HISTORY, 0).unwrap();
    let cut = |after, until| {
        log.between(after, until, 0).map(|p| p.position.unwrap().sequence).collect::<Vec<_>>()
    };
    assert_eq!(cut(2, 6), [4, 6]);
    assert_eq!(cut(1, 5), [2, 4]);
    assert!(cut(0, 1).is_empty());
    assert!(cut(6, 2).is_empty());
}

#[test]
fn memory_of_many_channels_is_given_back() {
    let mut logs = Logs::new();
    for sequence in 1..=20_000 {
        append(&mut logs, &format!("c{sequence}"), sequence, 0, None);
    }
    assert_eq!(logs.len(), 20_000);
    sweep(&mut logs, 10_001);
    sweep(&mut logs, 10_001);
    assert_eq!(logs.len(), 0);
    assert!(logs.parts.iter().map(HashMap::capacity).sum::<usize>() < 10_000);
}

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
    let mut logs = Logs::new(usize::MAX);
    for sequence in 1..=5 {
        append(&mut logs, "a", sequence, sequence * 1_000, None);
    }
    assert_eq!(kept(&mut logs, "a", 5_000), [3, 4, 5]);
    assert_eq!(kept(&mut logs, "a", 14_000), [4, 5], "ten seconds are not too old");
    assert_eq!(kept(&mut logs, "a", 14_001), [5]);
}

#[test]
fn a_quiet_channel_with_an_old_place_has_lost_nothing() {
    let mut logs = Logs::new(usize::MAX);
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
    let mut logs = Logs::new(usize::MAX);
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
    let mut logs = Logs::new(usize::MAX);
    append(&mut logs, "a", 1, 0, Some(500));
    for sequence in 2..=4 {
        append(&mut logs, "a", sequence, 500, None);
    }
    assert_eq!(kept(&mut logs, "a", 500), [2, 3, 4]);
    assert!(!lost(&mut logs, "a", 0, 0, 500));
}

#[test]
fn a_channel_of_which_nothing_is_left_goes_and_its_loss_is_still_known() {
    let mut logs = Logs::new(usize::MAX);
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
    let mut logs = Logs::new(usize::MAX);
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
    let mut logs = Logs::new(usize::MAX);
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
    let mut logs = Logs::new(usize::MAX);
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
    let mut logs = Logs::new(usize::MAX);
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
    let mut logs = Logs::new(usize::MAX);
    for sequence in 1..=20_000 {
        append(&mut logs, &format!("c{sequence}"), sequence, 0, None);
    }
    assert_eq!(logs.len(), 20_000);
    sweep(&mut logs, 10_001);
    sweep(&mut logs, 10_001);
    assert_eq!(logs.len(), 0);
    assert!(logs.parts.iter().map(HashMap::capacity).sum::<usize>() < 10_000);
}

/// Appends with room for so many bytes; how many others went early.
fn append_sized(logs: &mut Logs, name: &str, sequence: u64, bytes: usize) -> u64 {
    let time = sequence;
    let publication = Publication {
        channel: channel(name),
        event: "e".into(),
        args: smallvec::smallvec![Value::Binary(vec![0; bytes].into())],
        spread: false,
        id: None,
        time,
        position: Some(Position { epoch: 1, sequence, time }),
        except: Vec::new(),
    };
    logs.append(sequence, Arc::new(publication), None, HISTORY)
}

/// What is counted is what is there, however it came and went.
fn assert_counted(logs: &Logs) {
    let all = || logs.parts.iter().flat_map(HashMap::iter);
    let bytes = |(channel, log): (&Channel, &ChannelLog)| {
        CHANNEL_BYTES + channel.as_str().len() + log.entries.iter().map(Entry::bytes).sum::<usize>()
    };
    assert_eq!(logs.bytes, all().map(bytes).sum::<usize>());
    let mut order: Vec<_> = all().map(|(channel, log)| (log.first(), channel.clone())).collect();
    order.sort();
    assert_eq!(logs.order.clone().into_iter().collect::<Vec<_>>(), order);
}

#[test]
fn the_oldest_of_all_channels_go_first_and_that_is_a_loss() {
    let mut logs = Logs::new(10_000);
    let names = ["a", "b", "c"];
    for (sequence, name) in (1..=6).zip(names.iter().cycle()) {
        assert_eq!(append_sized(&mut logs, name, sequence, 1_000), 0);
    }
    // Room for three more than a big one leaves.
    assert_eq!(append_sized(&mut logs, "d", 7, 3_900), 3);
    assert_counted(&logs);
    assert!(logs.bytes() <= 10_000);
    for (name, left) in [("a", vec![4]), ("b", vec![5]), ("c", vec![6]), ("d", vec![7])] {
        assert_eq!(kept(&mut logs, name, 7), left, "{name}");
    }
    assert!(lost(&mut logs, "a", 0, 0, 7));
    assert!(!lost(&mut logs, "a", 1, 2, 7));
    assert!(lost(&mut logs, "c", 2, 3, 7));
    assert!(!lost(&mut logs, "c", 3, 4, 7));
    assert!(!lost(&mut logs, "d", 0, 0, 7));
}

#[test]
fn a_channel_that_lost_all_for_want_of_room_goes_and_its_loss_is_known() {
    let mut logs = Logs::new(4_000);
    append_sized(&mut logs, "a", 1, 1_000);
    append_sized(&mut logs, "b", 2, 1_000);
    assert_eq!(append_sized(&mut logs, "c", 3, 1_800), 2);
    assert_eq!(logs.len(), 1);
    assert_counted(&logs);
    // However young the place.
    assert!(lost(&mut logs, "a", 0, 0, 3));
    assert!(lost(&mut logs, "b", 1, 2, 3));
    assert!(!lost(&mut logs, "b", 2, 3, 3));
    // Of a channel that never was, nobody knows that any more.
    assert!(lost(&mut logs, "never", 1, 2, 3));
    assert!(!lost(&mut logs, "never", 2, 3, 3));
    // It begins anew.
    append_sized(&mut logs, "b", 4, 10);
    assert!(lost(&mut logs, "b", 1, 2, 4));
    assert!(!lost(&mut logs, "b", 2, 3, 4));
}

#[test]
fn ever_new_channels_take_a_bounded_place() {
    let mut logs = Logs::new(100_000);
    for sequence in 1..=5_000 {
        append_sized(&mut logs, &format!("{sequence:0>150}"), sequence, 1);
        assert!(logs.bytes() <= 100_000);
    }
    assert_counted(&logs);
    assert!(logs.len() < 200, "{}", logs.len());
    assert_eq!(kept(&mut logs, &format!("{:0>150}", 5_000), 5_000), [5_000]);
}

#[test]
fn channels_emptied_by_ttl_and_limit_are_counted_and_go() {
    let mut logs = Logs::new(20_000);
    let mut sequence = 0;
    for number in 0..500 {
        for _ in 0..4 {
            sequence += 1;
            append(&mut logs, &format!("c{number}"), sequence, 0, Some(1_000));
        }
    }
    // The first of each went for the limit: it is remembered.
    sweep(&mut logs, 1_000);
    assert_counted(&logs);
    assert!(logs.len() > 5);
    sequence += 1;
    append_sized(&mut logs, "a", sequence, 15_000);
    assert_counted(&logs);
    assert!(logs.bytes() <= 20_000);
    assert!(lost(&mut logs, "c499", 0, 0, 1_000));
}

#[test]
fn the_newest_stays_though_it_is_larger_than_all() {
    let mut logs = Logs::new(3_000);
    append_sized(&mut logs, "a", 1, 100);
    append_sized(&mut logs, "b", 2, 100);
    assert_eq!(append_sized(&mut logs, "a", 3, 9_000), 2);
    assert_eq!(kept(&mut logs, "a", 3), [3]);
    assert_eq!(logs.len(), 1);
    assert_eq!(append_sized(&mut logs, "c", 4, 100), 1);
    assert_eq!(kept(&mut logs, "c", 4), [4]);
    assert_counted(&logs);
}

#[test]
fn what_was_over_in_any_case_does_not_go_early() {
    let mut logs = Logs::new(4_000);
    append(&mut logs, "ended", 1, 0, Some(500));
    append(&mut logs, "old", 2, 0, None);
    assert_eq!(append_sized(&mut logs, "a", 20_000, 3_000), 0);
    assert_counted(&logs);
}

#[test]
fn what_is_counted_is_right_whatever_happens() {
    let mut logs = Logs::new(30_000);
    let mut random = 12_345_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    let mut now = 0;
    for sequence in 1..=2_000 {
        now += next(500);
        let name = format!("c{}", next(12));
        match next(20) {
            0 => sweep(&mut logs, now),
            1 => (0..PARTS).for_each(|part| logs.sweep(part, now, |_| None)),
            2 => drop(kept(&mut logs, &name, now)),
            3 => append(&mut logs, &name, sequence, now, Some(next(2_000))),
            _ => {
                let publication = Publication {
                    channel: channel(&name),
                    event: "e".into(),
                    args: smallvec::smallvec![Value::Binary(
                        vec![0; usize::try_from(next(4_000)).unwrap()].into()
                    )],
                    spread: false,
                    id: Some("id".into()),
                    time: now,
                    position: Some(Position { epoch: 1, sequence, time: now }),
                    except: vec!["s".into()],
                };
                logs.append(sequence, Arc::new(publication), None, HISTORY);
            }
        }
        assert_counted(&logs);
        assert!(logs.bytes() <= 30_000);
    }
    sweep(&mut logs, now + 20_000);
    assert_eq!((logs.len(), logs.bytes()), (0, 0));
}

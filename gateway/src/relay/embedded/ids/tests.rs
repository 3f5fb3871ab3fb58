#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn position(sequence: u64, time: u64) -> Position {
    Position { epoch: 1, sequence, time }
}

fn key(hasher: &IdHasher, channel: &str, id: &str) -> IdKey {
    hasher.key(&Channel::new(channel).unwrap(), id)
}

#[test]
fn an_id_is_known_for_the_window_and_no_longer() {
    let hasher = IdHasher::default();
    let a = key(&hasher, "c", "a");
    let mut ids = RecentIds::new(10);
    ids.insert(a, position(1, 1_000));
    assert_eq!(ids.get(a, 1, 1_000 + WINDOW - 1), Some(position(1, 1_000)));
    assert_eq!(ids.get(a, 1, 1_000 + WINDOW), None);
}

#[test]
fn the_channel_is_part_of_the_id_and_its_end_is_clear() {
    let hasher = IdHasher::default();
    assert_ne!(key(&hasher, "ab", "c"), key(&hasher, "a", "bc"));
    assert_ne!(key(&hasher, "a", "x"), key(&hasher, "b", "x"));
    assert_eq!(key(&hasher, "a", "x"), key(&hasher, "a", "x"));
}

#[test]
fn an_id_that_comes_again_after_its_window_is_remembered_anew() {
    let hasher = IdHasher::default();
    let a = key(&hasher, "c", "a");
    let mut ids = RecentIds::new(10);
    // Two that are older are forgotten by the insert; `a`'s first stays.
    ids.insert(key(&hasher, "c", "x"), position(1, 0));
    ids.insert(key(&hasher, "c", "y"), position(2, 0));
    ids.insert(a, position(3, 0));
    ids.insert(a, position(4, WINDOW));
    assert!(ids.expire(WINDOW, 10));
    assert_eq!(ids.get(a, 1, WINDOW + 1), Some(position(4, WINDOW)));
    assert_eq!(ids.len(), 1);
}

#[test]
fn no_more_are_remembered_than_there_is_room_for() {
    let hasher = IdHasher::default();
    let mut ids = RecentIds::new(3);
    for sequence in 1..=5 {
        ids.insert(key(&hasher, "c", &sequence.to_string()), position(sequence, 10));
    }
    assert_eq!(ids.len(), 3);
    assert_eq!(ids.get(key(&hasher, "c", "2"), 1, 10), None);
    assert_eq!(ids.get(key(&hasher, "c", "3"), 1, 10), Some(position(3, 10)));
}

#[test]
fn memory_is_given_back() {
    let hasher = IdHasher::default();
    let mut ids = RecentIds::new(10_000);
    for sequence in 0..10_000 {
        ids.insert(key(&hasher, "c", &sequence.to_string()), position(sequence, 0));
    }
    assert!(!ids.expire(WINDOW, 9_000), "there are more");
    assert!(ids.expire(WINDOW, 9_000));
    ids.shrink();
    assert!(ids.order.capacity() < 1_000 && ids.seen.capacity() < 1_000);
}

use super::*;

#[test]
fn so_many_wait_at_once_and_go_with_their_time() {
    let mut ended = Ended::default();
    for number in 0..MAX_CLOSED as u64 {
        assert!(ended.has_room(0, 100));
        ended.add(10_000 + number % 4 * 1_000, 100);
    }
    assert!(!ended.has_room(10_999, 100), "none is over yet");
    assert!(ended.overflows());
    assert!(!ended.overflows(), "said once");
    assert!(ended.has_room(11_000, 100), "a quarter is over");
    assert_eq!((ended.count, ended.seconds.len()), (MAX_CLOSED / 4 * 3, 3));
    assert!(ended.has_room(60_000, 100));
    assert_eq!((ended.count, ended.bytes, ended.seconds.len()), (0, 0, 0));
    assert!(ended.overflows(), "and it may be said anew");
}

#[test]
fn large_ones_fill_it_sooner() {
    let mut ended = Ended::default();
    for _ in 0..128 {
        assert!(ended.has_room(0, 1 << 20));
        ended.add(1_000, 1 << 20);
    }
    assert!(!ended.has_room(0, 1));
}

#[test]
fn who_comes_back_makes_room() {
    let mut ended = Ended::default();
    ended.add(5_000, MAX_CLOSED_BYTES - 10);
    ended.add(9_000, 10);
    assert!(!ended.has_room(0, 1));
    ended.remove(5_000, MAX_CLOSED_BYTES - 10);
    // Of another process, or twice.
    ended.remove(5_000, 1);
    ended.remove(70_000, 1);
    assert_eq!((ended.count, ended.bytes), (1, 10));
    assert!(ended.has_room(0, 1));
}

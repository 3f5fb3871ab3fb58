// A test may sleep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::time::Duration;

use super::{MOST, Watched};

#[test]
fn a_user_is_watched_for_as_long_as_was_asked() {
    let watched = Watched::default();
    assert!(!watched.is(Some("ann")));
    watched.watch("ann", Duration::from_mins(1)).unwrap();
    watched.watch("bob", Duration::from_millis(20)).unwrap();
    assert!(watched.is(Some("ann")));
    assert!(!watched.is(Some("eve")));
    assert!(!watched.is(None));
    std::thread::sleep(Duration::from_millis(40));
    assert!(!watched.is(Some("bob")));
    watched.watch("ann", Duration::ZERO).unwrap();
    assert!(!watched.is(Some("ann")));
}

#[test]
fn only_so_many_are_watched() {
    let watched = Watched::default();
    for number in 0..MOST {
        watched.watch(&number.to_string(), Duration::from_mins(1)).unwrap();
    }
    assert!(watched.watch("one more", Duration::from_mins(1)).is_err());
    watched.watch("7", Duration::from_secs(90)).unwrap();
    watched.watch("7", Duration::ZERO).unwrap();
    watched.watch("one more", Duration::from_mins(1)).unwrap();
}

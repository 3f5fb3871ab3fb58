//! What is kept of channels that were left, and for how long.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::{BATCH, Kept, LEAVES, LINGER, MOST};
use crate::channel::Channel;

fn channel(number: usize) -> Channel {
    Channel::new(&format!("room.{number}")).unwrap()
}

/// Somebody subscribes and leaves.
fn visit(kept: &mut Kept, channel: &Channel, now: Instant) {
    kept.hold(channel, now);
    kept.release(channel, true);
    kept.leave(channel, now);
    kept.forget(LEAVES, now, |_| false);
}

#[test]
fn a_channel_lingers_and_then_goes() {
    let (mut kept, begin, room) = (Kept::default(), Instant::now(), channel(1));
    visit(&mut kept, &room, begin);
    let (gone, more) = kept.forget(BATCH, begin + LINGER / 2, |_| false);
    assert!(gone.is_empty() && !more && kept.has(&room));
    let (gone, _) = kept.forget(BATCH, begin + LINGER, |_| false);
    assert_eq!(gone.as_slice(), std::slice::from_ref(&room));
    assert!(!kept.has(&room) && kept.left.is_empty());
}

#[test]
fn a_channel_that_is_left_again_and_again_is_kept_once() {
    let (mut kept, begin, room) = (Kept::default(), Instant::now(), channel(1));
    for round in 0..100_000 {
        // Two minutes of it: entries whose time is over are looked at, too.
        visit(&mut kept, &room, begin + LINGER * 2 * round / 100_000);
    }
    assert_eq!((kept.channels.len(), kept.left.len()), (1, 1));
}

#[test]
fn ever_new_channels_take_a_bounded_place() {
    let (mut kept, now) = (Kept::default(), Instant::now());
    for number in 0..MOST * 3 {
        visit(&mut kept, &channel(number), now);
    }
    assert!(kept.left.len() <= MOST, "{}", kept.left.len());
    assert!(kept.channels.len() <= MOST, "{}", kept.channels.len());
    // The last ones are still there.
    assert!(kept.has(&channel(MOST * 3 - 1)) && !kept.has(&channel(0)));
}

#[test]
fn what_somebody_holds_stays() {
    let (mut kept, now, room) = (Kept::default(), Instant::now(), channel(0));
    kept.leave(&room, now);
    kept.hold(&room, now);
    for number in 1..MOST * 2 {
        visit(&mut kept, &channel(number), now);
    }
    assert!(kept.has(&room));
    let later = now + LINGER * 3;
    while kept.forget(BATCH, later, |_| false).1 {}
    assert_eq!((kept.channels.len(), kept.left.len()), (1, 0));
    // It never entered the hub.
    kept.release(&room, false);
    kept.leave(&room, later);
    let (gone, _) = kept.forget(BATCH, later + LINGER, |_| false);
    assert_eq!(gone.as_slice(), [room]);
}

#[test]
fn a_channel_in_the_hub_costs_nothing_here() {
    let (mut kept, now, room) = (Kept::default(), Instant::now(), channel(1));
    kept.leave(&room, now);
    // Somebody came back.
    kept.hold(&room, now);
    kept.release(&room, true);
    let (gone, _) = kept.forget(BATCH, now + LINGER, |_| true);
    assert!(gone.is_empty());
    assert!(kept.channels.is_empty() && kept.left.is_empty());
    for number in 0..10_000 {
        kept.hold(&channel(number), now + Duration::from_secs(1));
        kept.release(&channel(number), true);
    }
    assert!(kept.channels.is_empty());
}

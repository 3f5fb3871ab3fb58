#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::{Frame, Kept, MAX_AGE, Ring, Unread, When};
use crate::channel::Channel;
use crate::offset::Position;
use crate::publication::{NewPublication, Publication, Value};

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn position(sequence: u64, time: u64) -> Position {
    Position { epoch: 1, sequence, time }
}

#[allow(clippy::unnecessary_wraps)] // As the ring takes it.
fn kept(name: &str, position: Position) -> Option<Kept> {
    let new = NewPublication::new(channel(name), "e", Value::json(&position.sequence));
    let publication = Publication {
        channel: new.channel,
        event: new.event,
        args: new.args,
        spread: false,
        id: None,
        time: position.time,
        position: Some(position),
        except: Vec::new(),
    };
    Some(Kept { publication: Arc::new(publication), expires: u64::MAX })
}

fn sequences(kept: &[Kept]) -> Vec<u64> {
    kept.iter().map(|kept| kept.publication.position.unwrap().sequence).collect()
}

#[test]
fn each_channel_after_its_place() {
    let ring = Ring::new(position(10, 1_000));
    for sequence in 11..=20 {
        let at = position(sequence, 1_000 + sequence);
        let entry = match sequence % 3 {
            0 => kept("a", at),
            1 => kept("b", at),
            _ => None,
        };
        ring.push(at, entry);
    }
    // a: 12 15 18, b: 13 16 19.
    let read = |channels: &[(Channel, u64)], until| ring.read(channels, until, |_, _| None);
    assert_eq!(sequences(&read(&[(channel("a"), 10)], 20).unwrap()), [12, 15, 18]);
    assert_eq!(sequences(&read(&[(channel("a"), 12), (channel("b"), 16)], 18).unwrap()), [15, 18]);
    assert_eq!(sequences(&read(&[(channel("c"), 10)], 20).unwrap()), [0; 0]);
    assert_eq!(read(&[(channel("a"), 9)], 20).unwrap_err(), 11);
    assert_eq!(ring.time_of(10), None);
    assert_eq!(ring.time_of(20), Some(1_020));
    assert_eq!(ring.time_of(14), Some(1_014));
    assert_eq!(ring.time_of(21), None);
}

/// What nobody has looked at is read when somebody asks for its channel, and
/// takes its place among the others.
#[test]
fn unread_messages_wait_for_a_reader() {
    let ring = Ring::new(position(0, 0));
    for sequence in 1..=4 {
        let at = position(sequence, sequence);
        let name = if sequence == 2 { "b" } else { "a" };
        if sequence == 3 {
            ring.push(at, kept(name, at));
        } else {
            let frame = Frame::of(&format!("MSG push.live.{name} 1 1\r\n{sequence}\r\n"));
            ring.push_unread(at, Unread { frame, channel: "push.live.".len() });
        }
    }
    let asked = std::cell::RefCell::new(Vec::new());
    let read = |after| {
        ring.read(&[(channel("a"), after)], 4, |unread, at| {
            asked.borrow_mut().push(at.sequence);
            assert_eq!(unread.frame.payload(), at.sequence.to_string());
            kept("a", at)
        })
    };
    assert_eq!(sequences(&read(0).unwrap()), [1, 3, 4]);
    assert_eq!(asked.take(), [1, 4], "and only those");
    assert_eq!(sequences(&read(1).unwrap()), [3, 4]);
    // What can't be read is left out.
    let none = ring.read(&[(channel("a"), 0)], 4, |_, _| None).unwrap();
    assert_eq!(sequences(&none), [3]);
}

#[test]
fn bounded_in_bytes_and_time() {
    let ring = Ring::with_capacity(position(0, 0), 2_200);
    for sequence in 1..=100 {
        ring.push(position(sequence, 5), kept("a", position(sequence, 5)));
    }
    assert_eq!(ring.first(), 91);
    ring.push(position(101, 6 + MAX_AGE), None);
    assert_eq!(ring.first(), 101);
    assert_eq!(ring.head(), position(101, 6 + MAX_AGE));
}

#[test]
fn a_publisher_learns_its_time() {
    let ring = Ring::new(position(3, 7));
    assert!(matches!(ring.when(2), When::Gone));
    let When::Later(mut later) = ring.when(4) else { panic!("not there yet") };
    ring.push(position(4, 9), None);
    assert_eq!(later.try_recv().unwrap(), position(4, 9));
    assert!(matches!(ring.when(4), When::Known(known) if known == position(4, 9)));
}

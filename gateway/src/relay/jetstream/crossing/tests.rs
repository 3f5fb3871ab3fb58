#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::channel::Channel;
use crate::offset::Position;
use crate::publication::Args;

/// A channel that goes over, and what was handed on.
struct Way {
    crossings: Crossings,
    settled: Source,
    handed: Vec<u64>,
}

fn publication(number: u64, position: Option<Position>) -> Arc<Publication> {
    Arc::new(Publication {
        channel: Channel::new("c").unwrap(),
        event: "e".into(),
        args: Args::from_iter([Value::json(&number)]),
        spread: false,
        id: None,
        time: 0,
        position,
        except: Vec::new(),
    })
}

fn number(publication: &Publication) -> u64 {
    match &publication.args[0] {
        Value::Json(text) => serde_json::from_slice(text).unwrap(),
        Value::Binary(_) => unreachable!(),
    }
}

impl Way {
    /// It began so long ago.
    fn new(to: Source, ago: Duration) -> Self {
        let crossings = Crossings::default();
        crossings.begin("c", to, Instant::now().checked_sub(ago).unwrap());
        Self { crossings, settled: to, handed: Vec::new() }
    }

    fn core(&mut self, number: u64) {
        self.bring(number, None);
    }

    /// Its sequence is a hundred more.
    fn feed(&mut self, number: u64) {
        self.bring(number, Some(Position { epoch: 1, sequence: 100 + number, time: 1 }));
    }

    fn bring(&mut self, number: u64, position: Option<Position>) {
        let publication = publication(number, position);
        let sequence = position.map(|position| position.sequence);
        let (settled, handed) = (self.settled, &mut self.handed);
        self.crossings.decide(
            "c",
            &publication,
            sequence,
            || settled,
            |deliver| {
                handed.extend(deliver.then_some(number));
            },
        );
    }

    fn cut(&mut self, number: u64) {
        self.crossings.cut(100 + number, Instant::now());
    }

    fn switch_to_feed(&mut self) {
        let later = Instant::now() + SKEW;
        for (_, late) in self.crossings.switch_to_feed(later) {
            self.handed.extend(late.iter().map(|publication| number(publication)));
        }
    }
}

const LONG: Duration = Duration::from_mins(1);

#[test]
fn core_before_the_feed() {
    let mut way = Way::new(Source::Feed, LONG);
    for number in 1..=3 {
        way.core(number);
    }
    way.feed(1);
    way.cut(1);
    way.feed(2);
    way.core(4);
    way.switch_to_feed();
    // Core has brought them.
    way.feed(3);
    way.feed(4);
    way.core(5);
    way.feed(5);
    way.feed(6);
    assert_eq!(way.handed, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_feed_before_core() {
    let mut way = Way::new(Source::Feed, LONG);
    way.core(1);
    way.feed(1);
    way.feed(2);
    way.cut(1);
    way.feed(3);
    way.core(2);
    way.switch_to_feed();
    assert_eq!(way.handed, [1, 2, 3], "what core had not brought by then");
    way.core(3);
    way.feed(4);
    assert_eq!(way.handed, [1, 2, 3, 4]);
}

#[test]
fn what_core_brought_before_is_not_told_again() {
    let mut way = Way::new(Source::Feed, Duration::ZERO);
    // Core brought 1 and 2 before it was looked at.
    way.feed(1);
    way.core(3);
    way.crossings.lock().get_mut("c").unwrap().began = Instant::now().checked_sub(LONG).unwrap();
    way.feed(2);
    way.cut(3);
    way.feed(3);
    way.switch_to_feed();
    way.feed(4);
    assert_eq!(way.handed, [3, 4]);
}

#[test]
fn equal_ones_are_as_many() {
    let mut way = Way::new(Source::Feed, LONG);
    for _ in 0..3 {
        way.core(7);
    }
    way.feed(7);
    way.cut(0);
    way.switch_to_feed();
    for _ in 0..4 {
        way.feed(7);
    }
    assert_eq!(way.handed, [7; 5]);
}

#[test]
fn without_a_cut_nothing_changes() {
    let mut way = Way::new(Source::Feed, LONG);
    way.core(1);
    way.switch_to_feed();
    way.feed(1);
    way.core(2);
    assert_eq!(way.handed, [1, 2]);
}

#[test]
fn the_feed_until_it_is_complete_then_core() {
    let mut way = Way::new(Source::Core, LONG);
    way.feed(1);
    way.core(1);
    way.core(2);
    way.core(3);
    way.feed(2);
    let now = Instant::now();
    assert!(way.crossings.switch_to_core("c", false, now).is_empty());
    way.core(4);
    let late = way.crossings.switch_to_core("c", true, now);
    way.handed.extend(late.iter().map(|publication| number(publication)));
    assert_eq!(way.handed, [1, 2, 3, 4]);
    way.feed(3);
    way.core(5);
    assert_eq!(way.handed, [1, 2, 3, 4, 5]);
    assert!(!way.crossings.is_idle());
    way.crossings.expire(false, now + LONG);
    assert!(way.crossings.is_idle());
    way.core(6);
    way.feed(6);
    assert_eq!(way.handed, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_change_that_is_taken_back() {
    let mut way = Way::new(Source::Core, LONG);
    way.feed(1);
    way.core(2);
    way.crossings.begin("c", Source::Feed, Instant::now());
    assert!(way.crossings.is_idle(), "it never left the feed");
    way.settled = Source::Feed;
    way.feed(2);
    way.core(3);
    way.feed(3);
    assert_eq!(way.handed, [1, 2, 3]);
}

//! The queue against a model: what comes out is what went in, whole and in
//! order, less what the client is told of.

#![allow(clippy::unwrap_used)]

use arcstr::ArcStr;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::channel::Channel;
use crate::hub::Protocol;
use crate::hub::droppable::NAMED;
use crate::metrics::{Metrics, PolicyLabel};

const LIMITS: OutboxLimits = OutboxLimits { bytes: 2_000, messages: 24 };
/// The channel of what is replayed.
const REPLAYED: usize = 6;
/// Bytes of the notices that may wait beside the limits.
const NOTICES: usize = 6 * 120;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// To one of six channels: two of each policy.
    Publish { channel: usize, padding: usize, parts: usize },
    /// So many, to be encoded later.
    Replay { count: usize, padding: usize },
    /// So many bytes go at once.
    Write(usize),
}

/// What a client has read.
#[derive(Default)]
struct Client {
    text: String,
    /// Of each channel: how many publications came, or were told as lost.
    known: BTreeMap<String, u64>,
    lost: BTreeMap<String, u64>,
    /// Of publications that are never moved, the last one's number.
    last: u64,
}

struct World {
    queue: Queue,
    metrics: Metrics,
    dropping: Rc<Dropping>,
    channels: Vec<Channel>,
    published: Vec<u64>,
    /// Over all channels.
    number: u64,
    written: Vec<u8>,
    /// What may not be dropped was too much: the connection ends.
    ended: bool,
}

fn form() -> Form {
    Form { protocol: Protocol::Sse, namespace: 0, meta: false, recoverable: false }
}

fn policy(channel: usize) -> Option<Policy> {
    [None, Some(Policy::Oldest), Some(Policy::Latest)][channel % 3]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publish = (0..6_usize, 0..200_usize, 1..=3_usize);
    let publish =
        publish.prop_map(|(channel, padding, parts)| Step::Publish { channel, padding, parts });
    let replay = (1..8_usize, 0..200_usize);
    let replay = replay.prop_map(|(count, padding)| Step::Replay { count, padding });
    prop::collection::vec(
        prop_oneof![
            12 => publish,
            1 => replay,
            4 => (1..1_500_usize).prop_map(Step::Write),
        ],
        1..150,
    )
}

impl World {
    fn new() -> Self {
        let metrics = Metrics::default();
        let namespaces: Arc<[ArcStr]> = Arc::new(["/".into()]);
        Self {
            queue: Queue::default(),
            dropping: Dropping::new(namespaces, metrics.clone()),
            metrics,
            channels: (0..=REPLAYED)
                .map(|name| Channel::new(&format!("c{name}")).unwrap())
                .collect(),
            published: vec![0; REPLAYED + 1],
            number: 0,
            written: Vec::new(),
            ended: false,
        }
    }

    fn message(&mut self, channel: usize, padding: usize, parts: usize) -> Message {
        let (own, number) = (self.published[channel], self.number);
        self.published[channel] += 1;
        self.number += 1;
        let wires: Vec<Wire> = (0..parts)
            .map(|part| {
                let pad = "x".repeat(padding);
                let line = format!("pub c{channel} {own} {number} {part}/{parts} {pad}\n");
                Wire::raw(line.into_bytes().into())
            })
            .collect();
        match &wires[..] {
            [one] => Message::One(one.clone()),
            many => Message::Many(many.into()),
        }
    }

    fn publish(&mut self, channel: usize, padding: usize, parts: usize) {
        let message = self.message(channel, padding, parts);
        let droppable = policy(channel).map(|policy| Droppable {
            channel: &self.channels[channel],
            policy,
            form: form(),
            dropping: &self.dropping,
        });
        // As the outbox does for a client that is behind.
        let replaced = droppable.as_ref().is_some_and(|droppable| {
            droppable.policy == Policy::Latest && self.queue.replace(&message, droppable)
        });
        if !replaced {
            self.queue.push(message, droppable.as_ref());
        }
        self.queue.shed(LIMITS);
        self.ended = self.queue.exceeds(OutboxLimits { bytes: LIMITS.bytes + NOTICES, ..LIMITS });
    }

    fn replay(&mut self, count: usize, padding: usize) {
        let parts = (0..count).map(|_| {
            let message = self.message(REPLAYED, padding, 1);
            Box::new(move || message) as Later
        });
        let parts = parts.collect();
        self.queue.push_replay(parts);
    }

    fn write(&mut self, most: usize) {
        self.queue.prepare(300, 4);
        let mut slices = [IoSlice::new(&[]); 4];
        let count = self.queue.slices(&mut slices);
        let mut taken: Vec<u8> =
            slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        taken.truncate(most);
        self.queue.consume(taken.len());
        self.written.extend(taken);
    }

    fn drain(&mut self) {
        while !self.queue.is_empty() {
            self.write(usize::MAX);
        }
    }

    fn counted(&self, policy: Policy) -> u64 {
        let label = PolicyLabel { policy: policy.label() };
        self.metrics.deliveries_dropped.get_or_create(&label).get()
    }
}

impl Client {
    fn read(written: Vec<u8>) -> Self {
        let mut client = Self { text: String::from_utf8(written).unwrap(), ..Self::default() };
        let text = std::mem::take(&mut client.text);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(data) = line.strip_prefix("data: ") {
                client.told(data);
            } else if line.starts_with("pub ") {
                client.got(line, &mut lines);
            } else {
                assert!(line.is_empty() || line == "event: push:dropped", "{line}");
            }
        }
        client
    }

    fn told(&mut self, data: &str) {
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let channel = data["channel"].as_str().unwrap().to_owned();
        let count = data["count"].as_u64().unwrap();
        let expected = ["", "dropOldest", "latest"][usize::from(channel.as_bytes()[1] - b'0') % 3];
        assert_eq!(data["policy"], expected);
        assert!(count > 0);
        *self.known.entry(channel.clone()).or_default() += count;
        *self.lost.entry(channel).or_default() += count;
    }

    fn got<'a>(&mut self, line: &str, lines: &mut impl Iterator<Item = &'a str>) {
        let words: Vec<_> = line.split(' ').collect();
        let (channel, own, number) =
            (words[1], words[2].parse::<u64>().unwrap(), words[3].parse::<u64>().unwrap());
        let parts: usize = words[4].split_once('/').unwrap().1.parse().unwrap();
        assert!(words[4].starts_with("0/"), "a piece without its beginning: {line}");
        for part in 1..parts {
            let next = lines.next().unwrap_or_default();
            let expected = format!("pub {channel} {own} {number} {part}/{parts} ");
            assert!(next.starts_with(&expected), "{next:?} is not {expected:?}");
        }
        // Whatever is missing before it was told before it.
        let known = self.known.entry(channel.to_owned()).or_default();
        assert_eq!(*known, own, "the next of {channel}");
        *known += 1;
        let movable = usize::from(channel.as_bytes()[1] - b'0') % 3 == 2;
        if !movable {
            assert!(number >= self.last, "{number} after {}", self.last);
            self.last = number;
        }
    }
}

proptest! {
    #[test]
    fn what_comes_out_is_what_went_in_less_what_is_told(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Publish { channel, padding, parts } => world.publish(channel, padding, parts),
                Step::Replay { count, padding } => world.replay(count, padding),
                Step::Write(most) => world.write(most),
            }
            if world.ended {
                break;
            }
            let queue = &world.queue;
            let live = || queue.entries.iter().filter_map(|entry| match entry {
                Entry::Live(message) => Some(message),
                Entry::Replayed(_) | Entry::Later(_) => None,
            });
            let begun = matches!(queue.entries.front(), Some(Entry::Live(_)));
            let written = if begun { queue.written } else { 0 };
            prop_assert_eq!(queue.bytes, live().map(Message::len).sum::<usize>() - written);
            prop_assert_eq!(queue.frames, live().map(Message::count).sum::<usize>());
            let later = queue.entries.iter().filter(|entry| entry.message().is_none());
            prop_assert_eq!(queue.later, later.count());
        }
        if world.ended {
            // Nothing that may be dropped is left.
            prop_assert!(world.queue.drops.as_mut().is_none_or(|drops| drops.drop_oldest().is_none()));
            return Ok(());
        }
        world.drain();
        prop_assert_eq!((world.queue.bytes, world.queue.frames, world.queue.written), (0, 0, 0));
        let counted = [world.counted(Policy::Oldest), world.counted(Policy::Latest)];
        let published = std::mem::take(&mut world.published);
        let client = Client::read(world.written);
        for (channel, published) in published.iter().enumerate() {
            let known = client.known.get(&format!("c{channel}")).copied().unwrap_or_default();
            prop_assert_eq!(known, *published, "of c{}", channel);
        }
        let lost = |names: [&str; 2]| {
            names.iter().filter_map(|name| client.lost.get(*name)).sum::<u64>()
        };
        prop_assert_eq!(counted, [lost(["c1", "c4"]), lost(["c2", "c5"])]);
    }
}

/// What waits costs no more than its frames.
#[test]
fn an_entry_is_no_larger_than_its_message() {
    assert_eq!(size_of::<Entry>(), size_of::<Message>());
}

/// How many wait at most is held exactly where all may be dropped.
#[test]
fn no_more_waits_than_may() {
    let mut world = World::new();
    for number in 0..1_000 {
        world.publish([1, 4][number % 2], number % 90, 1 + number % 3);
        assert!(!world.queue.exceeds(LIMITS) && !world.ended);
    }
    world.drain();
    let client = Client::read(world.written);
    assert_eq!(client.known.values().sum::<u64>(), 1_000);
    assert!(client.lost.values().sum::<u64>() < 1_000 - 4, "{:?}", client.lost);
}

/// A client that reads nothing costs no more than so many names.
#[test]
fn beyond_so_many_names_losses_are_one_number() {
    let mut world = World::new();
    let many = NAMED + 10;
    let channels: Vec<_> = (0..many).map(|n| Channel::new(&format!("{n}")).unwrap()).collect();
    for round in 0..3 {
        for channel in &channels {
            let dropping = world.dropping.clone();
            let droppable =
                Droppable { channel, policy: Policy::Oldest, form: form(), dropping: &dropping };
            let message = Message::One(Wire::raw("x\n".into()));
            world.queue.push(message, Some(&droppable));
            world.queue.shed(OutboxLimits { bytes: 0, messages: 0 });
        }
        if round == 1 {
            // A piece of the first notice, which is never taken back.
            world.write(10);
        }
    }
    world.drain();
    let text = String::from_utf8(world.written).unwrap();
    let notices: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let sum: u64 = notices.iter().filter_map(|notice| notice["count"].as_u64()).sum();
    assert_eq!(sum, 3 * many as u64);
    assert!(notices.len() <= NAMED + 2, "{}", notices.len());
    assert!(notices.iter().any(|notice| notice.get("channel").is_none()));
}

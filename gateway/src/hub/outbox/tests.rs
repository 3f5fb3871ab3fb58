//! What waits, and what happens when it is too much, as each transport
//! fetches it.

#![allow(clippy::unwrap_used)]

use arcstr::ArcStr;
use std::sync::Arc;
use std::task::Waker;

use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::channel::Channel;
use crate::hub::{Policy, Protocol, Subscriber};
use crate::metrics::Metrics;

const LIMITS: OutboxLimits = OutboxLimits { bytes: 1_000, messages: 8 };

struct Publisher {
    channel: Channel,
    policy: Option<Policy>,
    form: Form,
    dropping: Rc<Dropping>,
}

impl Publisher {
    fn new(channel: &str, policy: Option<Policy>, protocol: Protocol) -> Self {
        let namespaces: Arc<[ArcStr]> = Arc::new(["/".into(), "/admin".into()]);
        Self {
            channel: Channel::new(channel).unwrap(),
            policy,
            form: Form { protocol, namespace: 0, meta: false, recoverable: false },
            dropping: Dropping::new(namespaces, Metrics::default()),
        }
    }

    fn droppable(&self) -> Option<Droppable<'_>> {
        let (channel, form, dropping) = (&self.channel, self.form, &self.dropping);
        self.policy.map(|policy| Droppable { channel, policy, form, dropping })
    }

    fn queue(&self, outbox: &Outbox, text: &str) -> bool {
        outbox.queue_publication(&message(text), self.droppable().as_ref())
    }
}

fn message(text: &str) -> Message {
    Message::One(Wire::text(&[text.as_bytes()]))
}

/// What a stream's task fetches now.
fn fetch(outbox: &Outbox) -> Option<String> {
    let mut context = Context::from_waker(Waker::noop());
    match outbox.poll_next(&mut context) {
        Poll::Ready(Some(bytes)) => Some(text_of(&bytes)),
        _ => None,
    }
}

/// Without a frame's header, which these tests keep at two bytes.
fn text_of(bytes: &[u8]) -> String {
    let payload = if bytes.first() == Some(&0x81) { &bytes[2..] } else { bytes };
    String::from_utf8(payload.to_vec()).unwrap()
}

fn fetch_all(outbox: &Outbox) -> Vec<String> {
    std::iter::from_fn(|| fetch(outbox)).collect()
}

fn polled(outbox: &Outbox) -> Option<String> {
    let (sender, mut receiver) = oneshot::channel();
    outbox.attach_poll(sender);
    match receiver.try_recv() {
        Ok(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        Err(TryRecvError::Empty | TryRecvError::Closed) => None,
    }
}

fn dropped(channel: &str, policy: &str, count: u32) -> String {
    format!(
        "event: push:dropped\ndata: {{\"channel\":\"{channel}\",\"count\":{count},\"policy\":\"{policy}\"}}\n\n"
    )
}

#[test]
fn too_much_ends_the_connection() {
    let outbox = Outbox::new(LIMITS);
    let publisher = Publisher::new("a", None, Protocol::Sse);
    for _ in 0..8 {
        assert!(publisher.queue(&outbox, "x"));
    }
    assert!(!publisher.queue(&outbox, "x"));
    assert_eq!(outbox.ended(), Some(CloseReason::SlowConsumer));
}

#[test]
fn the_oldest_go_and_the_stream_is_told_where_they_were() {
    let outbox = Outbox::new(LIMITS);
    outbox.attach_stream();
    let (keep, drop) = (
        Publisher::new("keep", None, Protocol::Sse),
        Publisher::new("a", Some(Policy::Oldest), Protocol::Sse),
    );
    keep.queue(&outbox, "first");
    for number in 0..20 {
        assert!(drop.queue(&outbox, &number.to_string()));
    }
    assert!(keep.queue(&outbox, "last"));
    assert_eq!(
        fetch_all(&outbox),
        [&dropped("a", "dropOldest", 14), "first", "14", "15", "16", "17", "18", "19", "last"]
    );
    assert!(outbox.is_empty() && outbox.ended().is_none());
}

#[test]
fn what_can_not_be_dropped_still_ends_it() {
    let outbox = Outbox::new(LIMITS);
    let (keep, drop) = (
        Publisher::new("keep", None, Protocol::Sse),
        Publisher::new("a", Some(Policy::Oldest), Protocol::Sse),
    );
    for number in 0..8 {
        assert!(drop.queue(&outbox, &number.to_string()));
        assert!(keep.queue(&outbox, "x"), "there is something to drop for it");
    }
    // Full of what stays: a newer one that may be dropped is no harm.
    assert!(drop.queue(&outbox, "y"));
    assert!(!keep.queue(&outbox, "x"));
    assert_eq!(outbox.ended(), Some(CloseReason::SlowConsumer));
}

#[test]
fn what_is_too_large_to_wait_is_told_at_the_next_opportunity() {
    let outbox = Outbox::new(LIMITS);
    let large = Publisher::new("a", Some(Policy::Latest), Protocol::Socketio);
    assert!(large.queue(&outbox, &"x".repeat(2_000)));
    assert!(!outbox.is_empty());
    assert_eq!(
        polled(&outbox).unwrap(),
        r#"42["push:dropped",{"channel":"a","count":1,"policy":"latest"}]"#
    );
    assert!(outbox.is_empty());
}

#[test]
fn of_latest_one_waits_in_its_place() {
    let outbox = Outbox::new(LIMITS);
    let (a, b) = (
        Publisher::new("a", Some(Policy::Latest), Protocol::Socketio),
        Publisher::new("b", Some(Policy::Latest), Protocol::Socketio),
    );
    for number in 0..50 {
        assert!(a.queue(&outbox, &format!("4a{number}")));
        assert!(b.queue(&outbox, &format!("4b{number}")));
    }
    let payload = polled(&outbox).unwrap();
    let packets: Vec<_> = payload.split('\x1e').collect();
    assert_eq!(
        packets,
        [
            r#"42["push:dropped",{"channel":"a","count":49,"policy":"latest"}]"#,
            r#"42["push:dropped",{"channel":"b","count":49,"policy":"latest"}]"#,
            "4a49",
            "4b49"
        ]
    );
}

/// The last one of a channel goes only when all else that may be dropped has.
#[test]
fn the_last_one_is_kept_longest() {
    let outbox = Outbox::new(LIMITS);
    outbox.attach_stream();
    let (latest, oldest, keep) = (
        Publisher::new("latest", Some(Policy::Latest), Protocol::Sse),
        Publisher::new("oldest", Some(Policy::Oldest), Protocol::Sse),
        Publisher::new("keep", None, Protocol::Sse),
    );
    latest.queue(&outbox, "now");
    for number in 0..20 {
        oldest.queue(&outbox, &number.to_string());
    }
    for number in 0..7 {
        assert!(keep.queue(&outbox, &number.to_string()));
    }
    let fetched = fetch_all(&outbox);
    let expected = [&dropped("oldest", "dropOldest", 20), "now", "0", "1", "2", "3", "4", "5", "6"];
    assert_eq!(fetched, expected);
}

/// A burst is no sign of a slow client: the stream's task had no turn yet.
#[test]
fn a_stream_that_keeps_up_gets_every_latest() {
    let outbox = Outbox::new(LIMITS);
    outbox.attach_stream();
    let publisher = Publisher::new("a", Some(Policy::Latest), Protocol::Sse);
    assert_eq!(fetch(&outbox), None, "it waits");
    for text in ["0", "1", "2"] {
        publisher.queue(&outbox, text);
    }
    assert_eq!(fetch(&outbox).as_deref(), Some("0"));
    // It has not come back for more: 2 is what it is behind of.
    publisher.queue(&outbox, "3");
    assert_eq!(fetch_all(&outbox), [&dropped("a", "latest", 1), "1", "3"]);
}

/// As a burst to a poll that waits: the first is on its way, so it isn't the
/// one that is replaced.
#[test]
fn a_poll_that_waits_gets_the_first() {
    let outbox = Outbox::new(LIMITS);
    let publisher = Publisher::new("a", Some(Policy::Latest), Protocol::Socketio);
    let (sender, mut receiver) = oneshot::channel();
    outbox.attach_poll(sender);
    for number in 0..3 {
        publisher.queue(&outbox, &format!("4{number}"));
    }
    assert_eq!(receiver.try_recv().unwrap(), "40");
    assert_eq!(
        polled(&outbox).unwrap(),
        "42[\"push:dropped\",{\"channel\":\"a\",\"count\":1,\"policy\":\"latest\"}]\x1e42"
    );
}

#[test]
fn a_namespace_is_told_in_its_own_words() {
    let outbox = Outbox::new(LIMITS);
    let mut publisher = Publisher::new("$ns.admin.room", Some(Policy::Latest), Protocol::Socketio);
    publisher.form.namespace = 1;
    publisher.queue(&outbox, "4old");
    publisher.queue(&outbox, "4new");
    assert_eq!(
        polled(&outbox).unwrap(),
        "42/admin,[\"push:dropped\",{\"channel\":\"room\",\"count\":1,\"policy\":\"latest\"}]\x1e4new"
    );
}

#[test]
fn what_waits_behind_a_replay_is_dropped_too() {
    let outbox = Outbox::new(LIMITS);
    outbox.attach_stream();
    let publisher = Publisher::new("a", Some(Policy::Oldest), Protocol::Sse);
    let subscriber = Subscriber::new("s".into(), publisher.form, outbox.clone());
    subscriber.hold();
    for number in 0..20 {
        subscriber.deliver(&message(&number.to_string()), publisher.droppable().as_ref(), true);
    }
    outbox.queue_replay(vec![Box::new(|| message("replayed"))]);
    subscriber.release();
    assert!(outbox.ended().is_none());
    let fetched = fetch_all(&outbox);
    assert_eq!(fetched[0], dropped("a", "dropOldest", 12));
    assert_eq!(fetched[1..3], ["replayed", "12"]);
    assert_eq!(fetched.last().unwrap(), "19");
}

/// What an idle client keeps is promised in docs/decisions/idle-memory.md.
#[test]
fn an_outbox_is_seventeen_words() {
    assert_eq!(size_of::<Outbox>(), 17 * 8);
    assert_eq!(size_of::<Message>(), 40, "as much as its frame");
}

/// A replay's parts, each of so many bytes, that count how many of them have
/// been encoded.
fn replay(count: usize, bytes: usize) -> (Vec<Later>, Rc<std::cell::Cell<usize>>) {
    let encoded = Rc::new(std::cell::Cell::new(0));
    let part = |number: usize| -> Later {
        let encoded = encoded.clone();
        Box::new(move || {
            encoded.set(encoded.get() + 1);
            message(&format!("4{number}{}", " ".repeat(bytes)))
        })
    };
    ((0..count).map(part).collect(), encoded)
}

/// All at once it would take many times what may wait.
#[test]
fn a_replay_is_encoded_as_it_is_taken() {
    let outbox = Outbox::new(LIMITS);
    let (parts, encoded) = replay(1_000, 100_000);
    assert!(outbox.queue_replay(parts));
    assert!(outbox.queue(&message("4live")), "a replay counts for nothing");
    assert_eq!(encoded.get(), 0);
    let mut numbers = Vec::new();
    while numbers.len() < 1_000 {
        let before = numbers.len();
        let payload = polled(&outbox).unwrap();
        numbers.extend(
            payload
                .split('\x1e')
                .filter_map(|packet| packet.strip_prefix('4')?.trim().parse::<usize>().ok()),
        );
        assert!(numbers.len() > before && numbers.len() <= before + 11, "{}", numbers.len());
        assert_eq!(encoded.get(), numbers.len(), "no more than is taken");
        if numbers.len() == 1_000 {
            assert!(payload.ends_with("\x1e4live"), "what waits behind comes with the last");
        }
    }
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    assert!(outbox.is_empty());

    outbox.attach_stream();
    let (parts, encoded) = replay(3, 100);
    outbox.queue_replay(parts);
    for number in 1..=3 {
        assert!(fetch(&outbox).is_some());
        assert_eq!(encoded.get(), number);
    }
    assert_eq!(fetch(&outbox), None);
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::publication::{Publication, Value};

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn at(sequence: u64) -> Position {
    Position { epoch: 1, sequence, time: sequence }
}

fn publication(name: Channel, sequence: u64) -> FeedItem {
    FeedItem::Publication(Arc::new(Publication {
        channel: name,
        event: "message".into(),
        args: SmallVec::from_iter([Value::null()]),
        spread: false,
        id: None,
        time: sequence,
        position: Some(at(sequence)),
        except: Vec::new(),
    }))
}

fn queues(count: usize) -> (Fanout, Vec<Receiver<FeedItem>>) {
    let (senders, receivers) = (0..count).map(|_| mpsc::channel(1_000)).unzip();
    let fanout = Fanout::new(senders, Counter::default());
    fanout.advance(at(0));
    (fanout, receivers)
}

fn sequences(queue: &mut Receiver<FeedItem>) -> Vec<u64> {
    let mut sequences = Vec::new();
    while let Ok(item) = queue.try_recv() {
        let FeedItem::Publication(publication) = item else { continue };
        sequences.push(publication.position.unwrap().sequence);
    }
    sequences
}

#[tokio::test]
async fn who_wants_it_gets_it_and_all_know_how_far_it_is() {
    let (fanout, mut queues) = queues(3);
    fanout.want(1, &channel("a"));
    fanout.send(publication(channel("a"), 1)).await.unwrap();
    fanout.send(publication(channel("b"), 2)).await.unwrap();
    assert_eq!(fanout.position(), at(2));
    fanout.unwant(1, &channel("a"));
    fanout.send(publication(channel("a"), 3)).await.unwrap();
    assert_eq!(fanout.position(), at(3));
    let got: Vec<_> = queues.iter_mut().map(sequences).collect();
    assert_eq!(got, [vec![], vec![1], vec![]]);
    assert_eq!(fanout.0.received.get(), 3);
}

#[test]
fn a_subject_tells_whether_it_is_wanted() {
    let (fanout, _queues) = queues(2);
    for name in ["a", "two words", "$user.a.b", "$ns.a%2Eb.room"] {
        let wanted = channel(name);
        let subject = wanted.to_subject();
        assert!(!fanout.is_wanted(&subject), "{name}");
        assert!(fanout.pass_by(&subject, at(1)), "{name}");
        fanout.want(1, &wanted);
        assert!(fanout.is_wanted(&subject), "{name}");
        assert!(!fanout.pass_by(&subject, at(2)), "{name}");
    }
    assert!(fanout.is_wanted("$sid.abc"), "nobody says that he wants it");
    assert_eq!(fanout.position(), at(1), "what is wanted is not passed by");
    assert_eq!(fanout.0.received.get(), 4);
}

#[tokio::test]
async fn sessions_own_channels_and_news_of_the_feed_come_to_all() {
    let (fanout, mut queues) = queues(2);
    fanout.send(publication(Channel::sid("abc").unwrap(), 1)).await.unwrap();
    fanout.send(FeedItem::Epoch(at(9))).await.unwrap();
    assert_eq!(fanout.position(), at(9));
    for queue in &mut queues {
        assert!(matches!(queue.try_recv(), Ok(FeedItem::Publication(_))));
        assert!(matches!(queue.try_recv(), Ok(FeedItem::Epoch(_))));
    }
}

#[tokio::test]
async fn more_shards_than_bits_miss_nothing() {
    let (fanout, mut queues) = queues(70);
    for shard in [0, 62, 63, 69] {
        fanout.want(shard, &channel("a"));
    }
    fanout.unwant(69, &channel("a"));
    fanout.send(publication(channel("a"), 1)).await.unwrap();
    for shard in [0, 62, 63] {
        assert_eq!(sequences(&mut queues[shard]), [1], "shard {shard}");
    }
    assert!(sequences(&mut queues[1]).is_empty());
}

#[tokio::test]
async fn a_place_is_reached_when_the_feed_is_there() {
    let (fanout, _queues) = queues(1);
    let reach = fanout.reach(at(2));
    tokio::pin!(reach);
    assert!(futures_util::poll!(&mut reach).is_pending());
    fanout.send(publication(channel("a"), 1)).await.unwrap();
    assert!(futures_util::poll!(&mut reach).is_pending());
    fanout.send(publication(channel("a"), 2)).await.unwrap();
    assert!(futures_util::poll!(&mut reach).is_ready());
    // Another life has no such place: that is for others to tell.
    assert!(futures_util::poll!(std::pin::pin!(fanout.reach(Position::default()))).is_ready());
}

/// While another thread publishes: a shard that wants a channel gets each one
/// that comes after the position that it is told.
#[test]
fn nothing_falls_between_the_wish_and_the_position() {
    let (fanout, mut queues) = queues(1);
    let stop = AtomicBool::new(false);
    let mut missed = None;
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut sequence = 0;
            while !stop.load(Ordering::Relaxed) {
                sequence += 1;
                // Without a runtime: room is there, or the reader makes it.
                let sent = fanout.send(publication(channel("a"), sequence));
                futures_util::FutureExt::now_or_never(sent);
                if fanout.position().sequence < sequence {
                    sequence -= 1;
                }
            }
        });
        for _ in 0..300 {
            fanout.want(0, &channel("a"));
            let place = fanout.position().sequence;
            let mut got = Vec::new();
            while got.is_empty() && !publisher.is_finished() {
                got = sequences(&mut queues[0]);
                got.retain(|sequence| *sequence > place);
            }
            let wanted: Vec<u64> = (place + 1..).take(got.len()).collect();
            if got != wanted {
                missed = Some((place, got));
                break;
            }
            fanout.unwant(0, &channel("a"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(missed, None, "the place, and what came after it");
}

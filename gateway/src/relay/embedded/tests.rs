#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use gateway_config::{ChannelRule, Pattern, SlowConsumer};
use tokio::sync::mpsc;

use super::*;
use crate::publication::Value;

fn rule(pattern: &str, seconds: u64) -> ChannelRule {
    ChannelRule {
        matches: Pattern::new(pattern).unwrap(),
        history: Some(History { max_messages: 100, max_age: Period::from_secs(seconds) }),
        client_publish: None,
        anonymous: None,
        slow_consumer: SlowConsumer::default(),
        max_payload: None,
    }
}

fn start(fanout: Fanout) -> (Arc<EmbeddedRelay>, Arc<AtomicU64>) {
    start_with(fanout, 64 << 20)
}

fn start_with(fanout: Fanout, history_bytes: usize) -> (Arc<EmbeddedRelay>, Arc<AtomicU64>) {
    let rules = Rules::new(vec![rule("short.*", 10), rule("long.*", 3_600)], 1_000)
        .with_history_bytes(Some(history_bytes))
        .shared();
    let time = Arc::new(AtomicU64::new(1_000_000));
    let shown = Arc::clone(&time);
    let clock = Clock::new(move || shown.load(Ordering::Relaxed));
    let relay = EmbeddedRelay::new(EmbeddedOptions {
        rules,
        fanout,
        max_disconnection: None,
        metrics: Metrics::default(),
        clock,
    });
    (relay, time)
}

async fn publish(relay: &EmbeddedRelay, name: &str) -> Position {
    let channel = Channel::new(name).unwrap();
    let new = NewPublication::new(channel, "e", Value::null());
    relay.publish(new).await.unwrap().position.unwrap()
}

async fn lost(relay: &EmbeddedRelay, name: &str, from: Position) -> bool {
    let channel = Channel::new(name).unwrap();
    let channels = vec![(channel, from.sequence)];
    let request = Replay { from, channels, until: relay.head(), last: None };
    !relay.replay(request).await.unwrap().lost.is_empty()
}

#[tokio::test]
async fn time_never_goes_back() {
    let (relay, time) = start(Fanout::unasked(Vec::new()));
    let first = publish(&relay, "long.a").await;
    time.fetch_sub(500_000, Ordering::Relaxed);
    let second = publish(&relay, "long.a").await;
    assert_eq!((second.sequence, second.time), (first.sequence + 1, first.time));
}

/// A client that came in a quiet time holds an old position. What then comes
/// and goes on another channel is not its channel's loss.
#[tokio::test]
async fn a_position_does_not_age_while_nothing_is_published() {
    let (relay, time) = start(Fanout::unasked(Vec::new()));
    let from = publish(&relay, "long.other").await;
    time.fetch_add(86_400_000, Ordering::Relaxed);
    publish(&relay, "short.a").await;
    time.fetch_add(60_000, Ordering::Relaxed);
    relay.sweep();
    assert!(!lost(&relay, "long.quiet", from).await);
    assert!(lost(&relay, "short.a", from).await);
}

#[tokio::test]
async fn a_stopped_shard_is_an_error() {
    let (sender, feed) = mpsc::channel(1);
    let (relay, _) = start(Fanout::unasked(vec![sender]));
    drop(feed);
    let new = NewPublication::new(Channel::all(), "e", Value::null());
    assert_eq!(relay.publish(new).await.unwrap_err(), RelayError::Stopped);
}

#[tokio::test]
async fn memory_is_given_back_by_itself_until_the_stop() {
    let (relay, time) = start(Fanout::unasked(Vec::new()));
    for number in 0..1_000 {
        publish(&relay, &format!("short.{number}")).await;
    }
    assert_eq!(relay.lock().logs.len(), 1_000);
    time.fetch_add(11_000, Ordering::Relaxed);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let swept = Arc::clone(&relay);
    let sweeper = tokio::spawn(async move {
        swept.run(async move { drop(stopped.await) }).await;
    });
    while relay.lock().logs.len() > 0 {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    sweeper.await.unwrap();
}

#[tokio::test]
async fn history_that_is_full_gives_up_its_oldest_and_counts_it() {
    let (relay, time) = start_with(Fanout::unasked(Vec::new()), 20_000);
    let first = publish(&relay, "long.a").await;
    for _ in 0..99 {
        publish(&relay, "long.b").await;
        if relay.metrics.history_removed_early.get() > 0 {
            break;
        }
    }
    assert_eq!(relay.metrics.history_removed_early.get(), 1);
    assert!(relay.metrics.history_bytes.get() <= 20_000);
    assert!(relay.lock().overflowing);
    let before = Position { sequence: 0, ..first };
    assert!(lost(&relay, "long.a", before).await, "the oldest of all went first");
    assert!(!lost(&relay, "long.b", first).await, "of this one nothing went yet");
    // When it empties it may be full anew, and that is said anew.
    time.fetch_add(7_200_000, Ordering::Relaxed);
    relay.sweep();
    assert_eq!(relay.metrics.history_bytes.get(), 0);
    assert!(!relay.lock().overflowing);
}

#[tokio::test]
async fn one_that_is_larger_than_all_history_stays_until_the_next() {
    let (relay, _) = start_with(Fanout::unasked(Vec::new()), 4_000);
    let large = || {
        let channel = Channel::new("long.large").unwrap();
        NewPublication::new(channel, "e", Value::json(&"x".repeat(10_000)))
    };
    let small = publish(&relay, "long.small").await;
    let position = relay.publish(large()).await.unwrap().position.unwrap();
    assert!(!lost(&relay, "long.large", small).await, "it can be replayed");
    assert!(relay.metrics.history_bytes.get() > 4_000);
    publish(&relay, "long.small").await;
    assert!(relay.metrics.history_bytes.get() <= 4_000);
    assert!(lost(&relay, "long.large", small).await);
    assert!(!lost(&relay, "long.small", position).await);
}

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
    let rules = Rules::new(vec![rule("short.*", 10), rule("long.*", 3_600)], 1_000).shared();
    let time = Arc::new(AtomicU64::new(1_000_000));
    let shown = Arc::clone(&time);
    let clock = Clock::new(move || shown.load(Ordering::Relaxed));
    (EmbeddedRelay::with_clock(rules, fanout, None, clock), time)
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

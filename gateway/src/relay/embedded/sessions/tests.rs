#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::channel::Channel;
use crate::offset::Position;
use crate::relay::SubscriptionRecord;

fn record() -> SessionRecord {
    SessionRecord {
        sid: "s".into(),
        namespace: "/".into(),
        user: None,
        began: 0,
        subscriptions: Vec::new(),
    }
}

fn sessions(max_disconnection: Option<Period>) -> (EmbeddedSessions, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(1_000));
    let shown = Arc::clone(&time);
    let clock = Clock::new(move || shown.load(Ordering::Relaxed));
    (
        EmbeddedSessions::new(
            max_disconnection,
            Fanout::unasked(Vec::new()),
            clock,
            Metrics::default(),
        ),
        time,
    )
}

#[tokio::test]
async fn memory_is_given_back() {
    let (sessions, time) = sessions(Some(Period::from_secs(10)));
    for number in 0..5_000 {
        let pid = Arc::from(number.to_string());
        let owner = sessions.create(&pid, record()).await.unwrap();
        sessions.closed(&pid, owner);
        if number % 2 == 0 {
            sessions.delete(&pid, owner);
        }
    }
    assert_eq!(sessions.lock().sessions.len(), 2_500);
    time.fetch_add(10_000, Ordering::Relaxed);
    assert!(sessions.sweep(100), "none is over");
    time.fetch_add(1, Ordering::Relaxed);
    assert!(!sessions.sweep(4_000), "there are more");
    assert!(sessions.sweep(4_000));
    let table = sessions.lock();
    assert_eq!((table.sessions.len(), table.closed.len()), (0, 0));
    assert!(table.sessions.capacity() < 2_000 && table.closed.capacity() < 2_000);
}

#[tokio::test]
async fn the_oldest_closed_go_when_there_are_too_many() {
    let (sessions, _) = sessions(Some(Period::from_secs(10)));
    for number in 0..=MAX_CLOSED {
        let pid = Arc::from(number.to_string());
        let owner = sessions.create(&pid, record()).await.unwrap();
        sessions.closed(&pid, owner);
    }
    assert_eq!(sessions.lock().sessions.len(), MAX_CLOSED);
    assert_eq!(sessions.claim("0").await.unwrap(), Claim::Unknown);
    assert_ne!(sessions.claim("1").await.unwrap(), Claim::Unknown);
    assert_eq!(sessions.metrics.sessions_not_kept.get(), 1);
}

#[tokio::test]
async fn the_oldest_closed_go_when_they_hold_too_much() {
    let (sessions, _) = sessions(Some(Period::from_secs(10)));
    let subscription = SubscriptionRecord {
        channel: Channel::new(&"x".repeat(200)).unwrap(),
        start: Position::default(),
        joined: Position::default(),
        meta: false,
    };
    let large = SessionRecord { subscriptions: vec![subscription; 1000], ..record() };
    let owner = Owner(1);
    let each =
        Session { record: PackedRecord::new(&large), owner, closed: NonZero::new(1) }.counted();
    for number in 0..700 {
        let pid = Arc::from(number.to_string());
        let owner = sessions.create(&pid, large.clone()).await.unwrap();
        sessions.closed(&pid, owner);
        // One that comes and goes counts once.
        if number == 0 {
            for _ in 0..1_000 {
                let Claim::Granted(_, owner) = sessions.claim("0").await.unwrap() else {
                    panic!("it is there")
                };
                sessions.closed(&pid, owner);
            }
        }
    }
    let (count, bytes) = {
        let table = sessions.lock();
        (table.sessions.len(), table.closed_bytes)
    };
    assert_eq!(count, MAX_CLOSED_BYTES / each);
    assert!(bytes <= MAX_CLOSED_BYTES && bytes > MAX_CLOSED_BYTES - each);
    assert_eq!(sessions.claim("1").await.unwrap(), Claim::Unknown);
    assert_ne!(sessions.claim("699").await.unwrap(), Claim::Unknown);
    time_is_over(&sessions).await;
}

/// Nothing is left behind when all are forgotten.
async fn time_is_over(sessions: &EmbeddedSessions) {
    let pids: Vec<Arc<str>> = sessions.lock().sessions.keys().cloned().collect();
    for pid in pids {
        if let Claim::Granted(_, owner) = sessions.claim(&pid).await.unwrap() {
            sessions.delete(&pid, owner);
        }
    }
    assert_eq!(sessions.lock().closed_bytes, 0);
}

#[tokio::test]
async fn without_recovery_nothing_is_kept_and_nobody_is_turned_away() {
    let (sessions, _) = sessions(None);
    let pid = Arc::from("p");
    let owner = sessions.create(&pid, record()).await.unwrap();
    assert!(sessions.put(&pid, owner, record()).await.unwrap());
    assert_eq!(sessions.claim("p").await.unwrap(), Claim::Unknown);
    assert!(sessions.lock().sessions.is_empty());
}

/// Taking over and telling the owner are one step: who gives up while the
/// queues are full has taken nothing.
#[tokio::test]
async fn a_claim_that_is_given_up_takes_nothing() {
    let (sender, mut feed) = mpsc::channel(1);
    let clock = Clock::new(|| 0);
    let fanout = Fanout::unasked(vec![sender.clone()]);
    let sessions =
        EmbeddedSessions::new(Some(Period::from_secs(10)), fanout, clock, Metrics::default());
    let pid = Arc::from("p");
    let owner = sessions.create(&pid, record()).await.unwrap();
    sender.send(FeedItem::Epoch(crate::offset::Position::default())).await.unwrap();
    {
        let mut claim = sessions.claim("p");
        let waker = std::task::Waker::noop();
        let poll = claim.as_mut().poll(&mut std::task::Context::from_waker(waker));
        assert!(poll.is_pending());
    }
    assert!(sessions.put(&pid, owner, record()).await.unwrap());
    feed.recv().await.unwrap();
    assert!(feed.try_recv().is_err(), "nobody was fenced");
}

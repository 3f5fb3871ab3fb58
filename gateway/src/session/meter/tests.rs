#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use gateway_config::Limits;
use tokio::time::advance;

use super::{Meter, Weighed};

fn meter(messages: usize, bytes: usize) -> Meter {
    let limits =
        Limits { messages_per_second: messages, bytes_per_second: bytes, ..Limits::default() };
    *Meter::new(&limits, 1_000).unwrap()
}

#[test]
fn without_a_limit_there_is_no_meter() {
    assert!(Meter::new(&Limits::default(), 1_000).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_second_of_messages_may_come_at_once_then_so_many_a_second() {
    let meter = meter(10, 0);
    let good = |count: usize| (0..count).filter(|_| meter.message(50) == Weighed::Good).count();
    assert_eq!(good(20), 10);
    advance(Duration::from_millis(500)).await;
    assert_eq!(good(20), 5);
    advance(Duration::from_mins(1)).await;
    assert_eq!(good(20), 10);
}

#[tokio::test(start_paused = true)]
async fn bytes_count_by_themselves_and_one_message_always_fits() {
    let meter = meter(0, 100);
    assert_eq!(meter.message(1_000), Weighed::Good, "as large as one may be");
    assert_eq!(meter.message(1), Weighed::Refused("bytesPerSecond"));
    advance(Duration::from_secs(9)).await;
    assert_eq!(meter.message(800), Weighed::Good);
    meter.part(500);
    assert_eq!(
        meter.message(0),
        Weighed::Refused("bytesPerSecond"),
        "its attachments were too many"
    );
}

#[tokio::test(start_paused = true)]
async fn who_does_not_stop_is_closed_and_who_pauses_is_not() {
    let patient = meter(1, 0);
    for _ in 0..100 {
        assert!(!matches!(patient.message(1), Weighed::Abuse(_)));
        assert!(!matches!(patient.message(1), Weighed::Abuse(_)));
        advance(Duration::from_millis(1_100)).await;
    }
    let stubborn = meter(1_000, 0);
    let mut weighed = Weighed::Good;
    for _ in 0..130 {
        for _ in 0..150 {
            weighed = stubborn.message(1);
        }
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(weighed, Weighed::Abuse("messagesPerSecond"), "10 seconds of half as much again");
    let flood = meter(10, 0);
    let closed = (0..200).position(|_| matches!(flood.message(1), Weighed::Abuse(_)));
    assert_eq!(closed, Some(110));
}

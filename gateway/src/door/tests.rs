#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use gateway_config::Limits;

use super::counts::Counts;
use super::pace::{Pace, Paces};
use super::{Door, neighbourhood};
use crate::auth::Identity;
use crate::error::ErrorCode;
use crate::metrics::{LimitLabel, Metrics};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn door(limits: Limits) -> (Arc<Door>, Metrics) {
    let metrics = Metrics::default();
    let limits = Arc::new(ArcSwap::from_pointee(limits));
    (Door::new(limits, metrics.clone(), usize::MAX), metrics)
}

fn counted(metrics: &Metrics, limit: &'static str) -> u64 {
    metrics.limited.get_or_create(&LimitLabel { limit }).get()
}

#[test]
fn a_pace_lets_a_burst_in_then_so_many_a_second() {
    let pace = Pace::default();
    let take = |now| pace.take(now, 100, ms(50), ms(30));
    let waits: Vec<_> = (0..9).map(|_| take(ms(1_000))).collect();
    let free = Some(Duration::ZERO);
    // Five within 50 ms; three wait their turn; the next would wait too long.
    let expected = [free, free, free, free, free, Some(ms(10)), Some(ms(20)), Some(ms(30)), None];
    assert_eq!(waits, expected);
    // Who was refused took no turn.
    assert_eq!(take(ms(1_010)), Some(ms(30)));
    assert_eq!(take(ms(5_000)), free);
}

#[test]
fn an_address_is_paced_by_itself_in_bounded_memory() {
    let paces = Paces::default();
    let take = |address, now| paces.take(address, now, 2, ms(1_000));
    let loud = address("192.0.2.1");
    assert_eq!([0; 4].map(|_| take(loud, ms(0))), [true, true, false, false]);
    assert!(take(address("192.0.2.2"), ms(0)));
    assert!(take(loud, ms(500)));
    assert!(!take(loud, ms(500)));
    // Addresses without number: still nearly everybody gets a turn.
    let refused =
        (0..2_000_u32).filter(|n| !take(IpAddr::from(n.to_be_bytes()), ms(10_000))).count();
    assert!(refused < 20, "{refused}");
}

#[test]
fn ipv6_is_counted_by_what_one_customer_has() {
    for (one, other, same) in [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ("192.0.2.1", "192.0.2.2", false),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
    ] {
        let same_place = neighbourhood(address(one)) == neighbourhood(address(other));
        assert_eq!(same_place, same, "{one} {other}");
    }
}

#[test]
fn nothing_is_kept_of_who_has_gone() {
    let counts = Arc::new(Counts::default());
    let held: Vec<_> = (0..10_000).map(|n| counts.add(n, 1).unwrap()).collect();
    assert!(counts.add(5, 1).is_none());
    assert_eq!(counts.keys(), 10_000);
    drop(held);
    assert_eq!(counts.keys(), 0);
    assert!(counts.add(5, 1).is_some());
}

#[tokio::test]
async fn each_limit_has_its_words_its_code_and_its_metric() {
    let off = Limits { connect_rate: 0, ..Limits::default() };
    for (limits, label, code) in [
        (Limits { connections: 1, ..off.clone() }, "connections", ErrorCode::LimitConnections),
        (
            Limits { connections_per_address: 1, ..off.clone() },
            "connectionsPerAddress",
            ErrorCode::LimitConnections,
        ),
        (
            Limits { connect_rate_per_address: 1, ..off },
            "connectRatePerAddress",
            ErrorCode::RateLimited,
        ),
    ] {
        let (door, metrics) = door(limits);
        let place = door.enter(address("192.0.2.1")).await.unwrap();
        let error = door.enter(address("192.0.2.1")).await.err().unwrap();
        assert_eq!(error.code, code, "{label}");
        assert!(error.message.contains(label), "{}", error.message);
        assert_eq!(counted(&metrics, label), 1);
        assert_eq!(door.open(), 1, "who is refused has no place");
        drop(place);
        assert_eq!(door.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stampede_waits_a_moment_and_no_longer() {
    let (door, metrics) = door(Limits { connect_rate: 10, ..Limits::default() });
    let begin = tokio::time::Instant::now();
    let all = (0..20).map(|_| door.enter(address("192.0.2.1")));
    let all = futures_util::future::join_all(all).await;
    let places = all.iter().filter(|entered| entered.is_ok()).count();
    // One at once, ten within the second that the others may wait.
    assert!((11..=12).contains(&places), "{places}");
    assert!(begin.elapsed() >= ms(900));
    assert_eq!(metrics.connections_delayed.get(), places as u64 - 1);
    assert_eq!(counted(&metrics, "connectRate"), 20 - places as u64);
}

#[tokio::test]
async fn a_user_has_so_many_and_nobody_is_not_counted() {
    let (door, metrics) = door(Limits { connections_per_user: 2, ..Limits::default() });
    let ann = Identity { user: Some("ann".into()), ..Identity::default() };
    let bob = Identity { user: Some("bob".into()), ..Identity::default() };
    let one = door.user(&ann).unwrap();
    let _two = door.user(&ann).unwrap();
    let error = door.user(&ann).err().unwrap();
    assert_eq!(error.code, ErrorCode::LimitConnections);
    assert_eq!(counted(&metrics, "connectionsPerUser"), 1);
    assert!(door.user(&bob).is_ok());
    for _ in 0..10 {
        assert!(door.user(&Identity::default()).unwrap().is_none());
    }
    drop(one);
    assert!(door.user(&ann).is_ok());
}

#[tokio::test]
async fn short_of_memory_nobody_comes_in() {
    let (door, metrics) = door(Limits::default());
    let _in = door.enter(address("192.0.2.1")).await.unwrap();
    door.set_short(true);
    let error = door.enter(address("192.0.2.1")).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::LimitConnections);
    assert_eq!(counted(&metrics, "memory"), 1);
    door.set_short(false);
    assert!(door.enter(address("192.0.2.1")).await.is_ok());
    door.close();
    assert!(door.enter(address("192.0.2.1")).await.is_err());
    assert_eq!(counted(&metrics, "drain"), 1);
}

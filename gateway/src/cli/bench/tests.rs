#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stamp::Stamp;
use super::tally::{Ended, Tally};
use super::*;
use crate::cli::Command;

fn command(line: &str) -> Bench {
    let words = std::iter::once("push-gateway").chain(line.split(' '));
    match crate::cli::try_parse(words).unwrap().command {
        Some(crate::cli::AnyCommand::Other(Command::Bench(bench))) => bench,
        other => panic!("{other:?}"),
    }
}

#[test]
fn its_load_is_bounded() {
    for line in [
        "bench --clients 20001",
        "bench --clients 0",
        "bench --rate 10001",
        "bench --connect-rate 0",
        "bench --size 63",
        "bench --channels 0",
    ] {
        let words = std::iter::once("push-gateway").chain(line.split(' '));
        assert!(crate::cli::try_parse(words).is_err(), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_counts_from_when_it_was_due() {
    let stamp = Stamp::new(128);
    let due = Instant::now() + Duration::from_millis(5);
    let data = stamp.data(due);
    assert_eq!(data.len(), 128);
    serde_json::from_str::<Value>(&data).expect("it is JSON");
    let others = Stamp::new(128).data(due).replace("bench\":\"", "bench\":\"other");
    tokio::time::advance(Duration::from_millis(20)).await;
    let mut delays = Vec::new();
    stamp.delays(format!("42[\"message\",{data}]{others}{data}").as_bytes(), |d| delays.push(d));
    assert_eq!(delays, [Duration::from_millis(15); 2], "of this run's alone");
}

#[test]
fn data_is_as_long_as_asked_for_or_as_it_must_be() {
    assert_eq!(Stamp::new(1_000).data(Instant::now()).len(), 1_000);
    let short = Stamp::new(64).data(Instant::now());
    serde_json::from_str::<Value>(&short).expect("it is JSON");
}

#[test]
fn what_was_missed_is_told() {
    let tally = Tally::new(2);
    for channel in [0, 0, 1] {
        tally.subscribe(channel);
    }
    tally.publish(0, Duration::from_millis(1));
    tally.publish(1, Duration::from_millis(1));
    tally.deliver(&[Duration::from_millis(2), Duration::from_millis(3)]);
    let why = Failure::Unreachable("it closed".to_owned());
    tally.end(Ended { subscribed: true, why });
    let outcome =
        report::Outcome::new(&command("bench --clients 3"), &tally, report::Spent::default());
    assert!(!outcome.is_whole());
    let told: Value = serde_json::from_str(&outcome.to_json()).unwrap();
    assert_eq!(told["deliveries"]["expected"], 3);
    assert_eq!(told["deliveries"]["missing"], 1);
    assert_eq!(told["clients"]["closed"], 1);
    assert_eq!(told["reasons"], json!([{"reason": "it closed", "count": 1}]));
    let text = outcome.to_text();
    assert!(text.contains("2 of 3, 1 missing") && text.contains("1 x it closed"), "{text}");
}

#[test]
fn a_run_without_a_delivery_has_no_percentiles() {
    let tally = Tally::new(1);
    let outcome =
        report::Outcome::new(&command("bench --clients 1"), &tally, report::Spent::default());
    assert!(outcome.to_text().contains("delivery             -"), "{}", outcome.to_text());
}

//! A channel gains history, and loses it, while gateways run that learn of it
//! at different times.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use tests::plain::Plain;
use tokio_util::sync::CancellationToken;

use super::*;

/// Time between two publications: 50 in a second.
const PERIOD: Duration = Duration::from_millis(20);
/// A gateway looks at its file every two seconds.
const APART: Duration = Duration::from_secs(4);

fn config(url: &str, generation: u64, kept: bool) -> String {
    let history = if kept { ", history: {maxMessages: 10000, maxAge: 1h}" } else { "" };
    format!(
        "peer: {{secret: {SECRET}}}\nrelay: {{url: '{url}'}}\ngeneration: {generation}\n\
         channels: [{{match: 'news'{history}}}, {{match: 'other', history: {{maxMessages: 10000, maxAge: 1h}}}}]\n"
    )
}

fn reload(file: &Path, config: &str) {
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, config).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

/// What a subscriber got, in its order.
type Seen = Arc<Mutex<Vec<u64>>>;

async fn watch(gateway: &Gateway, end: CancellationToken) -> Seen {
    let seen = Seen::default();
    let mut client = Plain::connect(gateway).await;
    client.call("subscribe", &json!({"channel": "news"})).await.unwrap();
    let sink = seen.clone();
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = client.listen() => message,
                () = end.cancelled() => return,
            };
            if let Some(number) = message["data"].as_u64() {
                sink.lock().unwrap().push(number);
            }
        }
    });
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_gains_history_and_loses_it() {
    let nats = Nats::single();
    let file = |generation, kept| config(&nats.url(), generation, kept);
    let end = CancellationToken::new();
    let gateways: Vec<_> = (0..2).map(|_| Gateway::start(&file(0, false))).collect();
    let mut seen = Vec::new();
    for gateway in &gateways {
        gateway.ready().await;
        for _ in 0..2 {
            seen.push(watch(gateway, end.clone()).await);
        }
    }
    let app = async_nats::connect(nats.url()).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move {
            let mut number = 0_u64;
            let mut every = tokio::time::interval(PERIOD);
            while !stop.load(Ordering::Relaxed) {
                every.tick().await;
                app.publish("push.pub.news", number.to_string().into()).await.unwrap();
                number += 1;
            }
            app.flush().await.unwrap();
            number
        }
    });
    for (generation, kept) in [(1, true), (2, false), (3, true)] {
        for gateway in &gateways {
            tokio::time::sleep(APART).await;
            reload(gateway.config_file(), &file(generation, kept));
        }
    }
    tokio::time::sleep(APART).await;
    stop.store(true, Ordering::Relaxed);
    let count = publisher.await.unwrap();
    let last = |seen: &Seen| seen.lock().unwrap().last() == Some(&(count - 1));
    eventually("the last publication", || async { seen.iter().all(last) }).await;
    tokio::time::sleep(tests::patience::QUIET).await;

    let stored = stored(&app).await;
    let first = *stored.first().unwrap();
    println!("{count} published, {} stored from {first} on", stored.len());
    assert!(stored.len() > 200 && (stored.len() as u64) < count, "it was stored for a while");
    for seen in &seen {
        let seen = seen.lock().unwrap();
        assert!(seen.is_sorted_by(|a, b| a < b), "twice, or out of order: {:?}", disorder(&seen));
        let missing: Vec<_> = stored.iter().filter(|n| seen.binary_search(n).is_err()).collect();
        assert_eq!(missing, Vec::<&u64>::new(), "stored, and not seen");
        // Without history at most once; on a healthy server all.
        println!("seen {} of {count}", seen.len());
        assert_eq!(seen.len() as u64, count);
    }
    for gateway in &gateways {
        let reloads = metric(gateway, "push_config_reloads_total").await;
        assert!(reloads.is_some_and(|reloads| reloads >= 3.0), "{reloads:?}");
    }
    end.cancel();
}

/// The numbers around the first that is not above the one before it.
fn disorder(seen: &[u64]) -> Option<&[u64]> {
    let at = seen.windows(2).position(|pair| pair[0] >= pair[1])?;
    Some(&seen[at.saturating_sub(5)..seen.len().min(at + 7)])
}

/// The numbers that the stream has.
async fn stored(app: &async_nats::Client) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut next = 1;
    loop {
        let get = json!({"seq": next, "next_by_subj": "push.pub.news"}).to_string();
        let got = app.request("$JS.API.STREAM.MSG.GET.PUSH_push", get.into()).await.unwrap();
        let got: Value = serde_json::from_slice(&got.payload).unwrap();
        let Some(sequence) = got["message"]["seq"].as_u64() else { return numbers };
        next = sequence + 1;
        let data = got["message"]["data"].as_str().unwrap();
        let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        numbers.push(String::from_utf8(data).unwrap().parse().unwrap());
    }
}

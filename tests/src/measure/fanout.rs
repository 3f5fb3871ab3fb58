//! Deliveries to clients of one gateway, and of two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::{Crowd, World};

/// Clients, over all gateways.
const CLIENTS: usize = 500;
/// Publishes under way at once, when as many as possible are wanted.
const IN_FLIGHT: usize = 8;
const FLOOD: Duration = Duration::from_secs(5);
const PACED: u64 = 100;
const PACE: Duration = Duration::from_millis(50);

/// One broadcast channel, its clients spread over `gateways` (0: one with the
/// embedded relay); published at the first. Prints a row.
///
/// # Errors
///
/// When something is missing.
pub async fn across(gateways: usize, channel: &str) -> anyhow::Result<()> {
    let world = World::start(gateways, "").await;
    let crowd = Crowd::connect(CLIENTS, |number| {
        let gateway = &world.gateways[number % world.gateways.len()];
        (gateway.client_address().to_owned(), vec![channel.to_owned()])
    })
    .await?;
    let url = format!("{}/v1/publish", world.gateways[0].api());
    let http = reqwest::Client::new();

    // Paced first: how long one is under way.
    let mut ticks = interval(PACE);
    for _ in 0..PACED {
        ticks.tick().await;
        let body = json!({"channel": channel, "event": "m", "data": crowd.data(true)});
        http.post(&url).json(&body).send().await?.error_for_status()?;
    }
    crowd.until(PACED * CLIENTS as u64).await?;
    let (half, most) = crowd.delays();

    let (cpu, nats_cpu) = (world.gateways_cpu(), world.nats_cpu());
    let before = crowd.seen.load(Ordering::Relaxed);
    let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begin = Instant::now();
    let mut publishers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (http, url, stop) = (http.clone(), url.clone(), stop.clone());
        let published = published.clone();
        let body = json!({"channel": channel, "event": "m", "data": crowd.data(false)});
        publishers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = http.post(&url).json(&body).send().await?;
                ensure!(answer.status() == 200, "a publish was answered {}", answer.status());
                published.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    tokio::time::sleep(FLOOD).await;
    stop.store(true, Ordering::Relaxed);
    for publisher in publishers.join_all().await {
        publisher?;
    }
    let deliveries = published.load(Ordering::Relaxed) * CLIENTS as u64;
    crowd.until(before + deliveries).await?;
    let took = begin.elapsed().as_secs_f64();
    let rate = f64::from(u32::try_from(deliveries)?) / took;
    let (cpu, nats_cpu) = (world.gateways_cpu() - cpu, world.nats_cpu() - nats_cpu);
    let relay = match gateways {
        0 => "1, embedded".to_owned(),
        count => format!("{count}, NATS"),
    };
    let history = if channel.starts_with("kept.") { "yes" } else { "no" };
    println!(
        "| {relay} | {history} | {:.0}k | {:.2} | {:.2} | {:.2} ms | {:.2} ms |",
        rate / 1e3,
        cpu.per(deliveries),
        nats_cpu.per(deliveries),
        half.as_secs_f64() * 1e3,
        most.as_secs_f64() * 1e3,
    );
    Ok(())
}

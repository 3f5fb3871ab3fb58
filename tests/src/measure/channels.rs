//! Many channels, publications that nobody wants, and session records.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, interval, sleep};

use super::{Crowd, World};
use crate::raw::Raw;

const CLIENTS: usize = 1_000;
const EACH: usize = 100;
const PUBLISHED: usize = 5_000;

/// 1,000 clients with 100 channels each, all different; then one publication
/// to each of 5,000. Prints a row.
///
/// # Errors
///
/// When something is missing.
pub async fn many_channels() -> anyhow::Result<()> {
    let world = World::start(1, "").await;
    let gateway = &world.gateways[0];
    // What a client costs without channels is not asked here.
    let idle = Crowd::connect(CLIENTS, |_| (gateway.client_address().to_owned(), vec![])).await?;
    let alone = gateway.resident_kib();
    drop(idle);
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    let crowd = Crowd::connect(CLIENTS, |number| {
        let names = (0..EACH).map(|index| name(number * EACH + index));
        (gateway.client_address().to_owned(), names.collect())
    })
    .await?;
    let took = begin.elapsed();
    let bytes = (gateway.resident_kib().saturating_sub(alone) * 1024) / (CLIENTS * EACH) as u64;

    let cpu = world.gateways_cpu();
    publish(gateway.api(), |index| name(index * (CLIENTS * EACH / PUBLISHED))).await?;
    crowd.until(PUBLISHED as u64).await?;
    let many = (world.gateways_cpu() - cpu).per(PUBLISHED as u64);
    let cpu = world.gateways_cpu();
    publish(gateway.api(), |_| name(7)).await?;
    crowd.until(2 * PUBLISHED as u64).await?;
    let one = (world.gateways_cpu() - cpu).per(PUBLISHED as u64);
    println!(
        "| {} | {bytes} bytes | {one:.0} µs | {many:.0} µs |",
        format_args!("{:.1} s", took.as_secs_f64())
    );
    Ok(())
}

fn name(number: usize) -> String {
    format!("many.{number}")
}

async fn publish(api: &str, channel: impl Fn(usize) -> String) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    for index in 0..PUBLISHED {
        let body = json!({"channel": channel(index), "event": "m", "data": "x".repeat(126)});
        http.post(format!("{api}/v1/publish")).json(&body).send().await?.error_for_status()?;
    }
    Ok(())
}

/// What a history publication costs a gateway that has no subscriber for it,
/// at so many every 4 ms. Prints a row.
///
/// # Errors
///
/// When NATS can't be reached.
pub async fn unwanted(per_tick: u64) -> anyhow::Result<()> {
    const SECONDS: u64 = 5;
    let world = World::start(1, "").await;
    let client = async_nats::connect(world.nats().url()).await?;
    let cpu = world.gateways_cpu();
    sleep(Duration::from_secs(SECONDS)).await;
    let idle = world.gateways_cpu() - cpu;
    let cpu = world.gateways_cpu();
    let mut ticks = interval(Duration::from_millis(4));
    let mut count = 0;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(SECONDS) {
        ticks.tick().await;
        for number in 0..per_tick {
            let payload = format!("\"{:x<126}\"", "").into();
            client.publish(format!("push.pub.kept.{}", number % 10), payload).await?;
        }
        client.flush().await?;
        count += per_tick;
    }
    let gateway = &world.gateways[0];
    crate::patience::eventually("the gateway has read all", || async {
        let status = crate::api::status(gateway).await;
        status["lag"] == 0
    })
    .await;
    let cost = (world.gateways_cpu() - cpu - idle).per(count);
    println!("| a history publication that nobody wants, {count} in {SECONDS} s | {cost:.2} µs |");
    Ok(())
}

/// What it costs that a session can be recovered: connects and subscribes
/// with a record, and without. Prints a row each.
///
/// # Errors
///
/// When something is missing.
pub async fn session_records() -> anyhow::Result<()> {
    const COUNT: usize = 2_000;
    for (name, query) in [("recoverable", ""), ("`recovery=0`", "&recovery=0")] {
        let world = World::start(1, "").await;
        let address = world.gateways[0].client_address();
        let (cpu, nats_cpu) = (world.gateways_cpu(), world.nats_cpu());
        let mut sockets = Vec::new();
        for _ in 0..COUNT {
            let mut socket = Raw::open(address, query).await?;
            socket.join(&[]).await?;
            sockets.push(socket);
        }
        let connect = (world.gateways_cpu() - cpu, world.nats_cpu() - nats_cpu);
        let (cpu, nats_cpu) = (world.gateways_cpu(), world.nats_cpu());
        for (index, socket) in sockets.iter_mut().enumerate() {
            let channel = format!("kept.{}", index % 100);
            socket.send(format!("420{}", json!(["push:subscribe", channel]))).await?;
            while !socket.next().await?.starts_with("430") {}
        }
        let subscribe = (world.gateways_cpu() - cpu, world.nats_cpu() - nats_cpu);
        let count = COUNT as u64;
        println!(
            "| {name} | {:.0} µs | {:.0} µs | {:.0} µs | {:.0} µs |",
            connect.0.per(count),
            connect.1.per(count),
            subscribe.0.per(count),
            subscribe.1.per(count)
        );
    }
    Ok(())
}

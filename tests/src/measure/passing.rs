//! Polls that are forwarded and WebSockets that are spliced, beside those that
//! came to their own gateway.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::{Cpu, Crowd, World};
use crate::raw::Raw;

const CLIENTS: usize = 100;
const POLLED: u64 = 100;
const POLL_PACE: Duration = Duration::from_millis(50);
const SPLICED: u64 = 1_000;
const SPLICE_PACE: Duration = Duration::from_millis(5);
const CHANNEL: &str = "passing";

/// A polling session, wherever its requests go.
struct Session {
    http: reqwest::Client,
    base: String,
    sid: String,
}

/// Polls of clients that come to their own gateway, and to another. Prints a
/// row each.
///
/// # Errors
///
/// When something is missing.
pub async fn forwarded() -> anyhow::Result<()> {
    for (name, at) in [("polls at their own gateway", 0), ("forwarded polls", 1)] {
        let world = World::start(2, "").await;
        let owner = world.gateways[0].client();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let mut session = Session::open(owner).await?;
            world.gateways[at].client().clone_into(&mut session.base);
            clients.spawn(async move { session.read(POLLED).await });
        }
        let cpu = world.gateways_cpu();
        publish(&world, POLLED, POLL_PACE).await?;
        let mut polls = 0;
        for count in clients.join_all().await {
            polls += count?;
        }
        row(name, "poll", world.gateways_cpu() - cpu, polls);
    }
    Ok(())
}

/// The same for WebSockets that upgrade a session.
///
/// # Errors
///
/// When something is missing.
pub async fn spliced() -> anyhow::Result<()> {
    for (name, at) in [("WebSockets at their own gateway", 0), ("spliced WebSockets", 1)] {
        let world = World::start(2, "").await;
        let owner = world.gateways[0].client();
        let mut crowd = Crowd::empty();
        for _ in 0..CLIENTS {
            let session = Session::open(owner).await?;
            let query = format!("&sid={}", session.sid);
            let mut socket = Raw::open(world.gateways[at].client_address(), &query).await?;
            socket.send("2probe").await?;
            // The poll that the upgrade ends, as the official client's.
            while socket.next().await? != "3probe" {}
            socket.send("5").await?;
            crowd.add(socket);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let cpu = world.gateways_cpu();
        publish(&world, SPLICED, SPLICE_PACE).await?;
        let deliveries = SPLICED * CLIENTS as u64;
        crowd.until(deliveries).await?;
        row(name, "delivery", world.gateways_cpu() - cpu, deliveries);
    }
    Ok(())
}

fn row(name: &str, what: &str, cpu: Cpu, count: u64) {
    println!("| {name} | {:.1} µs a {what} |", cpu.per(count));
}

/// Publishes through the first gateway at a steady pace.
async fn publish(world: &World, count: u64, pace: Duration) -> anyhow::Result<()> {
    let url = format!("{}/v1/publish", world.gateways[0].api());
    let http = reqwest::Client::new();
    let mut ticks = interval(pace);
    let body = json!({"channel": CHANNEL, "event": "m", "data": "x".repeat(126)});
    for _ in 0..count {
        ticks.tick().await;
        http.post(&url).json(&body).send().await?.error_for_status()?;
    }
    Ok(())
}

// === impl Session ===

impl Session {
    /// Opens a session, joins, subscribes.
    async fn open(base: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::new();
        let url = format!("{base}/socket.io/?EIO=4&transport=polling");
        let text = http.get(&url).send().await?.text().await?;
        let handshake: Value = serde_json::from_str(text.strip_prefix('0').context("no open")?)?;
        let sid = handshake["sid"].as_str().context("no sid")?.to_owned();
        let session = Self { http, base: base.to_owned(), sid };
        session.post("40").await?;
        session.post(&format!("420{}", json!(["push:subscribe", CHANNEL]))).await?;
        while !session.poll().await?.contains("430[") {}
        Ok(session)
    }

    fn url(&self) -> String {
        format!("{}/socket.io/?EIO=4&transport=polling&sid={}", self.base, self.sid)
    }

    async fn post(&self, packet: &str) -> anyhow::Result<()> {
        let answer = self.http.post(self.url()).body(packet.to_owned()).send().await?;
        ensure!(answer.status() == 200, "{}", answer.text().await?);
        Ok(())
    }

    async fn poll(&self) -> anyhow::Result<String> {
        Ok(self.http.get(self.url()).send().await?.error_for_status()?.text().await?)
    }

    /// Polls until so many publications came. How many polls that took.
    async fn read(self, count: u64) -> anyhow::Result<u64> {
        let (mut seen, mut polls) = (0, 0);
        while seen < count {
            let text = self.poll().await?;
            polls += 1;
            for packet in text.split('\u{1e}') {
                seen += u64::from(packet.starts_with("42[\"m\""));
                if packet == "2" {
                    self.post("3").await?;
                }
            }
        }
        Ok(polls)
    }
}

//! Memory under a steady load: 20,000 deliveries a second to 200 Socket.IO
//! clients, half of them on a channel with history, for as many minutes as
//! the first argument says (10). Prints the gateway's resident memory each
//! minute, and fails when the last is over 4 MiB above the second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tests::gateway::Gateway;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Message;

const CLIENTS: usize = 200;
const PER_SECOND: u64 = 100;
const CONFIG: &str = "channels: [{match: soak.kept, history: {maxMessages: 1000, maxAge: 1h}}]";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let minutes = std::env::args().nth(1).map_or(Ok(10), |text| text.parse::<u64>())?;
    let gateway = Gateway::start(CONFIG);
    let received = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let channel = if index % 2 == 0 { "soak.kept" } else { "soak.passing" };
        let url = format!("{}/socket.io/?EIO=4&transport=websocket", gateway.client_ws());
        let counter = received.clone();
        clients.push(tokio::spawn(client(url, channel, counter)));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begin = Instant::now();
    let publisher = tokio::spawn(publish(format!("{}/v1/publish", gateway.api())));
    let mut at_two = 0;
    let mut last = 0;
    for minute in 1..=minutes {
        tokio::time::sleep_until(begin + Duration::from_secs(60 * minute)).await;
        last = gateway.resident_kib();
        if minute == 2 {
            at_two = last;
        }
        println!(
            "minute {minute}: {last} KiB resident, {} deliveries/s",
            received.load(Ordering::Relaxed) / (60 * minute)
        );
    }
    publisher.abort();
    for client in clients {
        client.abort();
    }
    let grown = last.saturating_sub(at_two);
    println!("grown by {grown} KiB since minute 2");
    anyhow::ensure!(grown <= 4 << 10, "over 4 MiB");
    Ok(())
}

/// Publishes to both channels in turn, so many times a second each.
async fn publish(url: String) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    let mut ticks = interval(Duration::from_millis(1_000 / PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let data = "x".repeat(126);
    for number in 0_u64.. {
        ticks.tick().await;
        for channel in ["soak.kept", "soak.passing"] {
            let body = serde_json::json!({
                "channel": channel, "event": "tick", "data": data, "id": number.to_string(),
            });
            http.post(&url).json(&body).send().await?.error_for_status()?;
        }
    }
    Ok(())
}

/// Subscribes and counts; answers pings.
async fn client(url: String, channel: &str, received: Arc<AtomicU64>) -> anyhow::Result<()> {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    socket.send(Message::text("40")).await?;
    socket.send(Message::text(format!(r#"420["push:subscribe","{channel}"]"#))).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        let text = message.to_text()?;
        if text == "2" {
            socket.send(Message::text("3")).await?;
        } else if text.starts_with(r#"42["tick""#) {
            received.fetch_add(1, Ordering::Relaxed);
        }
    }
    anyhow::bail!("a client was closed")
}

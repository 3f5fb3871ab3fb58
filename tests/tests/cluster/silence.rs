//! A quiet channel's publication arrives, whichever NATS server stood still.

use std::time::{Duration, Instant};

use tests::nats::Signal;
use tests::socketio::{Socket, Transport};

use super::*;

/// How long the server stands still.
const STILL: Duration = Duration::from_secs(40);
/// What is promised.
const PROMISED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_was_published_while_a_gateways_nats_server_stood_still_arrives() {
    let mut nats = Nats::cluster();
    let config = |url: &str| {
        format!(
            "peer: {{secret: {SECRET}}}\nrelay: {{url: '{url}', replicas: 3}}\n\
             channels: [{{match: 'kept.>', history: {{maxMessages: 1000, maxAge: 1h}}}}]\n"
        )
    };
    // Bound to the server that will stand still; and one that knows others.
    let bound = Gateway::start(&config(&nats.url_of(0)));
    let free = Gateway::start(&config(&nats.url()));
    let publisher = Gateway::start(&config(&format!("{},{}", nats.url_of(1), nats.url_of(2))));
    for gateway in [&bound, &free, &publisher] {
        gateway.ready().await;
    }
    let names: Vec<String> = (0..5).map(|number| format!("kept.{number}")).collect();
    let mut waiting = Socket::connect(&bound, Transport::WebSocket).await;
    let mut other = Socket::connect(&free, Transport::WebSocket).await;
    for name in &names {
        waiting.subscribe(name.as_str()).await;
        other.subscribe(name.as_str()).await;
    }
    nats.signal(0, Signal::Stop);
    let stopped = Instant::now();
    // One for each channel, and not a word after it.
    for (number, name) in names.iter().enumerate() {
        let body = json!({"channel": name, "event": "e", "data": number, "id": "once"});
        eventually("it is stored", || async {
            call(&publisher, None, "/v1/publish", &body).await.status == 200
        })
        .await;
    }
    let expected: Vec<usize> = (0..names.len()).collect();
    assert_eq!(all(&mut other, names.len()).await, expected, "by another server");
    tokio::time::sleep(STILL.saturating_sub(stopped.elapsed())).await;
    assert!(tests::quiet(waiting.app_event()).await, "it stood still");
    nats.signal(0, Signal::Continue);
    let back = Instant::now();
    assert_eq!(all(&mut waiting, names.len()).await, expected, "in order, each once");
    let took = back.elapsed();
    println!("all were there {took:?} after the server's return");
    assert!(took <= PROMISED, "{took:?}");
}

/// The numbers of the next publications.
async fn all(socket: &mut Socket, count: usize) -> Vec<usize> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let number = socket.app_event().await.args[0].as_u64().unwrap();
        seen.push(usize::try_from(number).unwrap());
    }
    seen
}

//! What hurts many when one does it: data that is awkward to read back,
//! clients that are slow, that leave in the middle, that never tire.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::{Value, json};
use tests::Gateway;
use tests::api::{call, metric, say};
use tests::engineio::{Polling, endpoint};
use tests::http::{request, send};
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::sse::Sse;
use tests::token::{AUTH, mint, now};
use tests::websocket::WebSocket;

const HISTORY: &str = r#"
channels:
- {match: "log.>", history: {maxMessages: 2000, maxAge: 1h}}
"#;

/// Publishes `data` as its JSON text stands.
async fn say_raw(gateway: &Gateway, channel: &str, data: &str) {
    let body = format!(r#"{{"channel":"{channel}","event":"e","data":{data}}}"#);
    let url = format!("{}/v1/publish", gateway.api());
    let post = request("POST", &url).header("content-type", "application/json").body(body);
    let reply = send(post).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn number(gateway: &Gateway, name: &str) -> f64 {
    metric(gateway, name).await.unwrap_or_default()
}

// --- data that is awkward to read back ---

#[tokio::test]
async fn history_of_any_json_can_be_read() {
    let deep = format!("{}1{}", "[".repeat(400), "]".repeat(400));
    for data in ["1e400", &deep, "12345678901234567890123", r#"{"b":1,"a":2}"#] {
        let gateway = Gateway::start(HISTORY);
        say_raw(&gateway, "log.a", data).await;
        let mut plain = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
        plain.send(r#"{"id":1,"history":{"channel":"log.a"}}"#).await;
        let mut got = String::new();
        while !got.contains(r#""id":1"#) {
            got = plain.text().await;
        }
        assert!(got.contains(&format!(r#""data":{data}"#)), "{data}: byte for byte in {got}");
        let mut socket = WebSocket::connect(&endpoint(&gateway, "websocket")).await;
        socket.send("40").await;
        socket.send(r#"427["push:history",{"channel":"log.a"}]"#).await;
        while !got.starts_with("437") {
            got = socket.text().await;
        }
        assert!(got.contains(&format!(r#""data":{data}"#)), "{data}: byte for byte in {got}");
        assert_eq!(number(&gateway, "push_session_panics_total").await, 0.0);
    }
}

#[tokio::test]
async fn a_page_of_history_fits_a_connection() {
    let gateway = Gateway::start(HISTORY);
    let large = "x".repeat(900_000);
    for _ in 0..10 {
        say(&gateway, "log.a", &*large).await;
    }
    let mut plain = Plain::connect(&gateway).await;
    let (mut got, mut arguments) = (0, json!({"channel": "log.a"}));
    loop {
        let page = plain.call("history", &arguments).await.unwrap();
        got += page["publications"].as_array().unwrap().len();
        let Some(next) = page.get("next") else { break };
        arguments["since"] = next.clone();
    }
    assert_eq!(got, 10);
}

// --- tokens that last ---

#[tokio::test]
async fn a_token_may_be_valid_for_years() {
    let gateway = Gateway::start(AUTH);
    let grant = json!([{"match": ">", "can": ["subscribe"]}]);
    let token = mint(&json!({"sub": "ada", "exp": now() + 10 * 365 * 86_400, "channels": grant}));
    let mut plain = Plain::try_connect(&gateway, Some(&token)).await.unwrap();
    plain.call("subscribe", &json!({"channel": "a"})).await.unwrap();
    let url = format!("{}/sse?channel=a&token={token}", gateway.client());
    let mut sse = Sse::open(&url, &[]).await.unwrap();
    sse.block().await.unwrap();
    let auth = json!({"token": token});
    let mut socket = Socket::join(&gateway, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    socket.subscribe("a").await;
    assert_eq!(number(&gateway, "push_session_panics_total").await, 0.0);
}

// --- more than the outbox holds ---

const SMALL_OUTBOX: &str = r#"
limits: {outboxMessages: 100}
channels:
- {match: "log.>", history: {maxMessages: 2000, maxAge: 1h}}
"#;

/// Publishes 0 to `count`.
async fn many(gateway: &Gateway, channel: &str, count: usize) {
    for start in (0..count).step_by(500) {
        let publications: Vec<Value> = (start..count.min(start + 500))
            .map(|n| json!({"channel": channel, "event": "e", "data": n}))
            .collect();
        let reply = call(gateway, None, "/v1/batch", &json!({"publications": publications})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

#[tokio::test]
async fn a_client_that_reads_is_not_slow() {
    let gateway = Gateway::start("limits: {outboxMessages: 30}");
    let mut plain = Plain::connect(&gateway).await;
    plain.call("subscribe", &json!({"channel": "news"})).await.unwrap();
    let publishing = many(&gateway, "news", 2000);
    let reading = async {
        for n in 0..2000 {
            assert_eq!(plain.publication().await["data"], n);
        }
    };
    tokio::join!(publishing, reading);
}

#[tokio::test]
async fn a_slow_polling_client_learns_it_with_its_next_poll() {
    let gateway = Gateway::start("limits: {outboxMessages: 10}");
    let session = Polling::joined(&gateway).await;
    session.post(r#"420["push:subscribe","news"]"#).await;
    session.get().await;
    many(&gateway, "news", 50).await;
    let asked = std::time::Instant::now();
    session.ended().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "at once, not by its ping's timeout");
    assert_eq!(number(&gateway, "push_connections").await, 0.0);
}

// --- in the middle ---

#[tokio::test]
async fn every_upgrade_has_its_own_timeout() {
    let gateway = Gateway::start("socketio: {upgradeTimeout: 2s}");
    let session = Polling::joined(&gateway).await;
    let mut first = session.websocket().await;
    // The first one is told to go, and lingers.
    first.closed().await;
    let mut second = session.websocket().await;
    assert!(second.closed().await.is_some(), "the second one is told to go as well");
    drop(first);
    assert!(!session.is_gone().await);
}

// --- one for all ---

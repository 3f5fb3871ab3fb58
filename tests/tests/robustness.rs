//! What hurts many when one does it: data that is awkward to read back,
//! clients that are slow, that leave in the middle, that never tire.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::{Value, json};
use tests::Gateway;
use tests::api::{call, metric, say};
use tests::engineio::{Polling, endpoint};
use tests::http::{request, send};
use tests::patience::eventually;
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
        assert!(number(&gateway, "push_session_panics_total").await < 0.5);
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
    assert!(number(&gateway, "push_session_panics_total").await < 0.5);
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
async fn a_replay_longer_than_the_outbox_arrives() {
    let gateway = Gateway::start(SMALL_OUTBOX);
    many(&gateway, "log.a", 500).await;
    let mut plain = Plain::connect(&gateway).await;
    plain.call("subscribe", &json!({"channel": "log.a", "last": 500})).await.unwrap();
    for n in 0..500 {
        assert_eq!(plain.publication().await["data"], n);
    }
}

/// What a client hasn't taken of a replay is not made for it yet.
#[tokio::test]
async fn a_replay_that_nobody_reads_takes_no_memory() {
    let gateway = Gateway::start(HISTORY);
    let large = "x".repeat(900_000);
    for _ in 0..60 {
        say(&gateway, "log.a", &*large).await;
    }
    let before = gateway.resident_kib();
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let mut plain = Plain::connect(&gateway).await;
        plain.call("subscribe", &json!({"channel": "log.a", "last": 60})).await.unwrap();
        stuck.push(plain);
    }
    let taken = gateway.resident_kib().saturating_sub(before);
    // All of it is 4 times 53,000.
    assert!(taken < 80_000, "{taken} KiB");
    for plain in &mut stuck {
        for _ in 0..60 {
            assert_eq!(plain.publication().await["data"], large);
        }
    }
}

#[tokio::test]
async fn a_recovery_longer_than_the_outbox_arrives() {
    let gateway = Gateway::start(SMALL_OUTBOX);
    for transport in Transport::ALL {
        let mut socket = Socket::connect(&gateway, transport).await;
        socket.subscribe("log.a").await;
        say(&gateway, "log.a", "first").await;
        assert_eq!(socket.app_event().await.args[0], "first");
        let credentials = socket.credentials();
        socket.close_engine().await;
        many(&gateway, "log.a", 500).await;
        let mut socket = Socket::join(&gateway, transport, "/", Some(&credentials)).await.unwrap();
        for n in 0..500 {
            assert_eq!(socket.app_event().await.args[0], n);
        }
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
    assert!(number(&gateway, "push_connections").await < 0.5);
}

#[tokio::test]
async fn who_takes_nothing_keeps_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let gateway = Gateway::start("socketio: {pingInterval: 1s, pingTimeout: 1s}");
    let session = Polling::joined(&gateway).await;
    session.post(r#"420["push:subscribe","news"]"#).await;
    session.get().await;
    let large = "x".repeat(900_000);
    for _ in 0..4 {
        say(&gateway, "news", &*large).await;
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(gateway.client_address().parse().unwrap()).await.unwrap();
    let path = session.url.rsplit_once("/socket.io").unwrap().1;
    let head = format!("GET /socket.io{path} HTTP/1.1\r\nhost: gateway\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    eventually("its end", async || number(&gateway, "push_connections").await == 0.0).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Its answer is gone too: what comes now is only what lay in the kernel.
    let (mut got, mut buffer) = (0, vec![0; 1 << 16]);
    while let Ok(Ok(more @ 1..)) =
        tokio::time::timeout(Duration::from_secs(5), socket.read(&mut buffer)).await
    {
        got += more;
    }
    assert!(got < 3_600_000, "{got} bytes");
}

// --- limits and walls ---

#[tokio::test]
async fn a_clients_publication_has_an_id_of_bounded_length() {
    let gateway = Gateway::start(HISTORY);
    let mut plain = Plain::connect(&gateway).await;
    for id in ["x".repeat(201), "two\nlines".into(), String::new()] {
        let publish = json!({"channel": "log.a", "data": 1, "id": id});
        let refused = plain.call("publish", &publish).await.unwrap_err();
        assert_eq!(refused["code"], "bad_request", "{refused}");
    }
}

#[tokio::test]
async fn namespaces_never_share_a_room() {
    let config = r#"socketio: {namespaces: ["/", "/a", "//a"]}"#;
    let refused = Gateway::try_start(config).err().expect("refused");
    assert!(refused.contains("socketio.namespaces[2]"), "{refused}");

    let gateway = Gateway::start(r#"socketio: {namespaces: ["/a", "/a.b"]}"#);
    let join = |namespace| Socket::join(&gateway, Transport::WebSocket, namespace, None);
    let mut inner = join("/a").await.unwrap();
    let mut dotted = join("/a.b").await.unwrap();
    inner.subscribe("b.room").await;
    dotted.subscribe("room").await;
    let publish = json!({"channel": "room", "data": "for /a.b"});
    dotted.call("push:publish", &[publish]).await;
    assert_eq!(dotted.app_event().await.args[0], "for /a.b");
    let publish = json!({"channel": "b.room", "data": "for /a"});
    inner.call("push:publish", &[publish]).await;
    assert_eq!(inner.app_event().await.args[0], "for /a");
}

#[tokio::test]
async fn a_new_token_takes_what_the_old_one_joined_in_every_namespace() {
    let gateway = Gateway::start(&format!("{AUTH}socketio: {{namespaces: [\"/\", \"/admin\"]}}"));
    for namespace in ["/", "/admin"] {
        let old = mint(&json!({"sub": "ada", "exp": now() + 600, "join": ["room"]}));
        let new = mint(&json!({"sub": "ada", "exp": now() + 600}));
        let auth = json!({"token": old});
        let mut socket =
            Socket::join(&gateway, Transport::WebSocket, namespace, Some(&auth)).await.unwrap();
        let ack = socket.call("push:refresh", &[json!(new)]).await;
        assert_eq!(ack["ok"], true);
        eventually("the end of the subscription", async || {
            let channels = tests::api::read(&gateway, None, "/v1/channels").await;
            !channels.text().contains("room")
        })
        .await;
    }
}

// --- in the middle ---

#[tokio::test]
async fn a_connection_lost_in_a_replay_resumes_in_the_replay() {
    let gateway = Gateway::start(HISTORY);
    let since = say(&gateway, "log.a", "seen").await.unwrap();
    for n in 0..10 {
        say(&gateway, "log.a", n).await;
    }
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe(json!({"channel": "log.a", "since": since})).await;
    for n in 0..3 {
        assert_eq!(socket.app_event().await.args[0], n);
    }
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.cut();
    let mut socket =
        Socket::join(&gateway, Transport::WebSocket, "/", Some(&credentials)).await.unwrap();
    assert_eq!(socket.sid(), sid, "recovered");
    for n in 3..10 {
        assert_eq!(socket.app_event().await.args[0], n);
    }
}

#[tokio::test]
async fn a_connection_lost_before_a_replay_resumes_before_it() {
    let gateway = Gateway::start(HISTORY);
    let since = say(&gateway, "log.a", "seen").await.unwrap();
    for n in 0..3 {
        say(&gateway, "log.a", n).await;
    }
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe(json!({"channel": "log.a", "since": since})).await;
    // None of it was read: the library has no offset yet.
    let credentials = socket.credentials();
    socket.cut();
    let mut socket =
        Socket::join(&gateway, Transport::WebSocket, "/", Some(&credentials)).await.unwrap();
    for n in 0..3 {
        assert_eq!(socket.app_event().await.args[0], n);
    }
}

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

#[tokio::test]
async fn one_post_of_many_commands_holds_nobody_up() {
    let gateway = Gateway::start(&format!("client: {{shards: 1}}\n{HISTORY}"));
    many(&gateway, "log.a", 1000).await;
    let session = Polling::joined(&gateway).await;
    let command = r#"42["push:history",{"channel":"log.a","limit":1000}]"#;
    let mut body = vec![command; 900_000 / command.len()].join("\u{1e}");
    body.truncate(900_000);
    let hostile = tokio::spawn(async move {
        let _ = session.try_post(body).await;
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = std::time::Instant::now();
    Polling::joined(&gateway).await;
    eprintln!("another client waited {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(2));
    hostile.abort();
}

//! What one client, one address and one user may use, seen from outside.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::api::{metric, read, say};
use tests::engineio::{Polling, endpoint};
use tests::gateway::{binary, scratch};
use tests::http::{Reply, get, until_closed};
use tests::patience::eventually;
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::sse::{ANYTHING, Sse};
use tests::token::{AUTH, mint, now};
use tests::websocket::WebSocket;
use tests::{Gateway, patiently};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// How each protocol refuses a new client: status, code, and whether it says
/// when to come back.
async fn refusals(gateway: &Gateway) -> Vec<(u16, String)> {
    let polling = get(&endpoint(gateway, "polling")).await;
    let said = polling.json();
    assert_eq!(said["code"], 3, "{said}");
    let mut all = vec![(polling.status, said["error"].as_str().unwrap_or_default().to_owned())];
    assert_eq!(polling.header("retry-after"), "1");
    for url in [endpoint(gateway, "websocket"), format!("{}/ws", gateway.client_ws())] {
        let Err(refused) = WebSocket::try_connect(&url, &[]).await else {
            all.push((101, String::new()));
            continue;
        };
        let said: Value = serde_json::from_str(&refused.body).unwrap_or_default();
        let code = if said["error"].is_string() { &said["error"] } else { &said["code"] };
        all.push((refused.status, code.as_str().unwrap_or_default().to_owned()));
    }
    let url = format!("{}/sse?channel=a", gateway.client());
    let reply: Reply = match Sse::open(&url, &ANYTHING).await {
        Ok(_) => panic!("the stream was opened"),
        Err(reply) => reply,
    };
    assert_eq!(reply.header("retry-after"), "1");
    all.push((reply.status, reply.json()["code"].as_str().unwrap().to_owned()));
    all
}

fn limited(limit: &str) -> String {
    format!("push_limited_total{{limit=\"{limit}\"}}")
}

#[tokio::test]
async fn each_limit_refuses_on_every_protocol() {
    for (limits, label, status, code) in [
        ("connections: 1", "connections", 503, "limit_connections"),
        ("connectionsPerAddress: 1", "connectionsPerAddress", 503, "limit_connections"),
        ("connectRatePerAddress: 1", "connectRatePerAddress", 429, "rate_limited"),
    ] {
        let gateway = Gateway::start(&format!("limits: {{{limits}}}"));
        let mut first = Plain::connect(&gateway).await;
        let got = refusals(&gateway).await;
        assert_eq!(got, vec![(status, code.to_owned()); 4], "{limits}");
        assert_eq!(metric(&gateway, &limited(label)).await, Some(4.0), "{limits}");
        // Who is in stays in.
        first.call("subscribe", &json!({"channel": "a"})).await.unwrap();
        drop(first);
        let back = || async { Plain::try_connect(&gateway, None).await.is_ok() };
        eventually("there is a place again", back).await;
    }
}

#[tokio::test]
async fn an_address_behind_a_proxy_is_limited_by_itself() {
    let gateway =
        Gateway::start("client: {trustedProxies: [127.0.0.1]}\nlimits: {connectionsPerAddress: 1}");
    let url = format!("{}/ws", gateway.client_ws());
    let from = async |address: &'static str| {
        WebSocket::try_connect(&url, &[("x-forwarded-for", address)]).await
    };
    let _one = from("192.0.2.1").await.unwrap();
    let _two = from("192.0.2.2").await.unwrap();
    assert_eq!(from("192.0.2.1").await.err().unwrap().status, 503);
    let _six = from("2001:db8:0:1::1").await.unwrap();
    assert_eq!(from("2001:db8:0:1:ffff::2").await.err().unwrap().status, 503, "the same /64");
    let _other = from("2001:db8:0:2::1").await.unwrap();
}

#[tokio::test]
async fn a_user_has_so_many_connections() {
    let gateway = Gateway::start(&format!("{AUTH}\nlimits: {{connectionsPerUser: 1}}"));
    let grant = json!([{"match": ">", "can": ["subscribe"]}]);
    let exp = now() + 3_600;
    let token = |sub: &str| mint(&json!({"sub": sub, "exp": exp, "channels": grant}));
    let ann = token("ann");
    let mut first = Plain::try_connect(&gateway, Some(&ann)).await.unwrap();
    first.call("subscribe", &json!({"channel": "a"})).await.unwrap();
    let url = format!("{}/sse?channel=a&token={ann}", gateway.client());
    let refused = Sse::open(&url, &ANYTHING).await.err().unwrap();
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("limit_connections")));
    let auth = json!({"token": ann});
    for transport in Transport::ALL {
        let error = Socket::join(&gateway, transport, "/", Some(&auth)).await.err().unwrap();
        assert_eq!(error["data"]["code"], "limit_connections", "{error}");
    }
    let mut plain = Plain::try_connect(&gateway, Some(&ann)).await.unwrap();
    let said: Value = serde_json::from_str(&plain.socket().text().await).unwrap();
    assert_eq!(said["error"]["code"], "limit_connections", "{said}");
    assert_eq!(metric(&gateway, &limited("connectionsPerUser")).await, Some(4.0));
    let bob = json!({"token": token("bob")});
    Socket::join(&gateway, Transport::WebSocket, "/", Some(&bob)).await.unwrap();
}

#[tokio::test]
async fn a_stampede_waits_and_what_is_left_is_told_to_come_back() {
    let gateway = Gateway::start("limits: {connectRate: 20}");
    let url = endpoint(&gateway, "polling");
    let all = (0..100).map(|_| get(&url));
    let all = patiently("all answers", futures_util::future::join_all(all)).await;
    let refused: Vec<_> = all.iter().filter(|reply| reply.status != 200).collect();
    assert!(!refused.is_empty(), "nobody was refused");
    assert!(refused.len() < 90, "too few came in: {}", refused.len());
    for reply in &refused {
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
        assert_eq!(reply.json()["error"], "limit_connections");
    }
    assert!(metric(&gateway, "push_connections_delayed_total").await.unwrap() > 5.0);
    eventually("the stampede is over", || async { get(&url).await.status == 200 }).await;
}

#[tokio::test]
async fn short_of_memory_nobody_new_comes_in() {
    let gateway = Gateway::start("limits: {memory: 1000}");
    let is_short = || async { gateway.log().contains("memory is short") };
    eventually("it is seen", is_short).await;
    assert_eq!(refusals(&gateway).await, vec![(503, "limit_connections".to_owned()); 4]);
    assert_eq!(metric(&gateway, &limited("memory")).await, Some(4.0));
    assert!(metric(&gateway, "push_memory_bytes").await.unwrap() > 1e6);
    // Raised in the file, the limit is another at once.
    std::fs::write(gateway.config_file(), "limits: {memory: 100000000000}").unwrap();
    let open = || async { get(&endpoint(&gateway, "polling")).await.status == 200 };
    eventually("it is open again", open).await;
}

#[test]
fn fewer_open_files_than_connections_is_said() {
    let config = scratch("files.yaml");
    std::fs::write(&config, "{}").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 400; exec \"$0\" \"$@\""]).arg(binary());
    command.arg("--config").arg(&config);
    for listener in ["client", "api", "admin"] {
        command.arg(format!("--{listener}-listen")).arg("127.0.0.1:0");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = String::new();
    let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    for line in std::io::BufRead::lines(stderr).map_while(Result::ok) {
        log += &line;
        if line.contains("ulimit") || log.len() > 10_000 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(log.contains("takes 300 connections and not the 20000"), "{log}");
}

// --- slow clients ---

#[tokio::test]
async fn who_is_slow_with_headers_or_a_body_is_let_go() {
    let gateway = Gateway::start("limits: {headerTimeout: 1s, bodyTimeout: 1s, headerBytes: 8192}");
    let mut begun = Vec::new();
    for text in ["", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n"] {
        let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        begun.push(socket);
    }
    for mut socket in begun {
        let answer = until_closed(&mut socket).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    }
    // One byte now and then is no better.
    let mut drip = TcpStream::connect(gateway.client_address()).await.unwrap();
    let mut sent = 0;
    while drip.write_all(b"G").await.is_ok() {
        sent += 1;
        assert!(sent < 100, "it goes on and on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let session = Polling::joined(&gateway).await;
    let mut post = session.begin_post().await;
    let answer = until_closed(&mut post).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    session.ended().await;
    let large = format!("GET /ws HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
    socket.write_all(large.as_bytes()).await.unwrap();
    let answer = until_closed(&mut socket).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

// --- within a connection ---

#[tokio::test]
async fn a_client_may_send_so_many_messages_a_second() {
    // As slow as a busy machine may be, it is faster than this.
    let gateway = Gateway::start("limits: {messagesPerSecond: 1}");
    for transport in Transport::ALL {
        let mut socket = Socket::connect(&gateway, transport).await;
        let mut refused = 0;
        for _ in 0..8 {
            let answer = socket.call("push:publish", &[json!("a"), json!("e"), json!(1)]).await;
            refused += usize::from(answer["error"]["code"] == "rate_limited");
        }
        assert!((1..8).contains(&refused), "{refused}");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(socket.subscribe("b").await["ok"], true);
        say(&gateway, "b", "hello").await;
        assert_eq!(socket.app_event().await.args[0], "hello");
    }
    let mut plain = Plain::connect(&gateway).await;
    let mut refused = 0;
    for _ in 0..8 {
        let publish = json!({"channel": "a", "event": "e", "data": 1});
        if let Err(error) = plain.call("publish", &publish).await {
            assert_eq!(error["code"], "rate_limited");
            refused += 1;
        }
    }
    assert!((1..8).contains(&refused), "{refused}");
    assert!(metric(&gateway, &limited("messagesPerSecond")).await.unwrap() > 2.0);
}

#[tokio::test]
async fn a_client_may_send_so_many_bytes_a_second() {
    let gateway = Gateway::start("limits: {bytesPerSecond: 1000}\nsocketio: {maxPayload: 5000}");
    let mut plain = Plain::connect(&gateway).await;
    let publish = |size: usize| json!({"channel": "a", "event": "e", "data": "x".repeat(size)});
    plain.call("publish", &publish(4_500)).await.unwrap();
    let error = plain.call("publish", &publish(4_500)).await.unwrap_err();
    assert_eq!(error["code"], "rate_limited", "{error}");
    assert!(error["message"].as_str().unwrap().contains("bytesPerSecond"), "{error}");
}

#[tokio::test]
async fn who_never_stops_is_closed() {
    let gateway = Gateway::start("limits: {messagesPerSecond: 5}");
    let mut plain = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
    let mut socket = tests::engineio::joined(&gateway).await;
    for _ in 0..200 {
        plain.send(r#"{"publish":{"channel":"a","data":1}}"#).await;
        socket.send(r#"42["push:publish","a","e",1]"#).await;
    }
    let (code, reason) = plain.closed().await.unwrap();
    assert_eq!((code, reason.as_str()), (4503, "rate_limited"));
    socket.closed().await;
    let closed = "push_connections_closed_total{reason=\"rate_limited\"}";
    eventually("both are counted", || async { metric(&gateway, closed).await == Some(2.0) }).await;
}

#[tokio::test]
async fn pings_are_messages_too() {
    let gateway = Gateway::start("limits: {messagesPerSecond: 5}");
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(tests::engineio::joined(&gateway).await);
    }
    let plain = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
    sockets.push(plain);
    let kinds = [
        ("a ping", Message::Ping(vec![1].into())),
        ("a pong", Message::Pong(vec![1].into())),
        ("a packet that says nothing", Message::text("6")),
        ("an answer to a ping that nobody sent", Message::text("3")),
        ("a pong of /ws", Message::Pong(vec![1].into())),
    ];
    let closed = "push_connections_closed_total{reason=\"rate_limited\"}";
    for (count, ((name, message), mut socket)) in (0_u32..).zip(kinds.into_iter().zip(sockets)) {
        for _ in 0..200 {
            socket.send_message(message.clone()).await;
        }
        patiently(name, socket.closed()).await;
        let more =
            || async { metric(&gateway, closed).await.is_some_and(|n| n > f64::from(count)) };
        eventually(name, more).await;
    }
}

#[tokio::test]
async fn answers_to_the_gateways_pings_cost_no_message() {
    let gateway = Gateway::start(
        "limits: {messagesPerSecond: 1}\nsocketio: {pingInterval: 100ms, pingTimeout: 20s}",
    );
    let mut socket = tests::engineio::joined(&gateway).await;
    for _ in 0..10 {
        assert_eq!(socket.text().await, "2");
        socket.send("3").await;
    }
    socket.send(r#"421["push:subscribe","a"]"#).await;
    let answer = loop {
        match socket.text().await.as_str() {
            "2" => socket.send("3").await,
            answer => break answer.to_owned(),
        }
    };
    assert!(answer.starts_with("431") && answer.contains(r#""ok":true"#), "{answer}");
    assert!(metric(&gateway, &limited("messagesPerSecond")).await.unwrap_or(0.0) < 0.5);
}

#[tokio::test]
async fn compression_is_not_agreed_on_and_not_taken() {
    let gateway = Gateway::plain();
    let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
    let asked = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                 sec-websocket-extensions: permessage-deflate\r\n\r\n";
    socket.write_all(asked.as_bytes()).await.unwrap();
    // What a compressed frame would be; its mask is 0.
    socket.write_all(&[0xc1, 0x81, 0, 0, 0, 0, b'a']).await.unwrap();
    let answer = until_closed(&mut socket).await;
    let text = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(text.starts_with("http/1.1 101") && !text.contains("extensions"), "{text}");
    assert!(answer.ends_with(&[0x88, 2, 0x03, 0xea]), "closed with 1002: {text}");
}

/// A client fills ever new channels. History takes what it may and no more,
/// the newest is there, and who comes back from before is told.
#[tokio::test]
async fn history_is_bounded_and_who_missed_some_is_told() {
    const LIMIT: f64 = 4e6;
    let gateway = Gateway::start(
        "relay: {historyBytes: 4000000}\n\
         channels: [{match: 'log.>', clientPublish: true, history: {maxMessages: 10000, maxAge: 1h}}]\n",
    );
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("log.quiet").await;
    let early = say(&gateway, "log.quiet", 1).await.unwrap();
    assert_eq!(socket.app_event().await.args[0], 1);
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.cut();
    say(&gateway, "log.quiet", 2).await;

    let mut flooder = Socket::connect(&gateway, Transport::WebSocket).await;
    let before = gateway.resident_kib();
    for number in 0..1_000 {
        let publication = json!({"channel": format!("log.{number}"), "data": "x".repeat(100_000)});
        let ack = flooder.call("push:publish", &[publication]).await;
        assert_eq!(ack["ok"], true, "{ack}");
    }
    // Of the 100 MB that were published.
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 50_000, "{grown} KiB");
    let bytes = metric(&gateway, "push_history_bytes").await.unwrap();
    assert!(bytes > LIMIT / 2.0 && bytes <= LIMIT, "{bytes}");
    let removed = metric(&gateway, "push_history_removed_early_total").await.unwrap();
    assert!(removed > 900.0, "{removed}");
    assert_eq!(gateway.log().matches("history is full").count(), 1);

    let newest = read(&gateway, None, "/v1/channels/log.999/history").await.json();
    assert_eq!(newest["publications"].as_array().unwrap().len(), 1, "{newest}");
    let path = format!("/v1/channels/log.quiet/history?since={early}");
    let page = read(&gateway, None, &path).await.json();
    assert_eq!(page["complete"], false, "{page}");
    let back = Socket::join(&gateway, Transport::WebSocket, "/", Some(&credentials)).await;
    assert_ne!(back.unwrap().sid(), sid, "it is told by a session that is not its own");
    let told = metric(&gateway, "push_recoveries_total{outcome=\"lost\"}").await;
    assert_eq!(told, Some(1.0));
}

//! Bad input that has no other suite: slow, half-closed, deep, huge. Each is
//! answered in the protocol's own kind, and harms nobody else.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::json;
use tests::Gateway;
use tests::api::{say, status};
use tests::engineio::{Polling, endpoint};
use tests::http::{raw, until_closed};
use tests::patience::eventually;
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::websocket::WebSocket;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Gives up soon on slow requests, and on clients that don't answer pings.
const IMPATIENT: &str = "limits: {headerTimeout: 500ms, bodyTimeout: 500ms, headerBytes: 16384}\n\
    socketio: {pingInterval: 300ms, pingTimeout: 300ms, recovery: off}";

/// A client that must not notice anything.
struct Witness(Socket);

impl Witness {
    async fn come(gateway: &Gateway) -> Self {
        let mut socket = Socket::connect(gateway, Transport::WebSocket).await;
        socket.subscribe("witness").await;
        Self(socket)
    }

    async fn is_well(&mut self, gateway: &Gateway) {
        say(gateway, "witness", "still here").await;
        assert_eq!(self.0.app_event().await.args[0], "still here");
    }
}

/// Waits until only so many connections are left.
async fn connections(gateway: &Gateway, count: u64) {
    eventually(&format!("{count} connections"), || async {
        status(gateway).await["connections"] == count
    })
    .await;
}

#[tokio::test]
async fn slow_headers_are_cut_off() {
    let gateway = Gateway::start(IMPATIENT);
    for start in
        ["", "G", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\nx-slow: "]
    {
        let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
        socket.write_all(start.as_bytes()).await.unwrap();
        let answer = until_closed(&mut socket).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{start:?}: {text}");
    }
    // One byte now and then is no excuse.
    let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
    tests::patiently("the end of a trickle", async {
        while socket.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn slow_bodies_are_cut_off() {
    let gateway = Gateway::start("limits: {bodyTimeout: 500ms}");
    let session = Polling::joined(&gateway).await;
    let mut slow = session.begin_post().await;
    let answer = until_closed(&mut slow).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    eventually("the session's end", || session.is_gone()).await;
}

#[tokio::test]
async fn headers_over_the_limit_are_431() {
    let gateway = Gateway::start(IMPATIENT);
    let mut witness = Witness::come(&gateway).await;
    let long = "x".repeat(40_000);
    let requests = [
        format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
        format!("GET /socket.io/?EIO=4&transport=polling&x={long} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!(
            "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n{}\r\n",
            "x: y\r\n".repeat(5000)
        ),
    ];
    for request in requests {
        let answer = raw(gateway.client_address(), request.as_bytes(), false).await;
        let line: String = String::from_utf8_lossy(&answer).lines().take(1).collect();
        let refused = ["400", "414", "431"].iter().any(|status| line.contains(status));
        assert!(line.is_empty() || refused, "{line}");
    }
    witness.is_well(&gateway).await;
}

#[tokio::test]
async fn half_closed_sockets_leak_nothing() {
    let gateway = Gateway::start(IMPATIENT);
    let mut requests = vec![
        "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET /sse?channel=news HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
    ];
    for path in ["/socket.io/?EIO=4&transport=websocket", "/ws"] {
        requests.push(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
    }
    for request in &requests {
        for _ in 0..20 {
            let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
            // It reads on: the other half is open.
            until_closed(&mut socket).await;
        }
    }
    connections(&gateway, 0).await;
}

#[tokio::test]
async fn clients_that_vanish_leak_nothing() {
    let gateway = Gateway::start(IMPATIENT);
    for _ in 0..20 {
        let session = Polling::joined(&gateway).await;
        drop(session);
        WebSocket::connect(&endpoint(&gateway, "websocket")).await.cut();
        Socket::connect(&gateway, Transport::WebSocket).await.cut();
        drop(Plain::connect(&gateway).await);
    }
    connections(&gateway, 0).await;
}

#[tokio::test]
async fn announced_attachments_take_no_memory() {
    let gateway = Gateway::start("socketio: {recovery: off}");
    let before = gateway.resident_kib();
    let mut sockets = Vec::new();
    for _ in 0..50 {
        // Ten at most may be announced; none of them comes.
        let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
        socket.send_raw(r#"510-["e",{"_placeholder":true,"num":0}]"#).await;
        sockets.push(socket);
        let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
        socket.send_raw(r#"510000-["e",{"_placeholder":true,"num":0}]"#).await;
        tests::patiently("the end of one that announces too many", socket.closed()).await;
    }
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 20_000, "{grown} KiB more");
}

#[tokio::test]
async fn deep_json_harms_nobody() {
    let gateway = Gateway::plain();
    let mut witness = Witness::come(&gateway).await;
    for depth in [100, 10_000, 400_000] {
        let deep = "[".repeat(depth) + &"]".repeat(depth);
        for packet in [
            format!("42[\"question\",{deep}]"),
            format!("421[\"push:publish\",{{\"channel\":\"a\",\"data\":{deep}}}]"),
            format!("421[\"push:subscribe\",{deep}]"),
            format!("40/x,{{\"a\":{deep}}}"),
            "[".repeat(depth),
        ] {
            let mut socket = WebSocket::connect(&endpoint(&gateway, "websocket")).await;
            socket.send("40").await;
            socket.send(&packet).await;
            socket.send("1").await;
            socket.closed().await;
        }
        let mut socket = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
        socket.send(&format!("{{\"id\":1,\"subscribe\":{deep}}}")).await;
        socket.next().await;
        witness.is_well(&gateway).await;
    }
}

#[tokio::test]
async fn channel_names_of_every_kind_come_through() {
    let gateway = Gateway::plain();
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    let mut plain = Plain::connect(&gateway).await;
    let longest = "é".repeat(100);
    for channel in [
        "#general",
        "auth0|7",
        "chat message",
        "a.b.c",
        "a..b",
        ".a.",
        "*",
        ">",
        "a.*",
        "%41",
        "{\"a\":1}",
        "\u{1f680}",
        longest.as_str(),
    ] {
        socket.subscribe(channel).await;
        plain.call("subscribe", &json!({"channel": channel})).await.unwrap();
        say(&gateway, channel, channel).await;
        assert_eq!(socket.app_event().await.args[0], channel);
        assert_eq!(plain.publication().await["channel"], channel);
    }
    // What looks like a wildcard is a name.
    say(&gateway, "a.x", "not for a.*").await;
    say(&gateway, "#general", "last").await;
    assert_eq!(socket.app_event().await.args[0], "last");
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_others_nothing() {
    let gateway = Gateway::start(
        "limits: {outboxBytes: 300000, outboxMessages: 1000}\nsocketio: {recovery: off}",
    );
    let mut stuck = Socket::connect(&gateway, Transport::WebSocket).await;
    let mut stuck_plain = Plain::connect(&gateway).await;
    let mut good = Socket::connect(&gateway, Transport::WebSocket).await;
    for socket in [&mut stuck, &mut good] {
        socket.subscribe("flood").await;
    }
    stuck_plain.call("subscribe", &json!({"channel": "flood"})).await.unwrap();
    let data = "x".repeat(50_000);
    for number in 0..400 {
        say(&gateway, "flood", json!([number, data])).await;
        assert_eq!(good.app_event().await.args[0][0], number);
    }
    // It is let go, and what waited for it is let go too.
    connections(&gateway, 1).await;
}

#[tokio::test]
async fn connections_are_limited() {
    let gateway = Gateway::start("limits: {connections: 3}");
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Plain::connect(&gateway).await);
    }
    let refused = Plain::try_connect(&gateway, None).await.err().expect("a refusal");
    assert_eq!(refused.status, 503, "{refused:?}");
    let reply = tests::http::get(&endpoint(&gateway, "polling")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    held.pop();
    eventually("room for another", || async { Plain::try_connect(&gateway, None).await.is_ok() })
        .await;
}

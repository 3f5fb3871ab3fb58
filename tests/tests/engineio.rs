//! Engine.IO 4 from outside, byte for byte, as the reference server does it.
//!
//! What a message means is Socket.IO's affair; where one is needed here it is
//! a CONNECT (`40`), an event that asks for an ack, or its ack.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::Value;
use tests::engineio::{Polling, SEPARATOR, endpoint, joined, open};
use tests::http::{Reply, get, raw, request, send};
use tests::patience::eventually;
use tests::websocket::{Frame, WebSocket};
use tests::{Gateway, patiently};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Pings so often that a test sees some, and patient with the answers.
const PINGING: &str = r#"{"socketio": {"pingInterval": "300ms", "pingTimeout": "20s"}}"#;

/// Gives up soon on a client that doesn't answer pings.
const STRICT: &str = r#"{"socketio": {"pingInterval": "300ms", "pingTimeout": "200ms"}}"#;

/// Takes no message over 1000 bytes.
const SMALL: &str = r#"{"socketio": {"maxPayload": 1000}}"#;

/// An event that asks for an ack, which every server answers at once.
fn question(id: u32) -> String {
    format!("42{id}[\"question\"]")
}

/// Whether a packet is the ack of it.
fn is_answer(packet: &str, id: u32) -> bool {
    packet.starts_with(&format!("43{id}["))
}

/// A WebSocket that has probed a session and been answered.
async fn probing(session: &Polling) -> WebSocket {
    let mut socket = session.websocket().await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket
}

/// The same, trying until the session has noticed that an earlier one is gone.
async fn probing_at_last(session: &Polling) -> WebSocket {
    patiently("another try to upgrade", async {
        loop {
            if let Ok(mut socket) = WebSocket::try_connect(&session.websocket_url(), &[]).await {
                socket.send("2probe").await;
                if socket.next().await == Frame::Text("3probe".to_owned()) {
                    return socket;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// Asserts an error of the reference server: status, body and content type.
fn assert_error(reply: &Reply, code: u8, what: &str) {
    const MESSAGES: [&str; 6] = [
        "Transport unknown",
        "Session ID unknown",
        "Bad handshake method",
        "Bad request",
        "Forbidden",
        "Unsupported protocol version",
    ];
    let message = MESSAGES[usize::from(code)];
    assert_eq!(reply.text(), format!(r#"{{"code":{code},"message":"{message}"}}"#), "{what}");
    assert_eq!(reply.status, 400, "{what}");
    assert!(reply.header("content-type").starts_with("application/json"), "{what}");
}

/// Asserts that the session still works over polling.
async fn assert_works(session: &Polling, id: u32) {
    assert_eq!(session.post(question(id)).await.text(), "ok");
    let mut packets = Vec::new();
    while !packets.iter().any(|packet: &String| is_answer(packet, id)) {
        packets = patiently(&format!("ack {id}"), session.packets()).await;
    }
}

/// Waits until the gateway no longer knows the session.
async fn assert_ends(session: &Polling, what: &str) {
    eventually(&format!("the session's end after {what}"), || session.is_gone()).await;
}

// === handshake ===

#[tokio::test]
async fn polling_handshake_says_what_the_reference_says() {
    let gateway = Gateway::plain();
    let reply = get(&endpoint(&gateway, "polling")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "text/plain; charset=UTF-8");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("set-cookie"), "", "no cookie unless asked for");
    let handshake: Value = serde_json::from_str(&reply.text()[1..]).unwrap();
    let sid = handshake["sid"].as_str().unwrap();
    assert!(sid.len() >= 20, "an id of 120 random bits or more: {sid}");
    let expected = format!(
        r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
    );
    assert_eq!(reply.text(), expected);
}

#[tokio::test]
async fn websocket_handshake_offers_no_upgrade() {
    let gateway = Gateway::plain();
    let mut socket = WebSocket::connect(&endpoint(&gateway, "websocket")).await;
    let text = socket.text().await;
    let handshake: Value = serde_json::from_str(&text[1..]).unwrap();
    let sid = handshake["sid"].as_str().unwrap();
    let expected = format!(
        r#"0{{"sid":"{sid}","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn handshake_tells_the_configured_figures() {
    let gateway = Gateway::start(
        r#"{"socketio": {"pingInterval": "7s", "pingTimeout": "3s", "maxPayload": 4321}}"#,
    );
    let session = Polling::open(&gateway).await;
    assert_eq!(session.handshake["pingInterval"], 7000);
    assert_eq!(session.handshake["pingTimeout"], 3000);
    assert_eq!(session.handshake["maxPayload"], 4321);
}

#[tokio::test]
async fn every_session_has_its_own_id() {
    let gateway = Gateway::plain();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        assert!(seen.insert(Polling::open(&gateway).await.sid));
    }
}

#[tokio::test]
async fn bad_requests_get_the_reference_bodies() {
    const UNKNOWN: &str = "EIO=4&transport=polling&sid=abcdefghijklmnopqrst";
    let gateway = Gateway::plain();
    let cases = [
        // The transport is looked at first, then the sid, then the method.
        ("GET", "", 0),
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", "EIO=4&transport=Polling", 0),
        ("GET", "EIO=4&transport=webtransport", 0),
        ("GET", "EIO=4&transport=abc&sid=abcdefghijklmnopqrst", 0),
        ("GET", UNKNOWN, 1),
        ("POST", UNKNOWN, 1),
        ("PUT", UNKNOWN, 1),
        ("GET", "EIO=4&transport=websocket&sid=abcdefghijklmnopqrst", 1),
        ("GET", "EIO=4&transport=polling&sid=__proto__", 1),
        ("GET", "EIO=4&transport=polling&sid=%00%ff", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("DELETE", "EIO=4&transport=polling", 2),
        ("PATCH", "EIO=4&transport=polling", 2),
        // Without an upgrade there is no WebSocket.
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "transport=polling", 5),
        ("GET", "EIO=&transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "EIO=5&transport=polling", 5),
        ("GET", "EIO=44&transport=polling", 5),
    ];
    for (method, query, code) in cases {
        let url = format!("{}/socket.io/?{query}", gateway.client());
        assert_error(&send(request(method, &url)).await, code, &format!("{method} {query}"));
    }
}

#[tokio::test]
async fn bad_websocket_requests_get_400_and_words() {
    let gateway = Gateway::plain();
    let cases = [
        ("EIO=4", "Transport unknown"),
        ("EIO=4&transport=abc", "Transport unknown"),
        ("EIO=4&transport=websocket&sid=abcdefghijklmnopqrst", "Session ID unknown"),
    ];
    for (query, message) in cases {
        let url = format!("{}/socket.io/?{query}", gateway.client_ws());
        let refused = WebSocket::try_connect(&url, &[]).await.err().expect(query);
        assert_eq!((refused.status, refused.body.as_str()), (400, message), "{query}");
    }
    // The reference refuses a wrong EIO only after its 101; before is as good.
    for query in ["transport=websocket", "EIO=abc&transport=websocket", "EIO=3&transport=websocket"]
    {
        let url = format!("{}/socket.io/?{query}", gateway.client_ws());
        if let Ok(mut socket) = WebSocket::try_connect(&url, &[]).await {
            assert!(matches!(socket.next().await, Frame::Closed(_)), "{query}");
        }
    }
}

#[tokio::test]
async fn paths_that_do_not_exist_are_404() {
    let gateway = Gateway::plain();
    for path in
        ["/nothing", "/socket.i/?EIO=4&transport=polling", "/engine.io/?EIO=4&transport=polling"]
    {
        assert_eq!(get(&format!("{}{path}", gateway.client())).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn other_origins_may_read_the_answers() {
    let gateway = Gateway::plain();
    let url = endpoint(&gateway, "polling");
    let reply = send(request("GET", &url).header("origin", "https://app.example.com")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let preflight = send(
        request("OPTIONS", &url)
            .header("origin", "https://app.example.com")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type"),
    )
    .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    assert!(preflight.header("access-control-allow-headers").contains("content-type"));
    let failed = send(
        request("GET", &format!("{url}&sid=unknown")).header("origin", "https://app.example.com"),
    )
    .await;
    assert_error(&failed, 1, "unknown sid");
    assert_eq!(failed.header("access-control-allow-origin"), "*", "errors must be readable too");
}

// === messages over polling ===

#[tokio::test]
async fn post_is_answered_ok() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let reply = session.post("40").await;
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    assert_eq!(reply.header("content-type"), "text/html");
    assert_eq!(reply.header("content-length"), "2");
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_payload_of_several_packets_is_taken_in_order() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let payload: Vec<_> = (1..=3).map(question).collect();
    assert_eq!(session.post(payload.join("\x1e")).await.text(), "ok");
    let mut packets = Vec::new();
    while packets.len() < 3 {
        packets.extend(session.packets().await);
    }
    assert_eq!(packets.len(), 3, "{packets:?}");
    for (packet, id) in packets.iter().zip(1..) {
        assert!(is_answer(packet, id), "{packets:?}");
    }
}

#[tokio::test]
async fn what_waits_goes_out_in_one_payload() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for id in 1..=3 {
        assert_eq!(session.post(question(id)).await.text(), "ok");
    }
    // The answers were written before the POSTs were answered or very soon
    // after; all must be there after the first poll that has the third.
    let reply = session.get().await;
    assert_eq!(reply.header("content-type"), "text/plain; charset=UTF-8");
    assert_eq!(reply.header("cache-control"), "no-store");
    let mut packets: Vec<_> = reply.text().split(SEPARATOR).map(str::to_owned).collect();
    while packets.len() < 3 {
        packets.extend(session.packets().await);
    }
    assert!(packets.iter().zip(1..).all(|(packet, id)| is_answer(packet, id)), "{packets:?}");
}

#[tokio::test]
async fn binary_packets_travel_as_base64() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let event = r#"451-7["question",{"_placeholder":true,"num":0}]"#;
    assert_eq!(session.post(format!("{event}{SEPARATOR}bAQIDBA==")).await.text(), "ok");
    let packets = session.packets().await;
    assert!(is_answer(&packets[0], 7), "{packets:?}");
}

#[tokio::test]
async fn a_waiting_poll_is_answered_when_there_is_something() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let poll = session.begin_poll().await;
    assert_eq!(session.post(question(1)).await.text(), "ok");
    let (status, body) = poll.answer().await;
    assert!(status == 200 && is_answer(&body, 1), "{status} {body}");
}

#[tokio::test]
async fn malformed_payloads_end_the_session() {
    let gateway = Gateway::plain();
    // 2 is a ping, which only the server sends; an empty packet is none.
    for body in ["abc", "", "7", "3\x1ex", "2", "\x1e", "é"] {
        let session = Polling::open(&gateway).await;
        if let Ok(reply) = session.try_post(body).await {
            assert_ne!(reply.status, 500, "{body:?}");
        }
        assert_ends(&session, &format!("{body:?}")).await;
        assert_error(&session.get().await, 1, &format!("{body:?}"));
    }
}

#[tokio::test]
async fn packets_that_mean_nothing_here_are_ignored() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for body in ["3", "6", "5", "0"] {
        assert_eq!(session.post(body).await.text(), "ok", "{body}");
    }
    assert_works(&session, 1).await;
}

#[tokio::test]
async fn a_binary_content_type_is_refused_and_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let request = request("POST", &session.url).header("content-type", "application/octet-stream");
    assert_eq!(send(request.body(question(1))).await.status, 400);
    assert_ends(&session, "a binary body").await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_harms_nobody() {
    let gateway = Gateway::start(SMALL);
    let session = Polling::joined(&gateway).await;
    let fill = |bytes: usize| {
        let frame = question(1).len() + 3;
        question(1).replace(']', &format!(",\"{}\"]", "x".repeat(bytes - frame)))
    };
    assert_eq!(fill(1000).len(), 1000);
    assert_eq!(session.post(fill(1000)).await.text(), "ok", "exactly the limit");
    assert!(is_answer(&session.packets().await[0], 1));
    assert_eq!(session.post(fill(1001)).await.status, 413, "one byte more");
    // Without a length in front, too.
    let chunks =
        futures_util::stream::iter((0..30).map(|_| Ok::<_, std::io::Error>(vec![b'4'; 100])));
    let body = reqwest::Body::wrap_stream(chunks);
    // What the other side doesn't read may end the connection before the answer.
    if let Ok(reply) = session.try_post(body).await {
        assert_eq!(reply.status, 413);
    }
    assert_works(&session, 2).await;
}

#[tokio::test]
async fn a_method_that_is_neither_get_nor_post_harms_nobody() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let status = session.with_method(method).await.status;
        assert!([400, 405, 500].contains(&status), "{method}: {status}");
    }
    assert_works(&session, 1).await;
}

#[tokio::test]
async fn a_second_poll_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let first = session.begin_poll().await;
    let second = session.get().await;
    assert!([400, 500].contains(&second.status), "{}", second.status);
    assert_eq!(first.answer().await, (200, "1".to_owned()));
    assert_error(&session.get().await, 1, "a poll afterwards");
}

#[tokio::test]
async fn a_cancelled_poll_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let poll = session.begin_poll().await;
    drop(poll);
    assert_ends(&session, "a cancelled poll").await;
    for method in ["GET", "POST", "PUT"] {
        assert_error(&session.with_method(method).await, 1, &format!("a {method} afterwards"));
    }
}

#[tokio::test]
async fn a_post_while_another_is_under_way_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let slow = session.begin_post().await;
    assert_eq!(session.post(question(1)).await.status, 400);
    assert_ends(&session, "two POSTs at once").await;
    drop(slow);
}

#[tokio::test]
async fn a_post_that_breaks_off_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let post = session.begin_post().await;
    let poll = session.begin_poll().await;
    drop(post);
    let _ = poll.answer().await;
    assert_error(&session.get().await, 1, "a poll afterwards");
}

#[tokio::test]
async fn get_and_post_may_be_under_way_at_once() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut slow = session.begin_post().await;
    let poll = session.begin_poll().await;
    // The rest of ten bytes; what is no event ends the session, and the poll.
    slow.write_all(b"1,2,3,4").await.unwrap();
    let _ = poll.answer().await;
    assert_ends(&session, "a bad event").await;
}

// === messages over WebSocket ===

#[tokio::test]
async fn text_and_binary_frames_are_messages() {
    let gateway = Gateway::plain();
    let mut socket = joined(&gateway).await;
    socket.send(&question(1)).await;
    assert!(is_answer(&socket.text().await, 1));
    socket.send(r#"451-2["question",{"_placeholder":true,"num":0}]"#).await;
    socket.send_binary(&[1, 2, 3, 4]).await;
    assert!(is_answer(&socket.text().await, 2));
    // The base64 form is for polling but understood everywhere.
    socket.send(r#"451-3["question",{"_placeholder":true,"num":0}]"#).await;
    socket.send("bAQIDBA==").await;
    assert!(is_answer(&socket.text().await, 3));
}

#[tokio::test]
async fn a_message_in_fragments_is_one_message() {
    let gateway = Gateway::plain();
    let mut socket = joined(&gateway).await;
    let text = question(1);
    let (start, rest) = text.split_at(4);
    let first = RawFrame::message(start.to_owned(), OpCode::Data(Data::Text), false);
    let last = RawFrame::message(rest.to_owned(), OpCode::Data(Data::Continue), true);
    socket.send_message(Message::Frame(first)).await;
    socket.send_message(Message::Ping(b"between".to_vec().into())).await;
    socket.send_message(Message::Frame(last)).await;
    assert!(is_answer(&socket.text().await, 1));
}

#[tokio::test]
async fn malformed_frames_end_the_session() {
    let gateway = Gateway::plain();
    for text in ["abc", "", "7", "2"] {
        let mut socket = open(&gateway).await;
        socket.send(text).await;
        socket.closed().await;
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_session() {
    let gateway = Gateway::plain();
    let mut socket = joined(&gateway).await;
    let bytes = b"42[\"\xff\xfe\"]".to_vec();
    let frame = RawFrame::message(bytes, OpCode::Data(Data::Text), true);
    socket.send_message(Message::Frame(frame)).await;
    // RFC 6455, 7.4.1: data that is not consistent with the message's type.
    if let Some((code, _)) = socket.closed().await {
        assert_eq!(code, 1007);
    }
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_session() {
    let gateway = Gateway::start(SMALL);
    let mut socket = joined(&gateway).await;
    let fits = format!("421[\"question\",\"{}\"]", "x".repeat(900));
    socket.send(&fits).await;
    assert!(is_answer(&socket.text().await, 1));
    socket.send(&format!("421[\"question\",\"{}\"]", "x".repeat(1000))).await;
    // RFC 6455, 7.4.1: a message that is too big to process.
    if let Some((code, _)) = socket.closed().await {
        assert_eq!(code, 1009);
    }
}

// === heartbeat ===

#[tokio::test]
async fn polling_sessions_are_pinged_from_the_handshake_on() {
    let gateway = Gateway::start(PINGING);
    let session = Polling::open(&gateway).await;
    for _ in 0..3 {
        let reply = session.get().await;
        assert_eq!((reply.status, reply.text()), (200, "2"));
        assert_eq!(session.post("3").await.text(), "ok");
    }
}

#[tokio::test]
async fn websocket_sessions_are_pinged_from_the_handshake_on() {
    let gateway = Gateway::start(PINGING);
    let mut socket = open(&gateway).await;
    for _ in 0..3 {
        assert_eq!(socket.text().await, "2");
        socket.send("3").await;
    }
}

#[tokio::test]
async fn a_polling_session_that_answers_no_ping_ends() {
    let gateway = Gateway::start(STRICT);
    let session = Polling::open(&gateway).await;
    sleep(Duration::from_millis(500)).await;
    assert_ends(&session, "a ping without an answer").await;
    assert_error(&session.get().await, 1, "a poll afterwards");
}

#[tokio::test]
async fn a_websocket_session_that_answers_no_ping_ends() {
    let gateway = Gateway::start(STRICT);
    let mut socket = open(&gateway).await;
    assert_eq!(socket.text().await, "2");
    socket.closed().await;
}

#[tokio::test]
async fn no_second_ping_before_the_first_is_answered() {
    let gateway = Gateway::start(PINGING);
    let mut socket = open(&gateway).await;
    assert_eq!(socket.text().await, "2");
    let more = tokio::time::timeout(Duration::from_secs(1), socket.listen()).await;
    assert!(more.is_err(), "{more:?}");
}

// === close ===

#[tokio::test]
async fn a_close_packet_ends_a_polling_session_and_its_poll() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let poll = session.begin_poll().await;
    let reply = session.post("1").await;
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    assert_eq!(poll.answer().await, (200, "6".to_owned()));
    assert_error(&session.get().await, 1, "a poll afterwards");
}

#[tokio::test]
async fn a_close_packet_without_a_poll_ends_the_session_too() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    assert_eq!(session.post("1").await.text(), "ok");
    assert_error(&session.get().await, 1, "a poll afterwards");
}

// The reference ignores it and lets the session run into its ping timeout.
#[tokio::test]
async fn a_close_packet_ends_a_websocket_session() {
    let gateway = Gateway::plain();
    let mut socket = open(&gateway).await;
    socket.send("1").await;
    socket.closed().await;
}

#[tokio::test]
async fn a_closed_websocket_ends_its_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut socket = probing(&session).await;
    socket.send("5").await;
    socket.send_message(Message::Close(None)).await;
    socket.closed().await;
    drop(socket);
    assert_ends(&session, "the WebSocket's close").await;
}

// === upgrade ===

#[tokio::test]
async fn a_session_moves_to_websocket() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let poll = session.begin_poll().await;
    let mut socket = probing(&session).await;
    assert_eq!(poll.answer().await, (200, "6".to_owned()), "a noop ends the poll");
    socket.send("5").await;
    socket.send(&question(1)).await;
    assert!(is_answer(&socket.text().await, 1));
}

#[tokio::test]
async fn a_poll_that_comes_while_probing_gets_a_noop() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let mut socket = probing(&session).await;
    let reply = session.get().await;
    assert_eq!((reply.status, reply.text()), (200, "6"));
    socket.send("5").await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
}

#[tokio::test]
async fn what_is_sent_while_upgrading_arrives_once_and_in_order() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut socket = probing(&session).await;
    for id in 1..=3 {
        assert_eq!(session.post(question(id)).await.text(), "ok");
    }
    // The answers wait: a poll may take them, or the WebSocket after its "5".
    let mut got = Vec::new();
    let reply = session.get().await;
    assert_eq!(reply.status, 200);
    got.extend(reply.text().split(SEPARATOR).map(str::to_owned));
    socket.send("5").await;
    socket.send(&question(4)).await;
    while !got.last().is_some_and(|packet| is_answer(packet, 4)) {
        got.push(socket.text().await);
    }
    got.retain(|packet| packet != "6");
    assert_eq!(got.len(), 4, "{got:?}");
    assert!(got.iter().zip(1..).all(|(packet, id)| is_answer(packet, id)), "{got:?}");
}

#[tokio::test]
async fn polling_is_refused_after_the_upgrade() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut socket = probing(&session).await;
    socket.send("5").await;
    socket.send(&question(1)).await;
    assert!(is_answer(&socket.text().await, 1));
    assert_error(&session.get().await, 3, "GET");
    assert_error(&session.post(question(2)).await, 3, "POST");
    socket.send(&question(3)).await;
    assert!(is_answer(&socket.text().await, 3), "the WebSocket is unharmed");
}

#[tokio::test]
async fn a_second_websocket_is_closed_and_the_first_unharmed() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut socket = probing(&session).await;
    for when in ["while probing", "after the upgrade"] {
        if let Ok(mut second) = WebSocket::try_connect(&session.websocket_url(), &[]).await {
            second.send("2probe").await;
            assert!(matches!(second.next().await, Frame::Closed(_)), "{when}");
        }
        socket.send("5").await;
        socket.send(&question(1)).await;
        assert!(is_answer(&socket.text().await, 1), "{when}");
    }
}

#[tokio::test]
async fn a_websocket_that_does_not_probe_properly_is_closed_and_polling_goes_on() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for (id, text) in (1..).zip(["2", "2wrong", "4hello", "3probe", "6", "1", "abc", ""]) {
        let mut socket = session.websocket().await;
        socket.send(text).await;
        socket.closed().await;
        assert_works(&session, id).await;
    }
    let mut socket = session.websocket().await;
    socket.send_binary(&[1]).await;
    socket.closed().await;
    assert_works(&session, 20).await;
    let mut socket = probing_at_last(&session).await;
    socket.send("4hello").await;
    socket.closed().await;
    assert_works(&session, 21).await;
}

#[tokio::test]
async fn a_websocket_that_goes_away_while_probing_leaves_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    probing(&session).await.cut();
    assert_works(&session, 1).await;
    // And it may try again.
    let mut socket = probing_at_last(&session).await;
    socket.send("5").await;
    socket.send(&question(2)).await;
    assert!(is_answer(&socket.text().await, 2));
}

#[tokio::test]
async fn an_upgrade_that_takes_too_long_is_closed_and_polling_goes_on() {
    let gateway = Gateway::start(r#"{"socketio": {"upgradeTimeout": "300ms"}}"#);
    let session = Polling::joined(&gateway).await;
    let mut silent = session.websocket().await;
    silent.closed().await;
    assert_works(&session, 1).await;
    let mut half = probing(&session).await;
    half.closed().await;
    assert_works(&session, 2).await;
}

#[tokio::test]
async fn a_session_of_websocket_alone_takes_no_polling() {
    let gateway = Gateway::plain();
    let mut socket = WebSocket::connect(&endpoint(&gateway, "websocket")).await;
    let handshake: Value = serde_json::from_str(&socket.text().await[1..]).unwrap();
    let sid = handshake["sid"].as_str().unwrap();
    let reply = get(&format!("{}&sid={sid}", endpoint(&gateway, "polling"))).await;
    assert_error(&reply, 3, "GET");
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
}

// === connections ===

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let gateway = Gateway::plain();
    let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
    for _ in 0..3 {
        let head = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: gateway\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut chunk = [0; 4096];
            let count = patiently("an answer", socket.read(&mut chunk)).await.unwrap();
            assert_ne!(count, 0, "the connection stays open");
            answer.extend_from_slice(&chunk[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn what_is_not_http_is_400_or_nothing_and_harms_nobody() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let junk: [&[u8]; 5] =
        [b"\x00\x01\x02\r\n\r\n", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""];
    for bytes in junk {
        let answer = raw(gateway.client_address(), bytes, true).await;
        let line = String::from_utf8_lossy(&answer);
        assert!(
            line.is_empty() || line.starts_with("HTTP/1.1 4") || line.starts_with("HTTP/1.1 5")
        );
    }
    assert_works(&session, 1).await;
}

//! Engine.IO 4 from outside, byte for byte, as the reference server does it.
//!
//! What a message means is Socket.IO's affair; where one is needed here it is
//! a CONNECT (`40`), an event that asks for an ack, or its ack.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tests::engineio::{Polling, SEPARATOR, endpoint, joined, open};
use tests::http::{Reply, get, request, send};
use tests::patience::eventually;
use tests::websocket::{Frame, WebSocket};
use tests::{Gateway, patiently};
use tokio::time::sleep;

#[path = "engineio/close.rs"]
mod close;
#[path = "engineio/connections.rs"]
mod connections;
#[path = "engineio/handshake.rs"]
mod handshake;
#[path = "engineio/heartbeat.rs"]
mod heartbeat;
#[path = "engineio/polling.rs"]
mod polling;
#[path = "engineio/upgrade.rs"]
mod upgrade;
#[path = "engineio/websocket.rs"]
mod websocket;

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

//! Socket.IO 5 from outside, byte for byte, as the reference server does it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;
use tests::Gateway;
use tests::engineio::{Polling, joined, open};
use tests::websocket::{Frame, WebSocket};

/// Two namespaces and no recovery: CONNECT is answered with `{sid}` alone.
const PLAIN: &str = r#"{"socketio": {"namespaces": ["/", "/custom"], "recovery": "off"}}"#;

/// Asks a question; asserts that its ack comes next.
async fn assert_works(socket: &mut WebSocket, id: u32, what: &str) {
    socket.send(&format!("42{id}[\"question\"]")).await;
    let answer = socket.next().await;
    let acked = matches!(&answer, Frame::Text(text) if text.starts_with(&format!("43{id}[")));
    assert!(acked, "{what}: {answer:?}");
}

/// The keys of the object after a packet's prefix.
fn keys(packet: &str, prefix: &str) -> Vec<String> {
    let json = packet.strip_prefix(prefix).unwrap_or_else(|| panic!("{packet}: no {prefix}"));
    let object: Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("{packet}"));
    object.as_object().unwrap().keys().cloned().collect()
}

// === connect ===

#[tokio::test]
async fn connect_is_answered_with_a_sid() {
    let gateway = Gateway::start(PLAIN);
    let mut socket = open(&gateway).await;
    socket.send("40").await;
    assert_eq!(keys(&socket.text().await, "40"), ["sid"]);
}

#[tokio::test]
async fn connect_is_answered_with_a_pid_where_there_is_recovery() {
    let gateway = Gateway::plain();
    let mut socket = open(&gateway).await;
    socket.send("40").await;
    let mut keys = keys(&socket.text().await, "40");
    keys.sort();
    assert_eq!(keys, ["pid", "sid"]);
}

#[tokio::test]
async fn a_token_means_nothing_where_no_issuer_is_configured() {
    let gateway = Gateway::start(PLAIN);
    let mut socket = open(&gateway).await;
    socket.send(r#"40{"token":"123"}"#).await;
    assert_eq!(keys(&socket.text().await, "40"), ["sid"]);
}

#[tokio::test]
async fn a_custom_namespace_can_be_joined() {
    let gateway = Gateway::start(PLAIN);
    for connect in ["40/custom,", "40/custom", r#"40/custom,{"token":"abc"}"#] {
        let mut socket = open(&gateway).await;
        socket.send(connect).await;
        assert_eq!(keys(&socket.text().await, "40/custom,"), ["sid"], "{connect}");
    }
}

#[tokio::test]
async fn every_namespace_has_its_own_sid() {
    let gateway = Gateway::start(PLAIN);
    let session = Polling::open(&gateway).await;
    session.post("40\x1e40/custom,").await;
    let mut packets = Vec::new();
    while packets.len() < 2 {
        packets.extend(session.packets().await);
    }
    let sid = |packet: &str| {
        let object: Value = serde_json::from_str(&packet[packet.find('{').unwrap()..]).unwrap();
        object["sid"].as_str().unwrap().to_owned()
    };
    let (main, custom) = (sid(&packets[0]), sid(&packets[1]));
    assert_ne!(main, custom);
    assert!(main != session.sid && custom != session.sid, "the engine's id is a secret");
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_connection_stays() {
    let gateway = Gateway::start(PLAIN);
    let mut socket = open(&gateway).await;
    for connect in ["40/random", "40/random,", r#"40/random,{"a":1}"#] {
        socket.send(connect).await;
        assert_eq!(socket.text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    }
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
    assert_works(&mut socket, 1, "the main namespace").await;
}

#[tokio::test]
async fn who_joins_no_namespace_in_time_is_closed() {
    let gateway = Gateway::start(r#"{"socketio": {"connectTimeout": "400ms"}}"#);
    let mut socket = open(&gateway).await;
    let session = Polling::open(&gateway).await;
    let mut late = joined(&gateway).await;
    socket.closed().await;
    tests::patiently("the polling session's end", session.ended()).await;
    assert_works(&mut late, 1, "one that joined").await;
}

#[tokio::test]
async fn a_refused_namespace_is_no_join() {
    let gateway = Gateway::start(r#"{"socketio": {"connectTimeout": "400ms"}}"#);
    let mut socket = open(&gateway).await;
    socket.send("40/random").await;
    assert!(socket.text().await.starts_with("44/random,"));
    socket.closed().await;
}

// === disconnect ===

#[tokio::test]
async fn leaving_the_main_namespace_keeps_the_engine() {
    let gateway = Gateway::start(
        r#"{"socketio": {"recovery": "off", "pingInterval": "300ms", "pingTimeout": "20s"}}"#,
    );
    let mut socket = joined(&gateway).await;
    socket.send("41").await;
    assert_eq!(socket.text().await, "2");
}

#[tokio::test]
async fn leaving_one_namespace_keeps_the_other() {
    let gateway = Gateway::start(PLAIN);
    let mut socket = joined(&gateway).await;
    socket.send("40/custom").await;
    assert!(socket.text().await.starts_with("40/custom,{"));
    socket.send("421[\"question\"]").await;
    assert!(socket.text().await.starts_with("431["));
    socket.send("42/custom,1[\"question\"]").await;
    assert!(socket.text().await.starts_with("43/custom,1["));
    socket.send("41/custom,").await;
    assert_works(&mut socket, 2, "the main namespace").await;
}

#[tokio::test]
async fn who_left_may_join_again_under_a_new_sid() {
    let gateway = Gateway::start(PLAIN);
    let mut socket = open(&gateway).await;
    socket.send("40").await;
    let first = socket.text().await;
    socket.send("41").await;
    socket.send("40").await;
    let second = socket.text().await;
    assert!(second.starts_with("40{") && second != first, "{first} {second}");
}

// === events and acks ===

#[tokio::test]
async fn an_event_without_a_handler_gets_an_error_ack() {
    let gateway = Gateway::start(PLAIN);
    let mut socket = joined(&gateway).await;
    socket.send("42456[\"question\",1,\"2\",{\"3\":[false]}]").await;
    let text = socket.text().await;
    let args: Value = serde_json::from_str(text.strip_prefix("43456").unwrap()).unwrap();
    let error = &args[0]["error"];
    assert_eq!((&error["code"], &error["retry"]), (&"no_handler".into(), &false.into()), "{text}");
    assert!(error["message"].as_str().is_some_and(|words| !words.is_empty()));
}

#[tokio::test]
async fn the_connection_lives_through_what_is_allowed() {
    let gateway = Gateway::start(PLAIN);
    let cases: [&[&str]; 7] = [
        // No ack asked for, nobody to take it.
        &["42[\"question\"]"],
        &["42[1,2]"],
        // An ack of nothing.
        &["431[]", "4399[1,2]"],
        // A placeholder is only one where attachments were announced.
        &["42[\"question\",{\"_placeholder\":true,\"num\":0}]"],
        // Attachments as text: the base64 form.
        &["451-[\"question\",{\"_placeholder\":true,\"num\":0}]", "bAQID"],
        &["461-7[{\"_placeholder\":true,\"num\":0}]", "bAQID"],
        &["42[\"ünïcode 🚀\",\"\\ud83d\\ude80\"]"],
    ];
    for packets in cases {
        let mut socket = joined(&gateway).await;
        for packet in packets {
            socket.send(packet).await;
        }
        assert_works(&mut socket, 1, &packets.join(" ")).await;
    }
}

#[tokio::test]
async fn binary_events_are_acked_too() {
    let gateway = Gateway::start(PLAIN);
    let mut socket = joined(&gateway).await;
    let event =
        r#"452-789["question",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    socket.send(event).await;
    socket.send_binary(&[1, 2, 3]).await;
    socket.send_binary(&[4, 5, 6]).await;
    assert!(socket.text().await.starts_with("43789["));
}

/// What the reference answers by closing the transport.
const BAD: [&[&str]; 38] = [
    // No such packet type.
    &["4abc"],
    &["4"],
    &["47"],
    &["4-1"],
    // Payloads that their packet type does not take.
    &["42{}"],
    &["42[]"],
    &["42[null]"],
    &["42[{}]"],
    &["42\"question\""],
    &["42[\"question\""],
    &["42[\"question\"]]"],
    &["42[question]"],
    &["41{}"],
    &["43{}"],
    &["431\"a\""],
    // Ack ids that are none.
    &["42abc[\"question\"]"],
    &["42-1[\"question\"]"],
    &["421.5[\"question\"]"],
    // Names that the protocol keeps for itself.
    &["42[\"connect\"]"],
    &["42[\"connect_error\"]"],
    &["42[\"disconnect\"]"],
    &["42[\"disconnecting\"]"],
    &["42[\"newListener\"]"],
    &["42[\"removeListener\"]"],
    // Only a server sends these.
    &["44{\"message\":\"x\"}"],
    // A namespace that was not joined, or twice.
    &["40"],
    &["42/custom,[\"question\"]"],
    &["41/custom,"],
    // Attachments: a count that is none, too large, or not followed by them.
    &["45[\"question\"]"],
    &["45-[\"question\"]"],
    &["45a-[\"question\"]"],
    &["451.5-[\"question\"]"],
    &["45-1-[\"question\"]"],
    &["4511-[\"question\"]"],
    &["4510000-[\"question\",{\"_placeholder\":true,\"num\":0}]"],
    &["451-[\"question\",{\"_placeholder\":true,\"num\":0}]", "42[\"question\"]"],
    &["451-[\"question\",{\"_placeholder\":true,\"num\":1}]", "bAQID"],
    // An attachment that nobody announced.
    &["bAQID"],
];

#[tokio::test]
async fn what_is_no_socketio_closes_a_websocket() {
    let gateway = Gateway::start(PLAIN);
    for packets in BAD {
        let mut socket = joined(&gateway).await;
        for packet in packets {
            socket.send(packet).await;
        }
        tests::patiently(&format!("the end after {packets:?}"), socket.closed()).await;
    }
}

#[tokio::test]
async fn what_is_no_socketio_closes_a_polling_session() {
    let gateway = Gateway::start(PLAIN);
    for packets in BAD {
        let session = Polling::joined(&gateway).await;
        let _ = session.try_post(packets.join("\x1e")).await;
        tests::patiently(&format!("the end after {packets:?}"), session.ended()).await;
    }
}

#[tokio::test]
async fn events_before_connect_close_the_connection() {
    let gateway = Gateway::start(PLAIN);
    for packet in ["42[\"question\"]", "41", "430[]"] {
        let mut socket = open(&gateway).await;
        socket.send(packet).await;
        tests::patiently(&format!("the end after {packet}"), socket.closed()).await;
    }
}

#[tokio::test]
async fn connect_payloads_that_are_no_object_close_the_connection() {
    let gateway = Gateway::start(PLAIN);
    for packet in ["40[]", "40\"token\"", "401", "40{", "40null"] {
        let mut socket = open(&gateway).await;
        socket.send(packet).await;
        if packet == "401" {
            // An ack id, which CONNECT has no use for: the reference ignores it.
            assert!(socket.text().await.starts_with("40{"));
            continue;
        }
        tests::patiently(&format!("the end after {packet}"), socket.closed()).await;
    }
}

#[tokio::test]
async fn one_bad_session_harms_no_other() {
    let gateway = Gateway::start(PLAIN);
    let mut good = joined(&gateway).await;
    for packets in BAD {
        let mut bad = joined(&gateway).await;
        for packet in packets {
            bad.send(packet).await;
        }
    }
    assert_works(&mut good, 1, "the good one").await;
}

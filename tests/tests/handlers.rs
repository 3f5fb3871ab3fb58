//! The seam where upstreams plug in, through a handler in the same process:
//! events and acks in both directions, and a handler that panics.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use gateway::publication::Value;
use gateway::server::{Options, Running};
use tests::conformance::{Handlers, config};
use tests::websocket::WebSocket;

/// A gateway in this process, with the suite's handlers.
fn start(handlers: Handlers) -> Running {
    let mut options = Options::new(config("/socket.io/", 0).unwrap());
    options.upstream = Some(Arc::new(handlers));
    Running::start(options).unwrap()
}

/// A client of the main namespace; its `auth` event is read.
async fn join(gateway: &Running) -> WebSocket {
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", gateway.client);
    let mut socket = WebSocket::connect(&url).await;
    socket.text().await;
    socket.send("40").await;
    socket.text().await;
    assert_eq!(packet(&mut socket).await, r#"42["auth",{}]"#);
    socket
}

/// The next packet but for pings, which are answered.
async fn packet(socket: &mut WebSocket) -> String {
    loop {
        let text = socket.text().await;
        if text != "2" {
            return text;
        }
        socket.send("3").await;
    }
}

#[tokio::test]
async fn arguments_come_back_byte_for_byte() {
    let gateway = start(Handlers::default());
    let mut socket = join(&gateway).await;
    // Number forms, key order, escapes and spaces are the client's own.
    let args = r#"1e3,-0.0,{"b":1,"a":[ ]},"\u00fc\/",null,123456789012345678901234567890"#;
    socket.send(&format!(r#"42["message",{args}]"#)).await;
    assert_eq!(packet(&mut socket).await, format!(r#"42["message-back",{args}]"#));
    socket.send(&format!(r#"4217["message-with-ack",{args}]"#)).await;
    assert_eq!(packet(&mut socket).await, format!("4317[{args}]"));
    gateway.stop();
}

#[tokio::test]
async fn a_client_acknowledges_the_servers_event() {
    let (answers, answered) = sync_channel(4);
    let gateway = start(Handlers { answers: Some(answers) });
    let mut socket = join(&gateway).await;
    socket.send(r#"42["ask","how many?"]"#).await;
    assert_eq!(packet(&mut socket).await, r#"420["question","how many?"]"#);
    // An ack that nobody waits for changes nothing.
    socket.send(r#"4399["stray"]"#).await;
    socket.send(r#"430[42,{"sure":true}]"#).await;
    let args = answered.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(args.first(), Some(&Value::Json("42".into())));
    assert_eq!(args.get(1), Some(&Value::Json(r#"{"sure":true}"#.into())));
    // The same ack again is stray by now; the next question has its own id.
    socket.send("430[43]").await;
    socket.send(r#"42["ask","and now?"]"#).await;
    assert_eq!(packet(&mut socket).await, r#"421["question","and now?"]"#);
    gateway.stop();
}

#[tokio::test]
async fn a_panic_in_one_session_ends_that_session_only() {
    let gateway = start(Handlers::default());
    let mut bystander = join(&gateway).await;
    let mut victim = join(&gateway).await;
    victim.send(r#"42["panic"]"#).await;
    victim.closed().await;
    assert_eq!(gateway.metrics.panics.get(), 1);
    bystander.send(r#"42["message",1]"#).await;
    assert_eq!(packet(&mut bystander).await, r#"42["message-back",1]"#);
    // So do clients that come later, on every shard.
    for _ in 0..8 {
        let mut later = join(&gateway).await;
        later.send(r#"42["message",2]"#).await;
        assert_eq!(packet(&mut later).await, r#"42["message-back",2]"#);
    }
    gateway.stop();
}

//! An app in another language publishes straight to NATS.

use std::path::Path;

use tests::socketio::{Socket, Transport};
use tokio::process::Command;

use super::*;

#[tokio::test]
async fn an_app_in_javascript_publishes_with_the_official_nats_client() {
    let cluster = Cluster::start("").await;
    let mut socket = Socket::connect(&cluster.gateways[0], Transport::WebSocket).await;
    let mut polling = Socket::connect(&cluster.gateways[1], Transport::Polling).await;
    for socket in [&mut socket, &mut polling] {
        socket.subscribe("kept.app").await;
        socket.subscribe("chat message").await;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let app = Command::new("node")
        .arg(folder.join("nats-app.mjs"))
        .arg(cluster.nats.url())
        .output()
        .await
        .expect("node runs");
    assert!(app.status.success(), "{}", String::from_utf8_lossy(&app.stderr));
    for (name, socket) in [("websocket", &mut socket), ("polling", &mut polling)] {
        // Two ways lead to a client, one for each kind of channel: each in order.
        let mut events = Vec::new();
        for _ in 0..4 {
            let event = socket.app_event().await;
            events.push((event.name, event.args.into_iter().next()));
        }
        let at = events.iter().position(|(name, _)| name == "chat message").expect("over core");
        assert_eq!(events.remove(at).1, Some(json!("hello")), "{name}");
        let expected = [
            ("paid".to_owned(), Some(json!({"total": 7}))),
            ("message".to_owned(), Some(json!("no JSON"))),
            ("message".to_owned(), Some(json!({"_binary": [0, 255]}))),
        ];
        assert_eq!(events, expected, "{name}: in order, each once");
    }
}

//! Pings, and clients that don't answer them.

use super::*;

/// Pings so often that a test sees some, and patient with the answers.
const PINGING: &str = r#"{"socketio": {"pingInterval": "300ms", "pingTimeout": "20s"}}"#;

/// Gives up soon on a client that doesn't answer pings.
const STRICT: &str = r#"{"socketio": {"pingInterval": "300ms", "pingTimeout": "200ms"}}"#;

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

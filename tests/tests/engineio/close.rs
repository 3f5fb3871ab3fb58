//! How a session ends.

use tokio_tungstenite::tungstenite::Message;

use super::*;

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

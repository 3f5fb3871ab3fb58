//! Messages over a WebSocket.

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;

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

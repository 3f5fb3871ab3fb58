#![allow(clippy::unwrap_used, clippy::expect_used)]

use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;

fn command(listener: &TcpListener) -> Subscribe {
    Subscribe {
        channels: vec!["a".to_owned()],
        url: format!("ws://{}/ws", listener.local_addr().unwrap()),
        token: Some("a.b.c".to_owned()),
        since: None,
        last: None,
        json: false,
    }
}

/// A gateway's side of one connection, and the subscribe request on it.
async fn accept(listener: &TcpListener) -> (WebSocketStream<TcpStream>, String) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return (socket, text.to_string());
        }
    }
}

async fn close(mut socket: WebSocketStream<TcpStream>, code: u16, reason: &'static str) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    socket.close(Some(frame)).await.unwrap();
    while socket.next().await.is_some() {}
}

#[tokio::test]
async fn it_comes_back_after_a_break_and_resumes_from_its_last_offset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let command = command(&listener);
    let gateway = async {
        let (mut socket, request) = accept(&listener).await;
        assert_eq!(request, r#"{"id":0,"subscribe":{"channel":"a"}}"#);
        for text in [
            r#"{"id":0,"ok":{"channel":"a","offset":"1-1-1"}}"#,
            r#"{"channel":"a","event":"e","data":1,"offset":"1-2-1"}"#,
        ] {
            socket.send(Message::text(text)).await.unwrap();
        }
        close(socket, 1001, "stopping").await;

        // A break without a word.
        let (socket, request) = accept(&listener).await;
        assert_eq!(request, r#"{"id":0,"subscribe":{"channel":"a","since":"1-2-1"}}"#);
        drop(socket);

        let (socket, request) = accept(&listener).await;
        assert_eq!(request, r#"{"id":0,"subscribe":{"channel":"a","since":"1-2-1"}}"#);
        close(socket, 4001, "the token has expired").await;
    };
    let (ended, ()) = tokio::join!(follow(&command), gateway);
    let words = "closed with 4001 the token has expired".to_owned();
    assert_eq!(ended, Err(Failure::Refused(words)), "there is nothing to come back for");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_at_the_start_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let command = command(&listener);
    drop(listener);
    let ended = follow(&command).await;
    assert!(matches!(ended, Err(Failure::Unreachable(_))), "{ended:?}");
}

#[test]
fn an_http_answer_is_told_in_words() {
    let body = br#"{"detail":"the token has expired"}"#;
    assert_eq!(
        refusal("ws://h/ws", 401, body),
        Failure::Refused("ws://h/ws answers HTTP 401: the token has expired".to_owned())
    );
    assert!(matches!(refusal("ws://h/ws", 503, b""), Failure::Unreachable(_)));
}

#[test]
fn close_codes_say_whether_to_come_back() {
    for code in [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4500] {
        assert!(may_retry(code), "{code}");
    }
    for code in [1002, 1003, 1007, 1008, 1009, 4000, 4499] {
        assert!(!may_retry(code), "{code}");
    }
}

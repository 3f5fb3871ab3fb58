#![allow(clippy::expect_used)]

use super::{Message, status};

#[test]
fn a_message_ends_where_its_length_says() {
    let bytes = b"POST /publish/all HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET";
    let message = Message::first(bytes).expect("it is whole");
    assert_eq!(message.target(), Some(("POST", "/publish/all")));
    assert_eq!((message.body, message.length), (&b"abc"[..], bytes.len() - 3));
    assert_eq!(Message::first(&bytes[..bytes.len() - 4]), None);
}

#[test]
fn a_chunked_answer_ends_with_its_empty_chunk() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["0\r\n\r\n", "2\r\nok\r\n0\r\n\r\n"] {
        let text = format!("{head}{body}");
        let message = Message::first(text.as_bytes()).expect("it is whole");
        assert_eq!((message.status(), message.length), (Some(200), text.len()));
    }
    assert_eq!(Message::first(format!("{head}2\r\nok\r\n").as_bytes()), None);
}

#[test]
fn an_answer_without_a_body_is_whole() {
    let bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let message = Message::first(bytes).expect("it is whole");
    assert_eq!((message.status(), message.length), (Some(101), bytes.len()));
}

#[test]
fn the_status_of_a_stream_is_there_before_its_end() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(status(head.as_bytes()), Some(200));
    assert_eq!(status(b"nothing"), None);
}

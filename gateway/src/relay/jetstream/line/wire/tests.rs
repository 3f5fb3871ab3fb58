#![allow(clippy::unwrap_used)]

use super::{Frame, Reader, Said};

const MESSAGES: &[u8] = b"MSG push.pub.a 3 5\r\nhello\r\n\
    HMSG push.live.b 1 22 25\r\nNATS/1.0\r\nName: ab\r\n\r\nxyz\r\n\
    MSG  push.pub.a  3  an.inbox  0\r\n\r\n\
    HMSG push.live.b 1 an.inbox 12 14\r\nNATS/1.0\r\n\r\n\r\n\r\n\
    PING\r\nPONG\r\n+OK\r\n-ERR 'Slow Consumer'\r\nINFO {\"ldm\":true} \r\n";

fn read(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<Said> {
    let mut reader = Reader::default();
    let mut said = Vec::new();
    for piece in pieces {
        reader.room().extend_from_slice(&piece);
        while let Some(one) = reader.read().unwrap() {
            said.push(one);
        }
    }
    said
}

fn frame(said: &Said) -> &Frame {
    let Said::Message(frame) = said else { panic!("{said:?}") };
    frame
}

#[test]
fn what_a_server_says() {
    let said = read([MESSAGES.to_vec()]);
    let messages: Vec<_> = said[..4]
        .iter()
        .map(frame)
        .map(|frame| (frame.sid, frame.subject().unwrap(), frame.payload()))
        .collect();
    let expected = [
        (3, "push.pub.a", "hello".into()),
        (1, "push.live.b", "xyz".into()),
        (3, "push.pub.a", "".into()),
        (1, "push.live.b", "\r\n".into()),
    ];
    assert_eq!(messages, expected);
    assert_eq!(frame(&said[1]).headers().last("Name"), Some("ab"));
    assert_eq!(frame(&said[0]).headers().last("Name"), None);
    let rest = [
        Said::Ping,
        Said::Pong,
        Said::Ok,
        Said::Error("Slow Consumer".to_owned()),
        Said::Info(" {\"ldm\":true} ".into()),
    ];
    assert_eq!(said[4..], rest);
}

#[test]
fn however_it_is_cut() {
    let whole = read([MESSAGES.to_vec()]);
    for size in 1..MESSAGES.len() {
        assert_eq!(read(MESSAGES.chunks(size).map(<[u8]>::to_vec)), whole, "in pieces of {size}");
    }
}

#[test]
fn what_is_not_the_protocol_ends_it() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "MSG a 1\r\n",
        "MSG a 1 b c 3\r\nabc\r\n",
        "MSG a b 3\r\nabc\r\n",
        "MSG a 1 -3\r\n",
        "MSG a 1 99999999999\r\n",
        "MSG a 1 99999999999999999999999\r\n",
        "MSG a 1 3\r\nabcd\r\n",
        "MSG a 1 3\nabc\r\n",
        "HMSG a 1 3\r\nabc\r\n",
        "HMSG a 1 4 3\r\nabc\r\n",
        "HMSG a x 3 3\r\nabc\r\n",
        "MSGa 1 3\r\nabc\r\n",
        "MSG\r\n",
        "\r\n",
    ] {
        let mut reader = Reader::default();
        reader.room().extend_from_slice(text.as_bytes());
        assert!(reader.read().is_err(), "{text:?}");
    }
    let mut reader = Reader::default();
    reader.room().extend_from_slice(&vec![b'I'; (1 << 20) + 1]);
    assert!(reader.read().is_err(), "a line without an end");
}

#[test]
fn bytes_that_are_no_text_harm_nothing() {
    let said = read([b"HMSG a\xff 1 20 21\r\nNATS/1.0\r\nA: \xff\r\n\r\n  x\r\nPING\r\n".to_vec()]);
    assert_eq!(frame(&said[0]).subject(), None);
    assert_eq!(frame(&said[0]).headers().last("A"), None);
    assert_eq!(said[1], Said::Ping);
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Cursor;

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn text(text: &'static str) -> Packet {
    Packet::Text(bytes(text))
}

fn binary(payload: &'static [u8]) -> Packet {
    Packet::Binary(Bytes::from_static(payload))
}

#[test]
fn every_type_is_read() {
    let table: &[(&'static str, Packet)] = &[
        ("0{\"sid\":\"a\"}", Packet::Open(bytes("{\"sid\":\"a\"}"))),
        ("1", Packet::Close),
        ("1what follows says nothing", Packet::Close),
        ("2", Packet::Ping(bytes(""))),
        ("2probe", Packet::Ping(bytes("probe"))),
        ("3", Packet::Pong(bytes(""))),
        ("3probe", Packet::Pong(bytes("probe"))),
        ("4", text("")),
        ("4hello", text("hello")),
        ("4€ and 💬", text("€ and 💬")),
        ("5", Packet::Upgrade),
        ("6", Packet::Noop),
        ("bAQIDBA==", binary(&[1, 2, 3, 4])),
        ("b", binary(&[])),
        // Node's decoder does without padding and takes the other alphabet.
        ("bAQIDBA", binary(&[1, 2, 3, 4])),
        ("b+/+/", binary(&[0xfb, 0xff, 0xbf])),
        ("b-_-_", binary(&[0xfb, 0xff, 0xbf])),
    ];
    for (wire, packet) in table {
        assert_eq!(decode_text(bytes(wire)).as_ref(), Ok(packet), "{wire}");
    }
}

#[test]
fn what_is_no_packet_is_refused() {
    let table: &[(&'static [u8], DecodeError)] = &[
        (b"", DecodeError::Empty),
        (b"abc", DecodeError::UnknownType(b'a')),
        (b"7", DecodeError::UnknownType(b'7')),
        (b"-", DecodeError::UnknownType(b'-')),
        (b" 4hello", DecodeError::UnknownType(b' ')),
        ("€".as_bytes(), DecodeError::UnknownType(0xe2)),
        (b"4\xff", DecodeError::NotUtf8),
        (b"2\xc3", DecodeError::NotUtf8),
        (b"b*", DecodeError::BadBase64),
        (b"bAQID BA==", DecodeError::BadBase64),
        (b"bAQIDB", DecodeError::BadBase64),
        (b"b\xff\xff", DecodeError::BadBase64),
    ];
    for (wire, error) in table {
        let found = decode_text(Bytes::from_static(wire));
        assert_eq!(found, Err(*error), "{}", wire.escape_ascii());
    }
}

#[test]
fn a_payload_is_split_at_its_separators() {
    let table: &[(&'static str, Vec<Result<Packet, DecodeError>>)] = &[
        ("4hello", vec![Ok(text("hello"))]),
        (
            "4test1\x1e4test2\x1e4test3",
            vec![Ok(text("test1")), Ok(text("test2")), Ok(text("test3"))],
        ),
        ("4hello\x1ebAQIDBA==", vec![Ok(text("hello")), Ok(binary(&[1, 2, 3, 4]))]),
        (
            "2probe\x1e6\x1e1",
            vec![Ok(Packet::Ping(bytes("probe"))), Ok(Packet::Noop), Ok(Packet::Close)],
        ),
        // Nothing is read behind an error.
        ("4a\x1eabc\x1e4b", vec![Ok(text("a")), Err(DecodeError::UnknownType(b'a'))]),
        ("", vec![Err(DecodeError::Empty)]),
        ("\x1e", vec![Err(DecodeError::Empty)]),
        ("4a\x1e", vec![Ok(text("a")), Err(DecodeError::Empty)]),
        ("4a\x1e\x1e4b", vec![Ok(text("a")), Err(DecodeError::Empty)]),
    ];
    for (body, packets) in table {
        assert_eq!(&decode_payload(bytes(body)), packets, "{body:?}");
    }
}

#[test]
fn a_payload_is_not_copied() {
    let body = Bytes::from("4first\x1e4second");
    let start = body.as_ptr().addr();
    let packets = decode_payload(body);
    let Ok(Packet::Text(second)) = &packets[1] else { panic!("{packets:?}") };
    assert_eq!(second.as_ptr().addr() - start, 8);
}

#[test]
fn the_handshake_is_the_reference_servers() {
    let polling = Handshake {
        sid: "lv_VI97HAXpY6yYWAAAC",
        upgrade: true,
        ping_interval: 25_000,
        ping_timeout: 20_000,
        max_payload: 1_000_000,
    };
    assert_eq!(
        polling.to_packet(),
        r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
    );
    let websocket =
        Handshake { sid: "a\"b", upgrade: false, ping_interval: 300, ping_timeout: 200, ..polling };
    assert_eq!(
        websocket.to_packet(),
        r#"0{"sid":"a\"b","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#
    );
}

#[test]
fn error_bodies_are_the_reference_servers() {
    let table = [
        (0, "Transport unknown"),
        (1, "Session ID unknown"),
        (2, "Bad handshake method"),
        (3, "Bad request"),
        (4, "Forbidden"),
        (5, "Unsupported protocol version"),
    ];
    for (code, message) in table {
        assert_eq!(error_body(code), format!(r#"{{"code":{code},"message":"{message}"}}"#));
    }
    assert_eq!(error_body(6), error_body(3));
}

#[test]
fn a_polling_body_separates_packets_and_writes_bytes_as_base64() {
    let hello = Wire::text(&[b"4", b"hello"]);
    let bytes = Wire::binary(&[1, 2, 3, 4]);
    let table: &[(&[&Wire], &str)] = &[
        (&[], ""),
        (&[&hello], "4hello"),
        (&[&hello, &bytes], "4hello\x1ebAQIDBA=="),
        (&[&bytes, &hello, &bytes], "bAQIDBA==\x1e4hello\x1ebAQIDBA=="),
        (&[&Wire::binary(&[])], "b"),
        (&[&Wire::text(&[b"6"])], "6"),
    ];
    for (wires, body) in table {
        assert_eq!(encode_payload(wires.iter().copied()), body.as_bytes());
    }
}

#[test]
fn a_frame_is_whole_and_unmasked_at_every_length() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload = vec![b'x'; length];
        let built = {
            let mut frame = FrameBuilder::with_capacity(0);
            frame.payload().extend_from_slice(&payload);
            frame.text()
        };
        let wires = [
            (Wire::text(&[&payload]), Data::Text),
            (Wire::binary(&payload), Data::Binary),
            (built, Data::Text),
        ];
        for (wire, kind) in wires {
            let mut cursor = Cursor::new(wire.frame().clone());
            let (header, announced) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!(announced, length as u64);
            assert_eq!(header.opcode, OpCode::Data(kind));
            assert!(header.is_final && header.mask.is_none());
            assert_eq!(wire.is_binary(), kind == Data::Binary);
            assert_eq!(wire.payload(), payload);
            let start = usize::try_from(cursor.position()).unwrap();
            assert_eq!(&wire.frame()[start..], payload);
            assert_eq!(wire.len(), start + length);
        }
    }
    assert_eq!(Wire::text(&[b"4", b"hi"]).frame(), &b"\x81\x034hi"[..]);
    assert_eq!(Wire::binary(&[1, 2]).frame(), &b"\x82\x02\x01\x02"[..]);
}

#[test]
fn a_message_counts_what_it_holds() {
    let one = Message::from(Wire::text(&[b"2"]));
    assert_eq!((one.count(), one.len()), (1, 3));
    let many = Message::Many([Wire::text(&[b"4"]), Wire::binary(&[1, 2])].into());
    assert_eq!((many.count(), many.len()), (2, 7));
    assert!(many.wires()[1].is_binary());
}

proptest! {
    #[test]
    fn packets_come_back_from_a_polling_body(
        packets in prop::collection::vec(
            prop_oneof![
                // 0x1e stands in no JSON text, and no other text is sent.
                "[^\x1e]{0,20}".prop_map(|text| (false, text.into_bytes())),
                prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| (true, bytes)),
            ],
            1..8,
        ),
    ) {
        let wires: Vec<Wire> = packets
            .iter()
            .map(|(binary, data)| if *binary { Wire::binary(data) } else { Wire::text(&[b"4", data]) })
            .collect();
        let expected: Vec<_> = packets
            .into_iter()
            .map(|(binary, data)| Ok(if binary { Packet::Binary(data.into()) } else { Packet::Text(data.into()) }))
            .collect();
        prop_assert_eq!(decode_payload(encode_payload(wires.iter())), expected);
    }

    #[test]
    fn no_bytes_panic_and_nothing_follows_an_error(
        body in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(&b"0123456b\x1e{\"="[..])],
            0..200,
        ),
    ) {
        let results = decode_payload(body.into());
        let errors = results.iter().filter(|result| result.is_err()).count();
        prop_assert!(errors == 0 || errors == 1 && results.last().unwrap().is_err());
    }
}

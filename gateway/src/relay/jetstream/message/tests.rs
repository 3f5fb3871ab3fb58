#![allow(clippy::unwrap_used)]

use async_nats::HeaderMap;
use bytes::Bytes;

use super::{Headers, Undeliverable, decode, encode};
use crate::channel::Channel;
use crate::publication::{NewPublication, Value};

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, *value);
    }
    headers
}

fn publication(args: &[Value], spread: bool) -> NewPublication {
    let channel = Channel::new("a").unwrap();
    NewPublication {
        args: args.iter().cloned().collect(),
        spread,
        ..NewPublication::new(channel, "event", Value::null())
    }
}

#[test]
fn both_ways() {
    let json = Value::Json(bytes("{\"b\": 1.0}"));
    let binary = Value::Binary(bytes("\u{0}x"));
    for (args, spread) in [
        (vec![json.clone()], false),
        (vec![binary.clone()], false),
        (vec![json.clone()], true),
        (vec![json, binary, Value::Binary(Bytes::new())], true),
        (vec![], true),
    ] {
        for event in ["message", "é", " two words "] {
            let new = NewPublication {
                event: event.into(),
                id: Some("order 7/é".into()),
                ttl: Some(1_500),
                except: vec!["a b".into(), "c".into()],
                ..publication(&args, spread)
            };
            let (headers, payload) = encode(&new, "a", true);
            let content = decode("a", Headers::Map(Some(&headers)), &payload, 1_000).unwrap();
            assert_eq!((&*content.event, content.spread), (event, spread));
            assert_eq!(content.args, new.args);
            assert_eq!((content.id, content.except), (new.id, new.except));
            assert_eq!(content.ttl, Some(2_000));
        }
    }
}

/// Payload, headers, and what they are.
type Case = (&'static [u8], &'static [(&'static str, &'static str)], Value);

#[test]
fn payloads_of_apps() {
    let cases: [Case; 8] = [
        (b" {\"a\":1}\n", &[], Value::Json(bytes("{\"a\":1}"))),
        (b"7", &[], Value::Json(bytes("7"))),
        (b"hello", &[], Value::Json(bytes("\"hello\""))),
        (b"", &[], Value::Json(bytes("\"\""))),
        (b"\xff", &[], Value::Binary(Bytes::from_static(b"\xff"))),
        (b"7", &[("Push-Encoding", "text")], Value::Json(bytes("\"7\""))),
        (b"7", &[("Push-Encoding", "binary")], Value::Binary(bytes("7"))),
        (b"7", &[("Push-Encoding", "text"), ("Push-Encoding", "json")], Value::Json(bytes("7"))),
    ];
    for (payload, pairs, expected) in cases {
        let payload = Bytes::from_static(payload);
        let content = decode("a", Headers::Map(Some(&headers(pairs))), &payload, 1_000).unwrap();
        assert_eq!(content.args[0], expected);
        assert_eq!(&*content.event, "message");
    }
    assert_eq!(decode("a", Headers::Map(None), &bytes("7"), 100).unwrap().id, None);
}

#[test]
fn undeliverable() {
    use Undeliverable::{Event, Payload, TooLarge};
    for (payload, pairs, most, expected) in [
        (&b"{"[..], &[("Push-Encoding", "json")][..], 100, Payload),
        (b"\xff", &[("Push-Encoding", "text")], 100, Payload),
        (b"1", &[("Push-Encoding", "xml")], 100, Payload),
        (b"12", &[("Push-Args", "json:1")], 100, Payload),
        (b"12", &[("Push-Args", "json:99999999999999999999")], 100, Payload),
        (b"12", &[("Push-Args", "json:3")], 100, Payload),
        (b"12", &[("Push-Args", "json:1,,json:1")], 100, Payload),
        (b"1", &[("Push-Event", "disconnect")], 100, Event),
        (b"1", &[("Push-Event", "push:x")], 100, Event),
        (b"1", &[("Push-Event-Escaped", "%Z")], 100, Event),
        (b"12345", &[("Push-Event", "event")], 9, TooLarge),
    ] {
        let payload = Bytes::from_static(payload);
        assert_eq!(
            decode("a", Headers::Map(Some(&headers(pairs))), &payload, most),
            Err(expected),
            "{pairs:?}"
        );
    }
}

#[test]
fn ids_of_apps() {
    for (id, expected) in
        [("a/x", "x"), ("a/%C3%A9", "é"), ("b/x", "b/x"), ("x", "x"), ("a/%", "%")]
    {
        let headers = headers(&[("Nats-Msg-Id", id)]);
        let content = decode("a", Headers::Map(Some(&headers)), &bytes("1"), 100).unwrap();
        assert_eq!(content.id.as_deref(), Some(expected));
    }
}

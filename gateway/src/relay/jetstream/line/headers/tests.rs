#![allow(clippy::unwrap_used)]

use super::{Headers, Place};

const RAW: &[u8] = b"NATS/1.0\r\n\
    Nats-Sequence: 999999\r\n\
    Nats-Stream: OTHER\r\n\
    Nats-Time-Stamp: 2001-01-01T00:00:00Z\r\n\
    Push-Event:  first \r\n\
    Push-Event: a:b\r\n\
    Push-Events: other\r\n\
    folded: one\r\n two\r\n\
    Nats-Stream: PUSH_push\r\n\
    Nats-Subject: push.pub.a\r\n\
    Nats-Sequence: 12\r\n\
    Nats-Time-Stamp: 2026-01-31T23:59:59.123456789Z\r\n\
    Nats-Last-Sequence: 0\r\n\r\n";

#[test]
fn the_last_one_counts() {
    let headers = Headers::Raw(RAW);
    assert_eq!(headers.last("Push-Event"), Some("a:b"));
    assert_eq!(headers.last("folded"), Some("one"));
    assert_eq!(headers.last("two"), None);
    assert_eq!(headers.last("Push-Event:"), None);
    assert_eq!(headers.last("NATS/1.0"), None);
    let place = Place { stream: "PUSH_push", sequence: 12, time: "2026-01-31T23:59:59.123456789Z" };
    assert_eq!(headers.place(), Some(place));
}

#[test]
fn without_its_place_it_is_none() {
    for missing in ["Nats-Stream", "Nats-Sequence", "Nats-Time-Stamp"] {
        let text = String::from_utf8(RAW.to_vec()).unwrap().replace(missing, "Other");
        assert_eq!(Headers::Raw(text.as_bytes()).place(), None, "{missing}");
    }
    let text = String::from_utf8(RAW.to_vec()).unwrap().replace(" 12\r", " -12\r");
    assert_eq!(Headers::Raw(text.as_bytes()).place(), None);
    assert_eq!(Headers::Raw(b"").place(), None);
    assert_eq!(Headers::Map(None).place(), None);
}

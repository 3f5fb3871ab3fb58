//! Publications as NATS messages: what is read can be written, and then reads
//! the same.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use gateway::channel::Channel;
use gateway::publication::NewPublication;
use gateway::relay::jetstream::message::{Content, Headers, decode, encode};

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "nats", planted: "a publication's id ends at its first slash", check };

const NAMES: [&str; 7] = [
    "Push-Event",
    "Push-Event-Escaped",
    "Push-Encoding",
    "Push-Args",
    "Push-Except",
    "Nats-Msg-Id",
    "Nats-TTL",
];

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let mut headers = HeaderMap::new();
    let mut raw = "NATS/1.0\r\n".to_owned();
    for _ in 0..input.byte() % 8 {
        let name = NAMES[usize::from(input.byte()) % NAMES.len()];
        let text = input.text().trim_ascii();
        if let (Ok(key), Ok(value)) = (name.parse::<HeaderName>(), text.parse::<HeaderValue>()) {
            for part in [name, ": ", text, "\r\n"] {
                raw.push_str(part);
            }
            headers.append(key, value);
        }
    }
    let payload = Bytes::copy_from_slice(input.rest());
    let most = 300;
    let content = decode("a.b", Headers::Map(Some(&headers)), &payload, most);
    // As they stand in a message they say the same.
    assert_eq!(decode("a.b", Headers::Raw(raw.as_bytes()), &payload, most), content);
    let Ok(content) = content else { return };
    // A text becomes JSON with its quotes and escapes.
    let size: usize = content.args.iter().map(gateway::publication::Value::len).sum();
    assert!(size <= payload.len() * 6 + 2);
    let new = NewPublication {
        channel: Channel::new("a.b").unwrap(),
        event: content.event.clone(),
        args: content.args.clone(),
        spread: content.spread,
        id: content.id.clone(),
        ttl: content.ttl,
        store: true,
        except: content.except.clone(),
    };
    let (headers, payload) = encode(&new, "a.b", true);
    let again = decode("a.b", Headers::Map(Some(&headers)), &payload, usize::MAX).unwrap();
    let expected = Content {
        // Whole seconds, one at least.
        ttl: content.ttl.map(|ttl| ttl.div_ceil(1000).max(1).saturating_mul(1000)),
        id: content.id.map(|id| cut(id, planted)),
        ..content
    };
    assert_eq!(again, expected);
}

fn cut(id: Box<str>, planted: bool) -> Box<str> {
    match id.split_once('/') {
        Some((start, _)) if planted => start.into(),
        _ => id,
    }
}

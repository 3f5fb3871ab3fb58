//! Socket.IO packets as they come: text, and attachments that follow it.

use serde_json::{Value, json};

/// One Socket.IO packet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Packet {
    pub(super) kind: u8,
    pub(super) namespace: String,
    pub(super) id: Option<u64>,
    pub(super) data: Value,
}

// === impl Packet ===

impl Packet {
    /// Reads a packet's text; also how many attachments follow.
    pub(super) fn parse(text: &str) -> (Self, usize) {
        let kind = text.as_bytes().first().copied().unwrap_or_default();
        let mut rest = text.get(1..).unwrap_or_default();
        let mut attachments = 0;
        let mut plain = kind;
        if kind == b'5' || kind == b'6' {
            let (count, after) = rest.split_once('-').expect("a count of attachments");
            attachments = count.parse().expect("a count of attachments");
            rest = after;
            plain = if kind == b'5' { b'2' } else { b'3' };
        }
        let mut namespace = "/".to_owned();
        if rest.starts_with('/') {
            let (name, after) = rest.split_once(',').unwrap_or((rest, ""));
            name.clone_into(&mut namespace);
            rest = after;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let id = rest[..digits].parse().ok();
        let json = &rest[digits..];
        let data = if json.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(json).unwrap_or_else(|error| panic!("{text}: {error}"))
        };
        (Self { kind: plain, namespace, id, data }, attachments)
    }
}

/// Puts attachments where their placeholders stand.
pub(super) fn fill(value: &mut Value, binaries: &[Vec<u8>]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, binaries)),
        Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = object.get("num").and_then(Value::as_u64).unwrap_or(u64::MAX);
            let bytes = usize::try_from(number).ok().and_then(|number| binaries.get(number));
            *value = json!({"_binary": bytes.expect("a placeholder's attachment")});
        }
        Value::Object(object) => object.values_mut().for_each(|item| fill(item, binaries)),
        _ => (),
    }
}

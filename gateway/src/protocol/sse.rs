//! Server-Sent Events, as browsers' `EventSource` reads them.
//! Source: the HTML standard, 9.2.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::protocol::json::{put_data, put_number, put_string};
use crate::publication::Publication;

/// An event: `id: <offset>` where there is one, `event: <event>` and
/// `data: {"channel":…,"data":…}` (or `"args":[…]`).
pub fn publication(publication: &Publication, offset: Option<&str>) -> Bytes {
    let size: usize = publication.args.iter().map(crate::publication::Value::len).sum();
    let mut out = Vec::with_capacity(size + publication.event.len() + 120);
    if let Some(offset) = offset {
        put_field(&mut out, "id", offset);
    }
    put_field(&mut out, "event", &publication.event);
    out.extend_from_slice(b"data: ");
    let start = out.len();
    out.extend_from_slice(br#"{"channel":"#);
    put_string(&mut out, publication.channel.as_str());
    out.push(b',');
    put_data(&mut out, publication);
    out.push(b'}');
    one_line(&mut out[start..]);
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// `id: …` alone: moves the client's place without an event.
pub fn position(offset: &str) -> Bytes {
    let mut out = Vec::with_capacity(offset.len() + 6);
    put_field(&mut out, "id", offset);
    out.push(b'\n');
    out.into()
}

/// A comment, which clients skip: a heartbeat.
pub fn comment(text: &str) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 4);
    out.extend_from_slice(b": ");
    put_line(&mut out, text);
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// An event of the gateway's own, without an id.
pub fn notice(event: &str, data: &serde_json::Value) -> Bytes {
    let mut out = Vec::with_capacity(event.len() + 120);
    put_field(&mut out, "event", event);
    out.extend_from_slice(b"data: ");
    // Memory takes every byte, and the keys are strings.
    let _ = serde_json::to_writer(&mut out, data);
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// How long a client waits before it connects again, in milliseconds.
pub fn retry(ms: u64) -> Bytes {
    let mut out = Vec::with_capacity(32);
    out.extend_from_slice(b"retry: ");
    put_number(&mut out, ms);
    out.extend_from_slice(b"\n\n");
    out.into()
}

fn put_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    put_line(out, value);
    out.push(b'\n');
}

/// Appends text that must not end its line.
fn put_line(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    one_line(&mut out[start..]);
}

/// Makes one line of it. In JSON a line break can only stand between tokens,
/// where a space says the same.
fn one_line(bytes: &mut [u8]) {
    for byte in bytes {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

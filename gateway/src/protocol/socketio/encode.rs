//! Packets on their way out. Each is written once, into the frame itself.

use bytes::Bytes;

use super::MAX_ATTACHMENTS;
use crate::error::{Error, ErrorCode};
use crate::protocol::engineio::{FrameBuilder, Message, Wire};
use crate::protocol::json::{put_number, put_string};
use crate::publication::Value;

/// Room for a packet's header and brackets; a namespace comes on top.
const OVERHEAD: usize = 40;

/// `40{…}` or `40/ns,{…}`: the namespace is joined. `data` is a JSON object,
/// or empty.
pub fn connect(namespace: &str, data: &[u8]) -> Wire {
    Wire::text(&[b"40", prefix(namespace), separator(namespace), data])
}

/// `44{"message":…}` or `44/ns,{"message":…}`, with `"data":…` if there is
/// any: the namespace is refused. The client doesn't try again by itself.
pub fn connect_error(namespace: &str, message: &str, data: Option<&serde_json::Value>) -> Wire {
    let mut frame = FrameBuilder::with_capacity(OVERHEAD + namespace.len() + message.len());
    let out = frame.payload();
    put_head(out, b"44", namespace);
    out.extend_from_slice(br#"{"message":"#);
    put_string(out, message);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        // Memory takes every byte, and the keys are strings.
        let _ = serde_json::to_writer(&mut *out, data);
    }
    out.push(b'}');
    frame.text()
}

/// `41` or `41/ns,`: the server ends the session in this namespace. The
/// client doesn't come back by itself.
pub fn disconnect(namespace: &str) -> Wire {
    Wire::text(&[b"41", prefix(namespace), separator(namespace)])
}

/// `42["event",args…]`, or `45<n>-…` with its attachments.
///
/// What a client refuses to read is [`check_args`]'s to find.
pub fn event(namespace: &str, event: &str, args: &[Value], id: Option<u64>) -> Message {
    packet(*b"42", *b"45", namespace, id, Some(event), args)
}

/// `43<id>[args…]`, or `46<n>-…` with its attachments.
pub fn ack(namespace: &str, id: u64, args: &[Value]) -> Message {
    packet(*b"43", *b"46", namespace, Some(id), None, args)
}

/// An event whose arguments stay byte for byte as a client sent them:
/// [`super::Event::raw`] with its attachments.
pub fn event_raw(
    namespace: &str,
    event: &str,
    raw: &[u8],
    attachments: &[Bytes],
    id: Option<u64>,
) -> Message {
    raw_packet(*b"42", *b"45", namespace, id, Some(event), raw, attachments)
}

/// An ack whose arguments stay byte for byte as a client sent them.
pub fn ack_raw(namespace: &str, id: u64, raw: &[u8], attachments: &[Bytes]) -> Message {
    raw_packet(*b"43", *b"46", namespace, Some(id), None, raw, attachments)
}

/// Refuses arguments that no Socket.IO client could take: more attachments
/// than its decoder allows, or bytes beside JSON that looks like a placeholder
/// and would be taken for one.
pub fn check_args(args: &[Value]) -> Result<(), Error> {
    let binaries = attachments(args).count();
    if binaries > MAX_ATTACHMENTS {
        return Err(Error::new(
            ErrorCode::BadRequest,
            format!("{binaries} binary arguments; {MAX_ATTACHMENTS} at most"),
        )
        .field("args"));
    }
    if binaries == 0 {
        return Ok(());
    }
    let mut none = super::placeholder::Attachments::new(0);
    let clash = args.iter().any(|arg| match arg {
        Value::Json(json) => {
            std::str::from_utf8(json).is_err()
                || none.find(std::str::from_utf8(json).unwrap_or("")).is_err()
        }
        Value::Binary(_) => false,
    });
    if clash {
        return Err(Error::new(
            ErrorCode::BadRequest,
            "beside a binary argument, JSON must not have an object with \
             `\"_placeholder\": true`, nor be nested deeper than 128; rename the key",
        )
        .field("args"));
    }
    Ok(())
}

fn packet(
    text: [u8; 2],
    binary: [u8; 2],
    namespace: &str,
    id: Option<u64>,
    event: Option<&str>,
    args: &[Value],
) -> Message {
    let count = attachments(args).count();
    let json: usize = args
        .iter()
        .map(|arg| match arg {
            Value::Json(json) => json.len() + 1,
            Value::Binary(_) => OVERHEAD,
        })
        .sum();
    let mut frame = open(text, binary, namespace, id, event, count, json);
    let out = frame.payload();
    let mut number = 0;
    for (index, arg) in args.iter().enumerate() {
        if index > 0 || event.is_some() {
            out.push(b',');
        }
        match arg {
            Value::Json(json) => out.extend_from_slice(json),
            Value::Binary(_) => {
                out.extend_from_slice(br#"{"_placeholder":true,"num":"#);
                put_number(out, number);
                out.push(b'}');
                number += 1;
            }
        }
    }
    out.push(b']');
    with_attachments(frame.text(), attachments(args))
}

fn raw_packet(
    text: [u8; 2],
    binary: [u8; 2],
    namespace: &str,
    id: Option<u64>,
    event: Option<&str>,
    raw: &[u8],
    attachments: &[Bytes],
) -> Message {
    let mut frame = open(text, binary, namespace, id, event, attachments.len(), raw.len() + 1);
    let out = frame.payload();
    if event.is_some() && !raw.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(raw);
    out.push(b']');
    with_attachments(frame.text(), attachments.iter())
}

/// Everything up to the arguments.
fn open(
    text: [u8; 2],
    binary: [u8; 2],
    namespace: &str,
    id: Option<u64>,
    event: Option<&str>,
    attachments: usize,
    json: usize,
) -> FrameBuilder {
    let name = event.map_or(0, str::len);
    // Beside the JSON: type, comma, brackets and quotes, and the rest only
    // where it is there, since the frame may live long in a history.
    let ns = if is_root(namespace) { 0 } else { namespace.len() + 1 };
    let numbers = if id.is_some() { 20 } else { 0 } + if attachments > 0 { 4 } else { 0 };
    let mut frame = FrameBuilder::with_capacity(2 + ns + numbers + 1 + name + 2 + json + 1);
    let out = frame.payload();
    if attachments == 0 {
        put_head(out, &text, namespace);
    } else {
        out.extend_from_slice(&binary);
        put_number(out, attachments as u64);
        put_head(out, b"-", namespace);
    }
    if let Some(id) = id {
        put_number(out, id);
    }
    out.push(b'[');
    if let Some(event) = event {
        put_string(out, event);
    }
    frame
}

fn with_attachments<'a>(head: Wire, attachments: impl Iterator<Item = &'a Bytes>) -> Message {
    let mut attachments = attachments.peekable();
    if attachments.peek().is_none() {
        return Message::One(head);
    }
    let wires = attachments.map(|bytes| Wire::binary(bytes));
    Message::Many(std::iter::once(head).chain(wires).collect())
}

fn attachments(args: &[Value]) -> impl Iterator<Item = &Bytes> {
    args.iter().filter_map(|arg| match arg {
        Value::Binary(bytes) => Some(bytes),
        Value::Json(_) => None,
    })
}

fn put_head(out: &mut Vec<u8>, kind: &[u8], namespace: &str) {
    out.extend_from_slice(kind);
    out.extend_from_slice(prefix(namespace));
    out.extend_from_slice(separator(namespace));
}

/// The namespace as it stands in a packet: nothing for `/`.
fn prefix(namespace: &str) -> &[u8] {
    if is_root(namespace) { b"" } else { namespace.as_bytes() }
}

fn separator(namespace: &str) -> &'static [u8] {
    if is_root(namespace) { b"" } else { b"," }
}

fn is_root(namespace: &str) -> bool {
    matches!(namespace, "" | "/")
}

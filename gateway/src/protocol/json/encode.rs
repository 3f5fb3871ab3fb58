//! What the server sends on `/ws`, written once, into the frame itself.

use serde::Serialize;

use super::RequestId;
use crate::error::Error;
use crate::protocol::engineio::{FrameBuilder, Wire, put_base64};
use crate::publication::{Publication, Value};

/// `{"id":…,"ok":{…}}`: the request is done.
pub fn ok(id: Option<&RequestId>, body: &impl Serialize) -> Wire {
    answer(id, br#""ok":"#, body)
}

/// `{"id":…,"error":{"code":…,"message":…,"retry":…}}`. Without an id it
/// answers what couldn't be read.
pub fn error(id: Option<&RequestId>, error: &Error) -> Wire {
    answer(id, br#""error":"#, &error.to_json())
}

/// `{"channel":…,"event":…,"data":…,"offset":…,"id":…}`. `args` stands for
/// `data` where it was published so, `offset` and `id` only where there are
/// any.
pub fn publication(publication: &Publication, offset: Option<&str>) -> Wire {
    let id = publication.id.as_deref();
    let sized = publication.channel.as_str().len()
        + publication.event.len()
        + publication.args.iter().map(value_len).sum::<usize>()
        + offset.map_or(0, |offset| offset.len() + 12)
        + id.map_or(0, |id| id.len() + 8);
    let mut frame = FrameBuilder::with_capacity(sized + 40);
    let out = frame.payload();
    out.extend_from_slice(br#"{"channel":"#);
    put_string(out, publication.channel.as_str());
    out.extend_from_slice(br#","event":"#);
    put_string(out, &publication.event);
    out.push(b',');
    put_data(out, publication);
    if let Some(offset) = offset {
        out.extend_from_slice(br#","offset":"#);
        put_string(out, offset);
    }
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        put_string(out, id);
    }
    out.push(b'}');
    frame.text()
}

/// `{"offset":"…"}`: from here the session can resume.
pub fn offset_notice(offset: &str) -> Wire {
    let mut frame = FrameBuilder::with_capacity(offset.len() + 16);
    let out = frame.payload();
    out.extend_from_slice(br#"{"offset":"#);
    put_string(out, offset);
    out.push(b'}');
    frame.text()
}

fn answer(id: Option<&RequestId>, kind: &[u8], body: &impl Serialize) -> Wire {
    let mut frame = FrameBuilder::with_capacity(128);
    let out = frame.payload();
    out.push(b'{');
    if let Some(id) = id {
        out.extend_from_slice(br#""id":"#);
        out.extend_from_slice(id.as_json().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(kind);
    // Memory takes every byte, and the keys are strings.
    let _ = serde_json::to_writer(&mut *out, body);
    out.push(b'}');
    frame.text()
}

/// Appends `"data":…`, or `"args":[…]` where it was published so or where
/// there isn't exactly one argument.
pub(in crate::protocol) fn put_data(out: &mut Vec<u8>, publication: &Publication) {
    match publication.args.as_slice() {
        [data] if !publication.spread => {
            out.extend_from_slice(br#""data":"#);
            put_value(out, data);
        }
        args => {
            out.extend_from_slice(br#""args":["#);
            for (index, arg) in args.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                put_value(out, arg);
            }
            out.push(b']');
        }
    }
}

/// Appends a value: JSON as it stands, bytes as `{"base64":"…"}`.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Json(json) => out.extend_from_slice(json),
        Value::Binary(bytes) => {
            out.extend_from_slice(br#"{"base64":""#);
            put_base64(out, bytes);
            out.extend_from_slice(br#""}"#);
        }
    }
}

/// Bytes that a value takes, with a comma.
fn value_len(value: &Value) -> usize {
    match value {
        Value::Json(json) => json.len() + 1,
        Value::Binary(bytes) => bytes.len().div_ceil(3) * 4 + 14,
    }
}

/// Appends a JSON string.
pub(in crate::protocol) fn put_string(out: &mut Vec<u8>, text: &str) {
    // Memory takes every byte, and every text is a JSON string.
    let _ = serde_json::to_writer(out, text);
}

/// Appends a number.
pub(in crate::protocol) fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

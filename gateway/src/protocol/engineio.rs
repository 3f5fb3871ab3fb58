//! Engine.IO 4: packets, and how the two transports carry them.
//!
//! A packet is one WebSocket message, or one part of a polling payload, whose
//! parts are separated by 0x1e. Bytes travel as a binary WebSocket message, or
//! as `b` and base64 where only text goes.
//! Source: the Engine.IO protocol, version 4, and `engine.io-parser` 5.

mod wire;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
use bytes::{BufMut as _, Bytes, BytesMut};

pub(in crate::protocol) use wire::{FrameBuilder, put_base64};
pub use wire::{Message, Wire, encode_payload};

/// Stands between the packets of a polling payload.
pub const SEPARATOR: u8 = 0x1e;

/// One Engine.IO packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `0`: the handshake; only a server sends it.
    Open(Bytes),
    /// `1`: the transport can be closed.
    Close,
    /// `2`: the server's heartbeat; `2probe` is a client's that upgrades.
    Ping(Bytes),
    /// `3`: the answer to a ping, with the ping's data.
    Pong(Bytes),
    /// `4`: a message's text, valid UTF-8.
    Text(Bytes),
    /// A message's bytes.
    Binary(Bytes),
    /// `5`: the client has moved to the WebSocket.
    Upgrade,
    /// `6`: ends a poll, says nothing.
    Noop,
}

/// Why bytes are not an Engine.IO packet. The reference server closes the
/// session on each of them (`parser error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No byte: not even a type.
    #[error("an Engine.IO packet is empty; it begins with its type")]
    Empty,
    /// The first byte is not a type.
    #[error("an Engine.IO packet begins with byte {0:#04x}; a type is 0 to 6, or b for base64")]
    UnknownType(u8),
    /// Text that is not UTF-8.
    #[error("an Engine.IO packet is not valid UTF-8")]
    NotUtf8,
    /// `b` and what is not base64.
    #[error("an Engine.IO packet of type b is not valid base64")]
    BadBase64,
}

/// What the server says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The session's id.
    pub sid: &'a str,
    /// Whether the client may upgrade to a WebSocket: true on polling.
    pub upgrade: bool,
    /// Milliseconds between two pings.
    pub ping_interval: u64,
    /// Milliseconds that the client has to answer one.
    pub ping_timeout: u64,
    /// Largest polling payload or WebSocket message, in bytes.
    pub max_payload: usize,
}

/// The packets of a polling payload, one after the other; see [`packets`].
#[derive(Debug)]
pub struct Packets {
    // None after the last packet or the first error.
    rest: Option<Bytes>,
}

/// Reads one packet: a WebSocket text message, or one part of a polling
/// payload.
pub fn decode_text(text: Bytes) -> Result<Packet, DecodeError> {
    if text.first() != Some(&b'b') {
        std::str::from_utf8(&text).map_err(|_| DecodeError::NotUtf8)?;
    }
    decode(text)
}

/// Reads the packets of a polling body, which share its memory. Stops after
/// the first error, as the reference parser does.
pub fn decode_payload(body: Bytes) -> Vec<Result<Packet, DecodeError>> {
    packets(body).collect()
}

/// The same, one packet at a time: a body of the smallest packets makes a
/// list twenty times its size.
pub fn packets(body: Bytes) -> Packets {
    Packets { rest: Some(body) }
}

/// The JSON body of a refused request, by the reference server's number; a
/// number that it doesn't know is `Bad request`.
pub fn error_body(code: u8) -> &'static str {
    match code {
        0 => r#"{"code":0,"message":"Transport unknown"}"#,
        1 => r#"{"code":1,"message":"Session ID unknown"}"#,
        2 => r#"{"code":2,"message":"Bad handshake method"}"#,
        4 => r#"{"code":4,"message":"Forbidden"}"#,
        5 => r#"{"code":5,"message":"Unsupported protocol version"}"#,
        _ => r#"{"code":3,"message":"Bad request"}"#,
    }
}

/// Reads a packet whose text is known to be UTF-8, or base64 to be checked.
fn decode(mut text: Bytes) -> Result<Packet, DecodeError> {
    let kind = *text.first().ok_or(DecodeError::Empty)?;
    let data = text.split_off(1);
    Ok(match kind {
        b'0' => Packet::Open(data),
        b'1' => Packet::Close,
        b'2' => Packet::Ping(data),
        b'3' => Packet::Pong(data),
        b'4' => Packet::Text(data),
        b'5' => Packet::Upgrade,
        b'6' => Packet::Noop,
        b'b' => Packet::Binary(from_base64(&data)?),
        other => return Err(DecodeError::UnknownType(other)),
    })
}

/// Node's decoder, which the reference uses, takes both alphabets and does
/// without padding; it also skips what is no base64 at all, which is refused
/// here: bytes would be lost silently.
fn from_base64(text: &[u8]) -> Result<Bytes, DecodeError> {
    STANDARD_PAD_INDIFFERENT
        .decode(text)
        .or_else(|_| URL_SAFE_PAD_INDIFFERENT.decode(text))
        .map(Bytes::from)
        .map_err(|_| DecodeError::BadBase64)
}

// === impl Handshake ===

impl Handshake<'_> {
    /// The open packet, `0{"sid":…}`.
    pub fn to_packet(&self) -> Bytes {
        let mut packet = BytesMut::with_capacity(self.sid.len() + 128).writer();
        let upgrades: &[&str] = if self.upgrade { &["websocket"] } else { &[] };
        let handshake = OpenData {
            sid: self.sid,
            upgrades,
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            max_payload: self.max_payload,
        };
        packet.get_mut().put_u8(b'0');
        // Memory takes every byte, and the fields are text and numbers.
        let _ = serde_json::to_writer(&mut packet, &handshake);
        packet.into_inner().freeze()
    }
}

/// The order of the fields is the reference server's.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenData<'a> {
    sid: &'a str,
    upgrades: &'a [&'a str],
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: usize,
}

// === impl Packets ===

impl Iterator for Packets {
    type Item = Result<Packet, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut packet = self.rest.take()?;
        if let Some(end) = packet.iter().position(|&byte| byte == SEPARATOR) {
            let mut rest = packet.split_off(end);
            self.rest = Some(rest.split_off(1));
        }
        let result = decode_text(packet);
        if result.is_err() {
            self.rest = None;
        }
        Some(result)
    }
}

//! Socket.IO 5: what an Engine.IO message means to an app.
//!
//! A packet is a type, then, each where it applies: the number of attachments
//! and `-`, a namespace and `,`, an ack id, and JSON. The attachments follow
//! as binary messages of their own.
//! Source: the Socket.IO protocol, version 5, and `socket.io-parser` 4, whose
//! decoder is the rule; where this one differs, it says so.

mod encode;
mod event;
mod placeholder;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::IgnoredAny;

pub use encode::{ack, ack_raw, check_args, connect, connect_error, disconnect, event, event_raw};
pub use event::{Event, parse_args, parse_event};

/// Most attachments that a packet may have: the reference decoder's default,
/// so also what clients take.
pub const MAX_ATTACHMENTS: usize = 10;

/// What a packet is. Those with attachments are `Event` and `Ack` as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `0`: joins a namespace; the data is what the client authenticates with.
    Connect,
    /// `1`: leaves one.
    Disconnect,
    /// `2` and `5`.
    Event,
    /// `3` and `6`.
    Ack,
    /// `4`: only a server sends it.
    ConnectError,
}

/// A namespace's name; `/` unless a packet says otherwise. As the reference,
/// a `?query` behind it is part of the name.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Namespace(
    // None is `/`: nearly every packet's, so it costs no memory.
    Option<Box<str>>,
);

/// A packet with all its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub kind: Kind,
    /// For which namespace.
    pub namespace: Namespace,
    /// With an event: an ack is wanted under this id. With an ack: which.
    pub id: Option<u64>,
    /// The JSON text as sent, valid for the kind. Always there on an event.
    pub data: Option<Bytes>,
    /// What the placeholders in `data` stand for.
    pub attachments: Vec<Bytes>,
}

/// Why a message is not a Socket.IO packet, or not now. The reference server
/// closes the transport on each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No byte.
    #[error("a Socket.IO packet is empty; it begins with its type")]
    Empty,
    /// The first byte is not a type.
    #[error("a Socket.IO packet begins with byte {0:#04x}; a type is 0 to 6")]
    UnknownType(u8),
    /// Text that is not UTF-8.
    #[error("a Socket.IO packet is not valid UTF-8")]
    NotUtf8,
    /// No number, zero, or no `-` behind it.
    #[error("a Socket.IO packet doesn't say how many attachments it has")]
    AttachmentCount,
    /// More than [`MAX_ATTACHMENTS`].
    #[error("a Socket.IO packet has more than {MAX_ATTACHMENTS} attachments")]
    TooManyAttachments,
    /// Text came where an attachment is owed.
    #[error("a Socket.IO packet came before the last one's attachments")]
    AttachmentsOwed,
    /// Bytes came and no packet waits for them.
    #[error("bytes came that no Socket.IO packet announced")]
    UnexpectedBinary,
    /// A placeholder that stands for no attachment, or for one that another
    /// placeholder has taken.
    #[error("a placeholder names an attachment that isn't there")]
    Placeholder,
    /// An ack id over 64 bits.
    #[error("a Socket.IO ack id is too large")]
    Id,
    /// Not JSON, or not of the form that the kind has.
    #[error("a Socket.IO packet's payload is not valid for its type")]
    Payload,
    /// An event with the name of one of the protocol's own.
    #[error("a Socket.IO event has a reserved name")]
    Reserved,
    /// Placeholders are looked for down to a depth of 128 only.
    #[error("a Socket.IO packet with attachments is nested too deeply")]
    Depth,
}

/// Puts packets and their attachments together. Small when idle.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Option<Box<Pending>>,
}

/// A packet some of whose attachments haven't come.
#[derive(Debug)]
struct Pending {
    packet: Packet,
    owed: usize,
}

// === impl Namespace ===

impl Namespace {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }

    /// Whether it is `/`.
    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }
}

impl From<&str> for Namespace {
    fn from(name: &str) -> Self {
        Self((!matches!(name, "" | "/")).then(|| name.into()))
    }
}

impl Deref for Namespace {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Namespace {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Namespace {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Namespace {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({:?})", self.as_str())
    }
}

// === impl Decoder ===

impl Decoder {
    /// A decoder that waits for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a text message. None: attachments follow.
    pub fn text(&mut self, text: Bytes) -> Result<Option<Packet>, DecodeError> {
        if self.pending.is_some() {
            return Err(DecodeError::AttachmentsOwed);
        }
        let (packet, owed) = parse(text)?;
        if owed == 0 {
            return Ok(Some(packet));
        }
        self.pending = Some(Box::new(Pending { packet, owed }));
        Ok(None)
    }

    /// Reads a binary message: an attachment. None: more are owed. How many
    /// bytes may wait here is the caller's to bound.
    pub fn binary(&mut self, data: Bytes) -> Result<Option<Packet>, DecodeError> {
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedBinary)?;
        pending.packet.attachments.push(data);
        if pending.packet.attachments.len() < pending.owed {
            self.pending = Some(pending);
            return Ok(None);
        }
        Ok(Some(pending.packet))
    }

    /// Whether attachments are owed.
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }
}

/// Reads a packet's text, and how many attachments follow.
fn parse(mut bytes: Bytes) -> Result<(Packet, usize), DecodeError> {
    let text = std::str::from_utf8(&bytes).map_err(|_| DecodeError::NotUtf8)?;
    let (kind, binary) = match *bytes.first().ok_or(DecodeError::Empty)? {
        b'0' => (Kind::Connect, false),
        b'1' => (Kind::Disconnect, false),
        b'2' => (Kind::Event, false),
        b'3' => (Kind::Ack, false),
        b'4' => (Kind::ConnectError, false),
        b'5' => (Kind::Event, true),
        b'6' => (Kind::Ack, true),
        other => return Err(DecodeError::UnknownType(other)),
    };
    let mut rest = &text[1..];
    let owed = if binary { attachment_count(&mut rest)? } else { 0 };
    let namespace = if rest.starts_with('/') {
        let (name, after) = rest.split_once(',').unwrap_or((rest, ""));
        rest = after;
        Namespace::from(name)
    } else {
        Namespace::default()
    };
    let id = match digits(&mut rest) {
        "" => None,
        digits => Some(digits.parse().map_err(|_| DecodeError::Id)?),
    };
    check_payload(kind, rest)?;
    let payload = bytes.len() - rest.len();
    let data = Some(bytes.split_off(payload)).filter(|data| !data.is_empty());
    Ok((Packet { kind, namespace, id, data, attachments: Vec::new() }, owed))
}

/// Takes `<number>-` off. Only decimal digits: the reference also reads
/// `1.0`, `1e1` and `0x2` as numbers; no client writes them.
fn attachment_count(rest: &mut &str) -> Result<usize, DecodeError> {
    let number = digits(rest);
    *rest = rest.strip_prefix('-').ok_or(DecodeError::AttachmentCount)?;
    match number.trim_start_matches('0') {
        // No number, or zero: such a packet has another type.
        "" => Err(DecodeError::AttachmentCount),
        significant => significant
            .parse()
            .ok()
            .filter(|&count| count <= MAX_ATTACHMENTS)
            .ok_or(DecodeError::TooManyAttachments),
    }
}

/// Takes the leading digits off. The reference counts spaces as digits too,
/// and so reads an id from `2 ["a"]`.
fn digits<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits
}

/// Checks what follows the header.
///
/// An event without payload is refused; the reference lets it pass and then
/// calls no handler, so it would be lost silently.
fn check_payload(kind: Kind, payload: &str) -> Result<(), DecodeError> {
    match (kind, payload) {
        (Kind::Event, _) => event::check(payload),
        (_, "") => Ok(()),
        (Kind::Connect, _) => json_of(payload, b"{"),
        (Kind::Disconnect, _) => Err(DecodeError::Payload),
        (Kind::Ack, _) => json_of(payload, b"["),
        (Kind::ConnectError, _) => json_of(payload, b"{\""),
    }
}

/// Checks that it is JSON whose first character is one of these.
fn json_of(payload: &str, first: &[u8]) -> Result<(), DecodeError> {
    // The parser skips values without recursion, at any depth.
    let valid = serde_json::from_str::<IgnoredAny>(payload).is_ok();
    let found = payload.trim_start_matches([' ', '\t', '\n', '\r']).bytes().next();
    match found {
        Some(byte) if valid && first.contains(&byte) => Ok(()),
        _ => Err(DecodeError::Payload),
    }
}

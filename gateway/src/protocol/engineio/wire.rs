//! Packets on their way out: encoded once, shared by every session.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};

use super::SEPARATOR;
use crate::protocol::websocket::{MAX_HEADER, Opcode, ServerHeader};

/// A packet ready for both transports: the complete, unmasked WebSocket frame,
/// whose payload is also what polling sends. A clone shares the bytes.
#[derive(Clone)]
pub struct Wire {
    frame: Bytes,
    // Bytes of the frame's header.
    header: u8,
    binary: bool,
}

/// What is handed to an outbox as one: the text of an event and its
/// attachments must not be separated.
#[derive(Clone, Debug)]
pub enum Message {
    /// One packet.
    One(Wire),
    /// A packet with its attachments, in order.
    Many(Arc<[Wire]>),
}

/// A frame in the making: the payload is written behind room for the header,
/// so that a payload whose length isn't known beforehand is written once.
pub(in crate::protocol) struct FrameBuilder {
    buffer: Vec<u8>,
}

/// The body of a poll's answer: the packets separated by 0x1e, binary ones as
/// `b` and base64.
pub fn encode_payload<'a>(packets: impl Iterator<Item = &'a Wire>) -> Bytes {
    let mut body = Vec::new();
    for (index, wire) in packets.enumerate() {
        if index > 0 {
            body.push(SEPARATOR);
        }
        if wire.binary {
            body.push(b'b');
            put_base64(&mut body, wire.payload());
        } else {
            body.extend_from_slice(wire.payload());
        }
    }
    body.into()
}

/// Appends base64 with padding.
pub(in crate::protocol) fn put_base64(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let start = buffer.len();
    buffer.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what the encoding needs.
    let written = STANDARD.encode_slice(bytes, &mut buffer[start..]).unwrap_or(0);
    buffer.truncate(start + written);
}

// === impl Wire ===

impl Wire {
    /// A text frame whose payload is the parts, one after the other; the first
    /// begins with the packet's type. The parts are UTF-8.
    pub fn text(parts: &[&[u8]]) -> Self {
        Self::new(Opcode::Text, parts)
    }

    /// A binary frame.
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(Opcode::Binary, &[payload])
    }

    /// Bytes that are complete as they are: a WebSocket control frame, a piece
    /// of an event stream. They have no place in a polling payload.
    pub fn raw(bytes: Bytes) -> Self {
        Self { frame: bytes, header: 0, binary: false }
    }

    fn new(opcode: Opcode, parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum();
        let header = ServerHeader::new(opcode, length);
        let mut frame = Vec::with_capacity(header.as_bytes().len() + length);
        frame.extend_from_slice(header.as_bytes());
        for part in parts {
            frame.extend_from_slice(part);
        }
        Self { frame: frame.into(), header: header.len(), binary: opcode == Opcode::Binary }
    }

    /// The whole WebSocket frame.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The packet without the frame's header.
    pub fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.header)..]
    }

    /// Whether it is a binary frame.
    pub fn is_binary(&self) -> bool {
        self.binary
    }

    /// Bytes of the frame, for accounting; never 0.
    #[allow(clippy::len_without_is_empty)] // A frame has a header.
    pub fn len(&self) -> usize {
        self.frame.len()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.binary {
            write!(f, "Wire(binary, {} bytes)", self.payload().len())
        } else {
            write!(f, "Wire({})", String::from_utf8_lossy(self.payload()))
        }
    }
}

// === impl Message ===

impl Message {
    /// The packets, in the order in which they go out.
    pub fn wires(&self) -> &[Wire] {
        match self {
            Self::One(wire) => std::slice::from_ref(wire),
            Self::Many(wires) => wires,
        }
    }

    /// Bytes of all frames, for accounting; never 0.
    #[allow(clippy::len_without_is_empty)] // It has at least one frame.
    pub fn len(&self) -> usize {
        self.wires().iter().map(Wire::len).sum()
    }

    /// The frames as one piece, for what has no frames of its own.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::One(wire) => wire.frame,
            Self::Many(wires) => wires.iter().flat_map(|wire| wire.frame.iter().copied()).collect(),
        }
    }

    /// How many packets it is.
    pub fn count(&self) -> usize {
        self.wires().len()
    }
}

impl From<Wire> for Message {
    fn from(wire: Wire) -> Self {
        Self::One(wire)
    }
}

// === impl FrameBuilder ===

impl FrameBuilder {
    /// Room for a payload of so many bytes; it may become longer.
    pub(in crate::protocol) fn with_capacity(payload: usize) -> Self {
        let mut buffer = Vec::with_capacity(MAX_HEADER + payload);
        buffer.resize(MAX_HEADER, 0);
        Self { buffer }
    }

    /// Where the payload is appended. What is in it already must stay.
    pub(in crate::protocol) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The text frame.
    pub(in crate::protocol) fn text(mut self) -> Wire {
        let header = ServerHeader::new(Opcode::Text, self.buffer.len() - MAX_HEADER);
        let start = MAX_HEADER - header.as_bytes().len();
        self.buffer[start..MAX_HEADER].copy_from_slice(header.as_bytes());
        let mut frame = Bytes::from(self.buffer);
        frame.advance(start);
        Wire { frame, header: header.len(), binary: false }
    }
}

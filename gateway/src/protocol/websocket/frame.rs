//! The frames themselves: headers, masks, and the control frames that a
//! server sends.

use bytes::Bytes;

use super::Violation;

/// Longest header of a server's frame: it has no mask.
pub(in crate::protocol) const MAX_HEADER: usize = 10;

/// Largest payload of a control frame (RFC 6455, 5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// What a frame is (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Opcode {
    /// Goes on with a fragmented message.
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

/// The header of a frame that a client sent.
#[derive(Debug)]
pub(super) struct ClientHeader {
    pub(super) opcode: Opcode,
    /// Whether it is the message's last frame.
    pub(super) last: bool,
    pub(super) mask: [u8; 4],
    /// Bytes of payload.
    pub(super) payload: usize,
}

/// The header of a frame that the server sends: one whole message, unmasked.
pub(in crate::protocol) struct ServerHeader {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

/// A pong frame with the ping's bytes.
pub fn pong(payload: &[u8]) -> Bytes {
    control(Opcode::Pong, payload)
}

/// A ping frame without data.
pub fn ping() -> Bytes {
    control(Opcode::Ping, &[])
}

/// A close frame. A reason longer than 123 bytes is cut at a character.
pub fn close(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    control(Opcode::Close, &payload)
}

fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    let header = ServerHeader::new(opcode, payload.len());
    [header.as_bytes(), payload].concat().into()
}

/// Removes the mask, eight bytes at a time.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

// === impl Opcode ===

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

// === impl ClientHeader ===

impl ClientHeader {
    /// Longest header of a client's frame, in bytes.
    pub(super) const MAX: usize = 14;

    /// Reads a header and its size, or none if bytes are missing. What is
    /// wrong is said as soon as it can be seen.
    pub(super) fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let &[first, second, ref rest @ ..] = input else {
            return match input {
                [first] => Self::first(*first).map(|_| None),
                _ => Ok(None),
            };
        };
        let (opcode, last) = Self::first(first)?;
        if second & 0x80 == 0 {
            return Err(Violation::Protocol("a client's frame without a mask"));
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Violation::Protocol("a control frame over 125 bytes"));
        }
        let (length, rest) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        let wasteful = match short {
            126 => length < 126,
            127 => u16::try_from(length).is_ok(),
            _ => false,
        };
        if wasteful || length > i64::MAX.cast_unsigned() {
            return Err(Violation::Protocol("a length that is not in its shortest form"));
        }
        let payload = usize::try_from(length).map_err(|_| Violation::TooLarge)?;
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let header = Self { opcode, last, mask: *mask, payload };
        Ok(Some((header, input.len() - rest.len())))
    }

    /// Reads a frame's first byte.
    fn first(byte: u8) -> Result<(Opcode, bool), Violation> {
        if byte & 0x70 != 0 {
            return Err(Violation::Protocol("a reserved bit without an extension"));
        }
        let opcode =
            Opcode::from_bits(byte & 0x0f).ok_or(Violation::Protocol("a reserved opcode"))?;
        let last = byte & 0x80 != 0;
        if opcode.is_control() && !last {
            return Err(Violation::Protocol("a fragmented control frame"));
        }
        Ok((opcode, last))
    }
}

// === impl ServerHeader ===

impl ServerHeader {
    /// The header of a whole message of so many bytes.
    pub(in crate::protocol) fn new(opcode: Opcode, payload: usize) -> Self {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = 0x80 | opcode as u8;
        let len = if let Ok(short @ 0..=125) = u8::try_from(payload) {
            bytes[1] = short;
            2
        } else if let Ok(length) = u16::try_from(payload) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        };
        Self { bytes, len }
    }

    /// The header.
    pub(in crate::protocol) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Its size in bytes.
    pub(in crate::protocol) fn len(&self) -> u8 {
        self.len
    }
}

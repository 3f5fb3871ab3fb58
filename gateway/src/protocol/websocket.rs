//! WebSocket frames, RFC 6455, as a server reads and writes them. No
//! extension is negotiated.
//!
//! Frames are read here and not by a library because a connection that has
//! nothing half read must own no buffer; see [`Reader`].

mod frame;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use frame::{ClientHeader, unmask};
pub(in crate::protocol) use frame::{MAX_HEADER, Opcode, ServerHeader};
pub use frame::{close, ping, pong};

/// What a client has sent, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, valid UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// Wants a pong with the same bytes.
    Ping(Bytes),
    /// The answer to a ping.
    Pong(Bytes),
    /// The client closes; its code, if it gave one. Nothing follows.
    Close(Option<u16>),
}

/// Why a client's bytes can't be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Against RFC 6455; says what.
    #[error("not a valid WebSocket frame: {0}")]
    Protocol(&'static str),
    /// A text message, or a close reason, that is not UTF-8.
    #[error("a WebSocket text is not valid UTF-8")]
    NotUtf8,
    /// A message longer than the limit.
    #[error("a WebSocket message is longer than the limit")]
    TooLarge,
}

/// Turns a client's bytes into messages. It owns memory only while a frame or
/// a fragmented message is incomplete, and never more than has arrived.
#[derive(Debug)]
pub struct Reader {
    max_message: usize,
    partial: Option<Box<Partial>>,
    // After a close frame or a violation nothing is read any more
    // (RFC 6455, 1.4 and 7.1.7).
    ended: bool,
}

/// What is kept of an incomplete frame or message.
#[derive(Debug, Default)]
struct Partial {
    // The first bytes of a frame whose header is incomplete.
    head: HeadBytes,
    // The frame that is being read.
    frame: Option<Open>,
    // Payload of the data message so far, unmasked.
    data: Vec<u8>,
    // What the data message is, while its last frame hasn't begun.
    fragmented: Option<Opcode>,
    // Payload of the control frame so far, unmasked.
    control: Vec<u8>,
}

#[derive(Debug, Default)]
struct HeadBytes {
    bytes: [u8; ClientHeader::MAX],
    len: usize,
}

/// A frame whose header is read and whose payload isn't.
#[derive(Debug)]
struct Open {
    header: ClientHeader,
    // Payload bytes still to come.
    remaining: usize,
}

/// The value of `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

// === impl Violation ===

impl Violation {
    /// The code of the close frame that tells the client (RFC 6455, 7.4.1).
    pub fn code(&self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
        }
    }
}

// === impl Reader ===

impl Reader {
    /// A reader that takes messages of at most so many bytes.
    pub fn new(max_message: usize) -> Self {
        Self { max_message, partial: None, ended: false }
    }

    /// Reads what has arrived, appends the messages that are complete, and
    /// keeps the rest. Unmasks in place, so `input` is of no use afterwards.
    ///
    /// On a violation the messages before it are in `sink`; whatever is fed
    /// later is ignored.
    pub fn feed(&mut self, input: &mut [u8], sink: &mut Vec<Message>) -> Result<(), Violation> {
        let mut rest = input;
        while !self.ended && !rest.is_empty() {
            match self.step(rest, sink) {
                Ok(used) => rest = &mut rest[used..],
                Err(violation) => {
                    self.ended = true;
                    self.partial = None;
                    return Err(violation);
                }
            }
        }
        Ok(())
    }

    /// Whether it owns memory: a frame or a message is incomplete.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Bytes that are still to come of the frame that is being read; 0 between
    /// two frames.
    pub fn remaining(&self) -> usize {
        let frame = self.partial.as_ref().and_then(|partial| partial.frame.as_ref());
        frame.map_or(0, |frame| frame.remaining)
    }

    /// Reads as much as belongs together; returns how much that was, at least
    /// one byte.
    fn step(&mut self, input: &mut [u8], sink: &mut Vec<Message>) -> Result<usize, Violation> {
        let Some(partial) = &mut self.partial else {
            return self.step_fresh(input, sink);
        };
        let used = if let Some(open) = &mut partial.frame {
            let take = open.remaining.min(input.len());
            let chunk = &mut input[..take];
            unmask(chunk, open.header.mask);
            // The mask goes on where this chunk ended.
            open.header.mask = rotate(open.header.mask, take);
            open.remaining -= take;
            let buffer = if open.header.opcode.is_control() {
                &mut partial.control
            } else {
                &mut partial.data
            };
            append(buffer, chunk, open.remaining);
            take
        } else {
            let before = partial.head.len;
            let Some((header, size)) = partial.head.complete(input)? else {
                return Ok(input.len());
            };
            partial.head.len = 0;
            check(&header, partial.fragmented, partial.data.len(), self.max_message)?;
            let remaining = header.payload;
            partial.frame = Some(Open { header, remaining });
            size - before
        };
        self.settle(sink)?;
        Ok(used)
    }

    /// With nothing kept: a whole unfragmented frame is copied out of the
    /// input and nothing else is allocated.
    fn step_fresh(
        &mut self,
        input: &mut [u8],
        sink: &mut Vec<Message>,
    ) -> Result<usize, Violation> {
        let Some((header, size)) = ClientHeader::parse(input)? else {
            let mut partial = Box::<Partial>::default();
            partial.head.fill(input);
            self.partial = Some(partial);
            return Ok(input.len());
        };
        check(&header, None, 0, self.max_message)?;
        let (opcode, end) = (header.opcode, size + header.payload);
        if end <= input.len() && (header.last || opcode.is_control()) {
            let payload = &mut input[size..end];
            unmask(payload, header.mask);
            let message = message(opcode, payload, Bytes::copy_from_slice)?;
            self.ended = matches!(message, Message::Close(_));
            sink.push(message);
            return Ok(end);
        }
        let remaining = header.payload;
        let frame = Some(Open { header, remaining });
        self.partial = Some(Box::new(Partial { frame, ..Partial::default() }));
        // A fragment without payload is complete with its header.
        self.settle(sink)?;
        Ok(size)
    }

    /// Ends the frame that is being read, if all of it is there.
    fn settle(&mut self, sink: &mut Vec<Message>) -> Result<(), Violation> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        let Some(open) = partial.frame.take_if(|open| open.remaining == 0) else { return Ok(()) };
        let opcode = open.header.opcode;
        if opcode.is_control() {
            let payload = std::mem::take(&mut partial.control);
            let message = message(opcode, &payload, Bytes::copy_from_slice)?;
            self.ended = matches!(message, Message::Close(_));
            sink.push(message);
        } else {
            let opcode = partial.fragmented.take().unwrap_or(opcode);
            if open.header.last {
                let payload = Bytes::from(std::mem::take(&mut partial.data));
                sink.push(message(opcode, &payload, |_| payload.clone())?);
            } else {
                partial.fragmented = Some(opcode);
            }
        }
        if self.ended || partial.fragmented.is_none() {
            self.partial = None;
        }
        Ok(())
    }
}

/// Checks a frame's header against the message that it belongs to.
/// `fragmented` is the message whose last frame hasn't come, of which
/// `gathered` bytes are here.
fn check(
    header: &ClientHeader,
    fragmented: Option<Opcode>,
    gathered: usize,
    max_message: usize,
) -> Result<(), Violation> {
    if header.opcode.is_control() {
        return Ok(());
    }
    match (header.opcode, fragmented) {
        (Opcode::Continuation, None) => {
            Err(Violation::Protocol("a continuation without a message that it continues"))
        }
        (Opcode::Text | Opcode::Binary, Some(_)) => {
            Err(Violation::Protocol("a new message inside a fragmented one"))
        }
        _ if header.payload > max_message.saturating_sub(gathered) => Err(Violation::TooLarge),
        _ => Ok(()),
    }
}

/// A message of whole frames. `own` makes the payload its own.
fn message(
    opcode: Opcode,
    payload: &[u8],
    own: impl FnOnce(&[u8]) -> Bytes,
) -> Result<Message, Violation> {
    Ok(match opcode {
        Opcode::Text => {
            std::str::from_utf8(payload).map_err(|_| Violation::NotUtf8)?;
            Message::Text(own(payload))
        }
        Opcode::Binary | Opcode::Continuation => Message::Binary(own(payload)),
        Opcode::Ping => Message::Ping(own(payload)),
        Opcode::Pong => Message::Pong(own(payload)),
        Opcode::Close => Message::Close(close_code(payload)?),
    })
}

/// The code in a close frame's payload (RFC 6455, 5.5.1 and 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::Protocol("a close frame with half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    // 1004 to 1006 and 1015 are never sent; 1012 to 1014 are registered with
    // IANA; 3000 to 4999 are for libraries and apps.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("a close frame with a code that can't be sent"));
    }
    std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Some(code))
}

/// The mask as it applies `by` bytes later.
fn rotate(mut mask: [u8; 4], by: usize) -> [u8; 4] {
    mask.rotate_left(by & 3);
    mask
}

/// Appends, with room for at most what the frame still announces: memory
/// follows what arrives, and a frame that is complete has no room to spare.
fn append(buffer: &mut Vec<u8>, chunk: &[u8], remaining: usize) {
    let missing = chunk.len().saturating_sub(buffer.capacity() - buffer.len());
    if missing > 0 {
        let ahead = buffer.len().min(remaining);
        buffer.reserve_exact(chunk.len() + ahead);
    }
    buffer.extend_from_slice(chunk);
}

// === impl HeadBytes ===

impl HeadBytes {
    /// Adds what fits.
    fn fill(&mut self, input: &[u8]) {
        let take = input.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + take].copy_from_slice(&input[..take]);
        self.len += take;
    }

    /// The header, and its size, if `input` completes it; else `input` is
    /// kept.
    fn complete(&mut self, input: &[u8]) -> Result<Option<(ClientHeader, usize)>, Violation> {
        self.fill(input);
        ClientHeader::parse(&self.bytes[..self.len])
    }
}

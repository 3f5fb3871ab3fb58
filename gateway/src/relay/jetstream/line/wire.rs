//! The bytes that a nats-server sends, cut into what they mean. A message is
//! a piece of what was read: nothing of it is copied or looked at before
//! somebody wants it.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};

use super::headers::Headers;

/// The longest line: `INFO` of a large cluster. nats-server's own limit for
/// a client's lines is 4 KiB.
const MAX_LINE: usize = 1 << 20;
/// The largest message, headers included: more than the server takes
/// (`max_payload` is 64 MiB at most).
const MAX_MESSAGE: usize = 80 << 20;
/// Read at once. A message that is kept holds the piece of memory that it
/// was read into.
pub const READ: usize = 64 << 10;
/// With less room than this, the next read begins a new piece.
const LEAST_ROOM: usize = 4 << 10;

/// What the server says.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// A message of one of our subscriptions.
    Message(Frame),
    /// It wants to know whether we are there.
    Ping,
    /// The answer to ours: all that we sent before is in force.
    Pong,
    /// About itself: JSON.
    Info(Bytes),
    /// What is wrong, in its words.
    Error(String),
    /// Nothing of interest.
    Ok,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Which subscription it is for.
    pub sid: u64,
    /// From the subject's first byte to the payload's last.
    bytes: Bytes,
    subject: u32,
    headers: u32,
    payload: u32,
}

/// What is not as the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the NATS server says what is not its protocol: {0}")]
pub struct Malformed(&'static str);

/// Reads what has come, one thing after the other.
#[derive(Default)]
pub struct Reader {
    buffer: BytesMut,
}

// === impl Reader ===

impl Reader {
    /// Where the next bytes go, with room for some.
    pub fn room(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
            self.buffer.reserve(READ);
        }
        &mut self.buffer
    }

    /// What comes next, if all of it is there.
    pub fn read(&mut self) -> Result<Option<Said>, Malformed> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
            return if self.buffer.len() > MAX_LINE {
                Err(Malformed("a line too long"))
            } else {
                Ok(None)
            };
        };
        let line = self.buffer[..end].strip_suffix(b"\r").unwrap_or(&self.buffer[..end]);
        let said = match line.first() {
            Some(b'H' | b'M') => return self.message(end),
            Some(b'P') if line == b"PING" => Said::Ping,
            Some(b'P') if line == b"PONG" => Said::Pong,
            Some(b'+') => Said::Ok,
            Some(b'-') => {
                let text = line.strip_prefix(b"-ERR").unwrap_or(line);
                let text = String::from_utf8_lossy(text);
                Said::Error(text.trim().trim_matches('\'').to_owned())
            }
            Some(b'I') => {
                let json = line.strip_prefix(b"INFO").ok_or(Malformed("a line that isn't one"))?;
                Said::Info(Bytes::copy_from_slice(json))
            }
            _ => return Err(Malformed("a line that isn't one")),
        };
        self.buffer.advance(end + 1);
        Ok(Some(said))
    }

    /// `MSG <subject> <sid> [reply] <bytes>` and
    /// `HMSG <subject> <sid> [reply] <header bytes> <bytes>`, and what follows.
    fn message(&mut self, end: usize) -> Result<Option<Said>, Malformed> {
        const BAD: Malformed = Malformed("a message's line");
        let line = &self.buffer[..end];
        let line = line.strip_suffix(b"\r").ok_or(BAD)?;
        let (begin, headed) = match line {
            [b'M', b'S', b'G', b' ', ..] => (4, false),
            [b'H', b'M', b'S', b'G', b' ', ..] => (5, true),
            _ => return Err(BAD),
        };
        let mut words = line[begin..].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let subject = words.next().ok_or(BAD)?;
        let sid = number(words.next().ok_or(BAD)?).ok_or(BAD)?;
        // The last ones count; a reply may stand before them.
        let total = number(words.next_back().ok_or(BAD)?).ok_or(BAD)?;
        let headers = if headed { number(words.next_back().ok_or(BAD)?).ok_or(BAD)? } else { 0 };
        if words.count() > 1 || headers > total {
            return Err(BAD);
        }
        let total = usize::try_from(total).ok().filter(|total| *total <= MAX_MESSAGE);
        let total = total.ok_or(Malformed("a message too large"))?;
        let whole = end + 1 + total + 2;
        if self.buffer.len() < whole {
            // All at once, not in ever larger pieces.
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        if &self.buffer[whole - 2..whole] != b"\r\n" {
            return Err(Malformed("a message without its end"));
        }
        let subject = subject.len();
        let skipped =
            begin + (self.buffer[begin..].len() - self.buffer[begin..].trim_ascii_start().len());
        let mut bytes = self.buffer.split_to(whole - 2);
        self.buffer.advance(2);
        bytes.advance(skipped);
        let place = |at: usize| u32::try_from(at).map_err(|_| BAD);
        let payload = bytes.len() - total;
        let headers = usize::try_from(headers).map_err(|_| BAD)?;
        Ok(Some(Said::Message(Frame {
            sid,
            subject: place(subject)?,
            headers: place(payload)?,
            payload: place(payload + headers)?,
            bytes: bytes.freeze(),
        })))
    }
}

// === impl Frame ===

impl Frame {
    /// Its subject. None: not UTF-8, so that it is nobody's.
    pub fn subject(&self) -> Option<&str> {
        std::str::from_utf8(self.part(0..self.subject)).ok()
    }

    /// Its headers.
    pub fn headers(&self) -> Headers<'_> {
        Headers::Raw(self.part(self.headers..self.payload))
    }

    /// What was published.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(self.payload as usize..)
    }

    /// Bytes that it keeps in memory.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The first message of what a server says.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub fn of(text: &str) -> Self {
        let mut reader = Reader::default();
        reader.room().extend_from_slice(text.as_bytes());
        let Some(Said::Message(frame)) = reader.read().unwrap() else { panic!("no message") };
        frame
    }

    fn part(&self, range: Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests;

//! Headers of a message, where they came from and as they came.

use async_nats::HeaderMap;

/// Headers, read when somebody asks.
#[derive(Clone, Copy, Debug)]
pub enum Headers<'a> {
    /// As the client library gives them.
    Map(Option<&'a HeaderMap>),
    /// As they stand in the message: `NATS/1.0`, then a line each.
    Raw(&'a [u8]),
}

/// Where a message of the feed stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// Which message.
    pub sequence: u64,
    /// When it was stored, as NATS writes it.
    pub time: &'a str,
}

// === impl Headers ===

impl<'a> Headers<'a> {
    /// The last value of a name: a publisher's forged ones come before the
    /// server's. A value that isn't UTF-8 is none; of one that is folded over
    /// lines, which nobody writes any more, it is the first.
    pub fn last(self, name: &'static str) -> Option<&'a str> {
        match self {
            Self::Map(headers) => headers?.get_last(name).map(async_nats::HeaderValue::as_str),
            Self::Raw(raw) => {
                lines(raw).find_map(|line| std::str::from_utf8(value(line, name.as_bytes())?).ok())
            }
        }
    }

    /// What the stream writes into what it republishes.
    pub fn place(self) -> Option<Place<'a>> {
        let (stream, sequence, time) = match self {
            Self::Map(_) => {
                let last = |name| self.last(name);
                (last("Nats-Stream")?, last("Nats-Sequence")?, last("Nats-Time-Stamp")?)
            }
            Self::Raw(raw) => {
                // One look at the end, where they are.
                let mut found = [None; 3];
                for line in lines(raw).filter(|line| line.starts_with(b"Nats-")) {
                    const NAMES: [&[u8]; 3] =
                        [b"Nats-Stream", b"Nats-Sequence", b"Nats-Time-Stamp"];
                    for (found, name) in found.iter_mut().zip(NAMES) {
                        *found = found.or_else(|| value(line, name));
                    }
                    if found.iter().all(Option::is_some) {
                        break;
                    }
                }
                let text = |index: usize| std::str::from_utf8(found[index]?).ok();
                (text(0)?, text(1)?, text(2)?)
            }
        };
        Some(Place { stream, sequence: sequence.parse().ok()?, time })
    }
}

/// The lines, the last one first.
fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(raw);
    std::iter::from_fn(move || {
        let text = rest?;
        let (before, line) = match memchr::memrchr(b'\n', text) {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        rest = before;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// The value, if the line is of this name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(name)?.strip_prefix(b":").map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;

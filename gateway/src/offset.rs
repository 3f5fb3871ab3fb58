//! Offsets: places in history from which a client can resume.
//!
//! Text form, opaque to clients: `<epoch>-<sequence>-<time>`, each in base
//! 36; while a subscription catches up, `<session's position>;<channel>:<sequence>`
//! with the channel as a subject and the sequence in base 36.

use std::fmt;
use std::str::FromStr;

use crate::channel::Channel;

/// One place in the stream: everything up to it, on every channel.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Position {
    /// Which life of the stream: its creation time in milliseconds.
    pub epoch: u64,
    /// Sequence of the last publication that is behind us. 0: none yet.
    pub sequence: u64,
    /// When that publication was stored, in milliseconds since 1970.
    pub time: u64,
}

/// A place from which a client can resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The session's position: for every channel but `channel`.
    pub position: Position,
    /// One channel that is not as far as the others: it is complete up to
    /// this sequence.
    pub channel: Option<(Channel, u64)>,
}

/// A text that no gateway wrote as an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an offset; pass one that a gateway gave, unchanged")]
pub struct OffsetError;

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; 13];
        f.write_str(base36(self.epoch, &mut buffer))?;
        f.write_str("-")?;
        f.write_str(base36(self.sequence, &mut buffer))?;
        f.write_str("-")?;
        f.write_str(base36(self.time, &mut buffer))
    }
}

impl FromStr for Position {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let mut number = || parts.next().and_then(parse36).ok_or(OffsetError);
        let position = Self { epoch: number()?, sequence: number()?, time: number()? };
        match parts.next() {
            None => Ok(position),
            Some(_) => Err(OffsetError),
        }
    }
}

// === impl Offset ===

impl Offset {
    /// The sequence up to which `channel` is complete.
    pub fn sequence_of(&self, channel: &Channel) -> u64 {
        self.exception_of(channel).unwrap_or(self.position.sequence)
    }

    /// The sequence that is named for this channel alone.
    pub fn exception_of(&self, channel: &Channel) -> Option<u64> {
        let (exception, sequence) = self.channel.as_ref()?;
        (exception == channel).then_some(*sequence)
    }
}

impl Offset {
    /// The furthest place that it names: the client has seen nothing beyond.
    pub fn furthest(&self) -> Position {
        let mut furthest = self.position;
        if let Some((_, sequence)) = &self.channel {
            furthest.sequence = furthest.sequence.max(*sequence);
        }
        furthest
    }
}

impl From<Position> for Offset {
    fn from(position: Position) -> Self {
        Self { position, channel: None }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.position.fmt(f)?;
        if let Some((channel, sequence)) = &self.channel {
            let mut buffer = [0; 13];
            write!(f, ";{}:{}", channel.to_subject(), base36(*sequence, &mut buffer))?;
        }
        Ok(())
    }
}

impl FromStr for Offset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((position, exception)) = text.split_once(';') else {
            return Ok(text.parse::<Position>()?.into());
        };
        let (channel, sequence) = exception.rsplit_once(':').ok_or(OffsetError)?;
        Ok(Self {
            position: position.parse()?,
            channel: Some((
                Channel::from_subject(channel).ok_or(OffsetError)?,
                parse36(sequence).ok_or(OffsetError)?,
            )),
        })
    }
}

/// Writes a number in base 36, lower case, at the end of `buffer`.
fn base36(mut number: u64, buffer: &mut [u8; 13]) -> &str {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut start = buffer.len();
    loop {
        start -= 1;
        // The remainder is below 36.
        #[allow(clippy::cast_possible_truncation)]
        {
            buffer[start] = DIGITS[(number % 36) as usize];
        }
        number /= 36;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&buffer[start..]).unwrap_or_default()
}

/// Reads what [`base36`] writes and nothing else.
fn parse36(text: &str) -> Option<u64> {
    let strict = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        && (text.len() == 1 || !text.starts_with('0'));
    strict.then(|| u64::from_str_radix(text, 36).ok()).flatten()
}

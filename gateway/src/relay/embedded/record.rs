//! A session's record as it is kept in memory: one block of bytes. There is
//! one for each client that may come back, and nearly all are never read.

use crate::channel::Channel;
use crate::offset::Position;
use crate::relay::{SessionRecord, SubscriptionRecord};

#[cfg(test)]
mod tests;

const META: u64 = 1;
const BEGAN_EARLIER: u64 = 2;

/// A record, packed.
pub struct PackedRecord(Box<[u8]>);

/// Reads what was packed.
struct Reader<'a>(&'a [u8]);

// === impl PackedRecord ===

impl PackedRecord {
    /// Packs one.
    pub fn new(record: &SessionRecord) -> Self {
        // Most are of one client with one or two channels.
        let mut bytes = Vec::with_capacity(96);
        put_text(&mut bytes, &record.sid);
        put_text(&mut bytes, &record.namespace);
        put(&mut bytes, u64::from(record.user.is_some()));
        if let Some(user) = &record.user {
            put_text(&mut bytes, user);
        }
        put(&mut bytes, record.began);
        put(&mut bytes, record.subscriptions.len() as u64);
        let mut before = Position::default();
        for subscription in &record.subscriptions {
            let SubscriptionRecord { channel, start, joined, meta } = subscription;
            put_text(&mut bytes, channel.as_str());
            let earlier = if start == joined { 0 } else { BEGAN_EARLIER };
            put(&mut bytes, if *meta { META } else { 0 } | earlier);
            put_position(&mut bytes, *joined, before);
            if earlier > 0 {
                put_position(&mut bytes, *start, *joined);
            }
            before = *joined;
        }
        Self(bytes.into())
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The record. None would be a fault of [`PackedRecord::new`].
    pub fn read(&self) -> Option<SessionRecord> {
        let mut reader = Reader(&self.0);
        let sid = reader.text()?.into();
        let namespace = reader.text()?.into();
        let user = if reader.number()? > 0 { Some(reader.text()?.into()) } else { None };
        let began = reader.number()?;
        let mut subscriptions = Vec::new();
        let mut before = Position::default();
        for _ in 0..reader.number()? {
            let channel = Channel::new(reader.text()?).ok()?;
            let flags = reader.number()?;
            let joined = reader.position(before)?;
            let earlier = flags & BEGAN_EARLIER > 0;
            let start = if earlier { reader.position(joined)? } else { joined };
            subscriptions.push(SubscriptionRecord {
                channel,
                start,
                joined,
                meta: flags & META > 0,
            });
            before = joined;
        }
        Some(SessionRecord { sid, namespace, user, began, subscriptions })
    }
}

/// Seven bits a byte, the low ones first; the high bit says that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// As what differs from another one, which is little.
fn put_position(bytes: &mut Vec<u8>, position: Position, other: Position) {
    put(bytes, position.epoch ^ other.epoch);
    put(bytes, position.sequence ^ other.sequence);
    put(bytes, position.time ^ other.time);
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn position(&mut self, other: Position) -> Option<Position> {
        Some(Position {
            epoch: self.number()? ^ other.epoch,
            sequence: self.number()? ^ other.sequence,
            time: self.number()? ^ other.time,
        })
    }
}

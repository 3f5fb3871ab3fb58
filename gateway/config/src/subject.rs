//! Channel names as NATS subjects, both ways.
//!
//! A channel is any UTF-8; a subject token is not. Bytes other than letters,
//! digits and `_ - = @ , ; : / + ~ $ .` become `%XX`, and so does a `.` that
//! would make an empty token. The mapping is one to one.

use std::fmt::Write as _;

/// Whether a byte stands for itself in a subject.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,;:/+~$".contains(&byte)
}

/// Writes `name` as a subject; `.` separates tokens.
pub fn encode(name: &str) -> String {
    encode_bytes(name, true)
}

/// Writes `name` as one token; its `.` is escaped too. For user ids,
/// namespaces and publication ids.
pub fn encode_token(name: &str) -> String {
    encode_bytes(name, false)
}

fn encode_bytes(name: &str, dots_separate: bool) -> String {
    let bytes = name.as_bytes();
    let mut subject = String::with_capacity(bytes.len() + 8);
    // Whether the token being written has a byte yet.
    let mut token_open = false;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte == b'.' && dots_separate {
            let last = index + 1 == bytes.len();
            if token_open && !last {
                subject.push('.');
                token_open = false;
            } else {
                subject.push_str("%2E");
                token_open = true;
            }
        } else if is_plain(byte) {
            subject.push(char::from(byte));
            token_open = true;
        } else {
            // Writing to a String can't fail.
            let _ = write!(subject, "%{byte:02X}");
            token_open = true;
        }
    }
    subject
}

/// Reads a subject (or a token) back. `None` when it isn't one that
/// [`encode`] writes: a bad escape, or bytes that aren't UTF-8.
pub fn decode(subject: &str) -> Option<String> {
    let mut name = Vec::with_capacity(subject.len());
    let mut bytes = subject.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = hex(bytes.next()?)?;
            let low = hex(bytes.next()?)?;
            name.push(high << 4 | low);
        } else if is_plain(byte) || byte == b'.' {
            name.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(name).ok()
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

//! Placeholders: `{"_placeholder":true,"num":0}` in a packet's JSON stands for
//! its first attachment.
//!
//! They are found by a scan of the text and not by a JSON library's values:
//! the text must stay as it is, and JavaScript's strings may hold what Rust's
//! can't (lone surrogates).

use smallvec::SmallVec;

use super::DecodeError;

/// How deep placeholders are looked for: `serde_json`'s own limit.
const MAX_DEPTH: usize = 128;

/// A packet's attachments, and which of them placeholders have taken.
///
/// Each is taken once, as clients write them. The reference lets many
/// placeholders name one attachment; sent on, that would make a few bytes
/// grow without bound.
pub(super) struct Attachments {
    count: usize,
    taken: SmallVec<[bool; 10]>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has no placeholder.
    Nothing,
    /// It is one, for this attachment.
    Whole(usize),
    /// It has one somewhere within.
    Nested,
}

/// An object or array that the scan is in.
#[derive(Default)]
struct Frame<'a> {
    object: bool,
    // In an object: whether a string is a key now.
    at_key: bool,
    key: Key,
    // The values of the two keys, as they stand.
    placeholder: Option<&'a str>,
    num: Option<&'a str>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Placeholder,
    Num,
}

// === impl Attachments ===

impl Attachments {
    pub(super) fn new(count: usize) -> Self {
        Self { count, taken: SmallVec::from_elem(false, count) }
    }

    /// Looks for placeholders in a valid JSON text and takes what they name.
    pub(super) fn find(&mut self, json: &str) -> Result<Found, DecodeError> {
        let bytes = json.as_bytes();
        let mut stack: SmallVec<[Frame; 8]> = SmallVec::new();
        let mut found = Found::Nothing;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'{' | b'[' => {
                    if stack.len() == MAX_DEPTH {
                        return Err(DecodeError::Depth);
                    }
                    if let Some(frame) = stack.last_mut() {
                        frame.value("");
                    }
                    let object = byte == b'{';
                    stack.push(Frame { object, at_key: object, ..Frame::default() });
                }
                b'}' | b']' => {
                    let Some(frame) = stack.pop() else { continue };
                    if frame.placeholder == Some("true") {
                        let number = self.take(frame.num.unwrap_or(""))?;
                        found = if stack.is_empty() { Found::Whole(number) } else { Found::Nested };
                    }
                }
                b',' => {
                    if let Some(frame) = stack.last_mut() {
                        frame.at_key = frame.object;
                    }
                }
                b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
                b'"' => {
                    at = string_end(bytes, at);
                    let token = json.get(start..at).unwrap_or("");
                    if let Some(frame) = stack.last_mut() {
                        frame.string(token);
                    }
                }
                _ => {
                    let ends = |byte: &u8| {
                        matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
                    };
                    at = bytes[at..].iter().position(ends).map_or(bytes.len(), |more| at + more);
                    let token = json.get(start..at).unwrap_or("");
                    if let Some(frame) = stack.last_mut() {
                        frame.value(token);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Takes the attachment that a placeholder's `num` names.
    #[allow(clippy::float_cmp)] // Equality is meant: 0.9999 names nothing.
    fn take(&mut self, num: &str) -> Result<usize, DecodeError> {
        // `1.0` and `1e0` are 1 to JavaScript. A string is no number.
        let number: f64 = num.parse().map_err(|_| DecodeError::Placeholder)?;
        let number = (0..self.count)
            .zip(0_u32..)
            .find(|&(_, index)| number == f64::from(index))
            .map(|(index, _)| index)
            .ok_or(DecodeError::Placeholder)?;
        match self.taken.get_mut(number) {
            Some(taken) if !*taken => {
                *taken = true;
                Ok(number)
            }
            _ => Err(DecodeError::Placeholder),
        }
    }
}

/// Where the string ends whose first character is at `at`: behind its quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Notes a string with its quotes: a key or a value.
    fn string(&mut self, token: &'a str) {
        if self.at_key {
            self.at_key = false;
            self.key = Key::of(token);
        } else {
            self.value(token);
        }
    }

    /// Notes a value. As in JavaScript, of two with one key the last counts.
    fn value(&mut self, token: &'a str) {
        match self.key {
            Key::Other => {}
            Key::Placeholder => self.placeholder = Some(token),
            Key::Num => self.num = Some(token),
        }
    }
}

// === impl Key ===

impl Key {
    /// Which key a string with its quotes is; it may be written with escapes.
    fn of(token: &str) -> Self {
        let unescaped;
        let mut name = token.trim_matches('"');
        if name.contains('\\') {
            unescaped = serde_json::from_str::<String>(token).unwrap_or_default();
            name = &unescaped;
        }
        match name {
            "_placeholder" => Self::Placeholder,
            "num" => Self::Num,
            _ => Self::Other,
        }
    }
}

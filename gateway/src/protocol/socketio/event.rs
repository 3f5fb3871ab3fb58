//! The arguments of events and acks.

use std::fmt;

use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::DecodeError;
use super::placeholder::{Attachments, Found};
use crate::publication::{Args, RESERVED_EVENTS, Value};

/// An event, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; a number's decimal text where the name is a number.
    pub name: String,
    /// Its arguments. An argument that is a placeholder is the attachment.
    pub args: Args,
    /// The arguments as sent: what stands behind the name's comma, up to the
    /// closing bracket. Empty if there are none. With `attachments` it says
    /// everything; [`super::event_raw`] sends it on byte for byte.
    pub raw: Bytes,
    /// What the placeholders stand for.
    pub attachments: Vec<Bytes>,
    /// Whether a placeholder stands deeper than as an argument: then `args`
    /// alone doesn't say everything.
    pub nested: bool,
}

/// Takes an event's JSON array apart. The arguments share its memory.
///
/// As in the reference decoder, a packet without attachments has no
/// placeholders: an object that looks like one is data.
pub fn parse_event(data: &Bytes, attachments: &[Bytes]) -> Result<Event, DecodeError> {
    let elements = elements(data)?;
    let (name, rest) = elements.split_first().ok_or(DecodeError::Payload)?;
    let name = parse_name(name.get())?;
    let (args, nested) = parse_values(data, rest, attachments)?;
    let raw = match (rest.first(), rest.last()) {
        (Some(first), Some(last)) => {
            let end = offset_in(data, last) + last.get().len();
            data.slice(offset_in(data, first)..end)
        }
        _ => Bytes::new(),
    };
    Ok(Event { name, args, raw, attachments: attachments.to_vec(), nested })
}

/// Takes an ack's JSON array apart. A placeholder that stands deeper than as
/// an argument stays in the JSON text.
pub fn parse_args(data: &Bytes, attachments: &[Bytes]) -> Result<Args, DecodeError> {
    let elements = elements(data)?;
    parse_values(data, &elements, attachments).map(|(args, _)| args)
}

/// Checks an event's payload: an array whose first element is a name.
pub(super) fn check(payload: &str) -> Result<(), DecodeError> {
    let mut parser = serde_json::Deserializer::from_str(payload);
    let name = parser.deserialize_seq(NameOnly).map_err(|_| DecodeError::Payload)?;
    parser.end().map_err(|_| DecodeError::Payload)?;
    let name = name.get();
    // Nearly always a plain string: then nothing is copied.
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => check_reserved(plain),
        _ => parse_name(name).map(drop),
    }
}

fn check_reserved(name: &str) -> Result<(), DecodeError> {
    if RESERVED_EVENTS.contains(&name) { Err(DecodeError::Reserved) } else { Ok(()) }
}

/// Reads a name: a string that isn't reserved, or a number.
fn parse_name(json: &str) -> Result<String, DecodeError> {
    match json.bytes().next() {
        Some(b'"') => {
            let name: String = serde_json::from_str(json).map_err(|_| DecodeError::Payload)?;
            check_reserved(&name)?;
            Ok(name)
        }
        Some(b'-' | b'0'..=b'9') => Ok(number_text(json)),
        _ => Err(DecodeError::Payload),
    }
}

/// A JSON number as JavaScript writes it, since the reference looks handlers
/// up by that text: `1.0` is `1`, `-0` is `0`, `1e21` is `1e+21`.
fn number_text(json: &str) -> String {
    let number: f64 = json.parse().unwrap_or(f64::NAN);
    let size = number.abs();
    if number == 0.0 {
        "0".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else if size >= 1e21 {
        format!("{number:e}").replace('e', "e+")
    } else if size < 1e-6 {
        format!("{number:e}")
    } else {
        format!("{number}")
    }
}

/// The arguments, and whether a placeholder is nested in one.
fn parse_values(
    data: &Bytes,
    elements: &[&RawValue],
    attachments: &[Bytes],
) -> Result<(Args, bool), DecodeError> {
    let mut args = Args::with_capacity(elements.len());
    let mut nested = false;
    let mut ledger = Attachments::new(attachments.len());
    for element in elements {
        let found =
            if attachments.is_empty() { Found::Nothing } else { ledger.find(element.get())? };
        let attachment = match found {
            Found::Whole(number) => attachments.get(number),
            Found::Nested => {
                nested = true;
                None
            }
            Found::Nothing => None,
        };
        args.push(if let Some(bytes) = attachment {
            Value::Binary(bytes.clone())
        } else {
            let start = offset_in(data, element);
            Value::Json(data.slice(start..start + element.get().len()))
        });
    }
    Ok((args, nested))
}

/// The elements of a JSON array, as they stand.
fn elements(data: &Bytes) -> Result<SmallVec<[&RawValue; 4]>, DecodeError> {
    let mut parser = serde_json::Deserializer::from_slice(data);
    let elements = parser.deserialize_seq(Elements).map_err(|_| DecodeError::Payload)?;
    parser.end().map_err(|_| DecodeError::Payload)?;
    Ok(elements)
}

/// Where an element begins in the text that it was borrowed from.
fn offset_in(data: &Bytes, element: &RawValue) -> usize {
    element.get().as_ptr().addr().wrapping_sub(data.as_ptr().addr())
}

/// Reads an array's first element as it stands and skips the others.
struct NameOnly;

/// Reads an array's elements as they stand.
struct Elements;

// === impl NameOnly ===

impl<'de> Visitor<'de> for NameOnly {
    type Value = &'de RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event: an array that begins with a name")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let name = seq
            .next_element()?
            .ok_or_else(|| serde::de::Error::invalid_length(0, &"an event's name"))?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(name)
    }
}

// === impl Elements ===

impl<'de> Visitor<'de> for Elements {
    type Value = SmallVec<[&'de RawValue; 4]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = SmallVec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}

//! An object's fields, each with the name that an error says.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::error::{Error, ErrorCode, form};
use crate::publication::{Args, Value};

/// More fields than any request has; the rest is not read.
const MAX_FIELDS: usize = 16;

/// An object whose values are still JSON text.
pub(super) struct Object<'a> {
    path: &'a str,
    fields: SmallVec<[(Cow<'a, str>, &'a str); 5]>,
}

/// One field of an object, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    path: &'a str,
    name: &'a str,
    json: &'a str,
}

/// A JSON text as a publication's value: `{"base64":"…"}`, an object with this
/// one key and valid base64, is bytes; all else stays as it stands.
pub fn parse_value(json: &str) -> Value {
    bytes_of(json).map_or_else(
        || Value::Json(Bytes::copy_from_slice(json.as_bytes())),
        |bytes| Value::Binary(bytes.into()),
    )
}

fn bytes_of(json: &str) -> Option<Vec<u8>> {
    // Nearly no value is one: only what begins like one is parsed again.
    let inside = json.strip_prefix('{')?.trim_start();
    if !inside.starts_with('"') {
        return None;
    }
    let object = Object::parse(json.as_bytes(), "").ok()?;
    let [(key, value)] = object.fields.as_slice() else { return None };
    if key != "base64" || !value.starts_with('"') {
        return None;
    }
    let text: Cow<str> = read_string(value)?;
    STANDARD.decode(text.as_bytes()).ok()
}

/// A JSON string; borrowed if it has no escapes.
fn read_string(json: &str) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<&str>(json) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
    }
}

// === impl Object ===

impl<'a> Object<'a> {
    /// Reads an object; `path` is the name of the field that it is, empty for
    /// the request itself.
    pub(super) fn parse(text: &'a [u8], path: &'a str) -> Result<Self, Error> {
        let mut parser = serde_json::Deserializer::from_slice(text);
        let fields = parser.deserialize_map(Fields).and_then(|fields| {
            parser.end()?;
            Ok(fields)
        });
        let fields = fields.map_err(|cause| not_an_object(path, &cause))?;
        for (index, (name, json)) in fields.iter().enumerate() {
            if fields[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Field { path, name, json }.wrong("stands there twice"));
            }
        }
        Ok(Self { path, fields })
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let path = self.path;
        self.fields.iter().map(move |(name, json)| Field { path, name, json })
    }

    pub(super) fn get(&self, name: &str) -> Option<Field<'_>> {
        self.fields().find(|field| field.name == name)
    }

    /// Refuses fields other than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.fields().find(|field| !known.contains(&field.name)) {
            Some(field) => Err(field.unknown(known)),
            None => Ok(()),
        }
    }

    /// A text; `null` is none.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(field) = self.get(name).filter(|field| field.json != "null") else {
            return Ok(None);
        };
        let text = read_string(field.json).ok_or_else(|| field.wrong("must be a string"))?;
        Ok(Some(text.into_owned()))
    }

    /// A text that must be there.
    pub(super) fn required(&self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// A whole number from 0; `null` is none.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, Error> {
        let Some(field) = self.get(name).filter(|field| field.json != "null") else {
            return Ok(None);
        };
        let count = serde_json::from_str(field.json)
            .map_err(|_| field.wrong("must be a whole number from 0"))?;
        Ok(Some(count))
    }

    /// `data`, or `args` and then true.
    pub(super) fn arguments(&self) -> Result<(Args, bool), Error> {
        match (self.get("data"), self.get("args")) {
            (Some(data), None) => Ok((Args::from_iter([parse_value(data.json)]), false)),
            (None, Some(args)) => {
                let elements: Vec<&RawValue> =
                    serde_json::from_str(args.json).map_err(|_| args.wrong("must be an array"))?;
                Ok((elements.into_iter().map(|element| parse_value(element.get())).collect(), true))
            }
            (Some(_), Some(args)) => Err(args.wrong("stands beside `data`; send one of them")),
            (None, None) => Err(self.missing("data")),
        }
    }

    fn missing(&self, name: &str) -> Error {
        Field { path: self.path, name, json: "" }.wrong("is missing")
    }
}

fn not_an_object(path: &str, cause: &serde_json::Error) -> Error {
    let what = if path.is_empty() { "a request".to_owned() } else { format!("`{path}`") };
    let message = format!("{what} must be one JSON object: {}", form(cause));
    let error = Error::new(ErrorCode::BadRequest, message);
    if path.is_empty() { error } else { error.field(path.to_owned()) }
}

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The value as it stands.
    pub(super) fn json(&self) -> &'a str {
        self.json
    }

    /// The error that says what this field must be.
    pub(super) fn wrong(&self, what: &str) -> Error {
        let path = self.full_name();
        Error::new(ErrorCode::BadRequest, format!("`{path}` {what}")).field(path)
    }

    /// The error that says that there is no such field.
    pub(super) fn unknown(&self, known: &[&str]) -> Error {
        self.wrong(&format!("is not a field here; known are {}", known.join(", ")))
    }

    fn full_name(&self) -> String {
        // A client chose the name: long ones are not echoed whole.
        let name = &self.name[..self.name.floor_char_boundary(64)];
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Reads an object's fields as they stand.
struct Fields;

/// A key, borrowed if it has no escapes.
struct KeyText;

// === impl Fields ===

impl<'de> Visitor<'de> for Fields {
    type Value = SmallVec<[(Cow<'de, str>, &'de str); 5]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = SmallVec::new();
        while let Some(key) = map.next_key_seed(KeyText)? {
            if fields.len() == MAX_FIELDS {
                return Err(serde::de::Error::custom("it has too many fields"));
            }
            fields.push((key, map.next_value::<&RawValue>()?.get()));
        }
        Ok(fields)
    }
}

// === impl KeyText ===

impl<'de> serde::de::DeserializeSeed<'de> for KeyText {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyText {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

//! The fields of a publish request that have more than one form.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway_config::Period;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::publication::Value;

/// Socket ids that one publication may leave out.
pub const MAX_EXCEPT: usize = 1000;

/// `ttl`, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Ttl(pub u64);

/// `except`: one socket id, or several.
#[derive(Debug)]
pub struct Except(pub Vec<String>);

/// One argument: bytes if it is `{"base64":"…"}`, else the text as it came.
/// The text is a copy, so that history keeps it and not the whole request.
pub fn value(raw: Box<RawValue>) -> Value {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Binary {
        base64: String,
    }
    // Only an object can be one, and its only key must stand in front.
    let object = raw.get().strip_prefix('{').map(str::trim_start);
    if object.is_some_and(|rest| rest.starts_with("\"base64\""))
        && let Ok(Binary { base64 }) = serde_json::from_str(raw.get())
        && let Ok(bytes) = STANDARD.decode(base64)
    {
        return Value::Binary(bytes.into());
    }
    let text: Box<str> = raw.into();
    Value::Json(Bytes::from(String::from(text)))
}

/// `null` is data like any other, so a field that is there is `Some`.
pub fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(reader).map(Some)
}

// === impl Ttl ===

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Ttl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("at least one second, as a whole number or as a text such as \"10s\"")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Ttl, E> {
                match seconds.checked_mul(1000) {
                    Some(milliseconds) if seconds > 0 => Ok(Ttl(milliseconds)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(seconds), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ttl, E> {
                let period: Period = text.parse().map_err(E::custom)?;
                if period < Period::from_secs(1) {
                    return Err(E::invalid_value(de::Unexpected::Str(text), &self));
                }
                Ok(Ttl(period.as_millis()))
            }
        }
        reader.deserialize_any(Read)
    }
}

// === impl Except ===

impl<'de> Deserialize<'de> for Except {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Except;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a socket id or a list of socket ids")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<Except, E> {
                Ok(Except(vec![id.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Except, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Except(ids))
            }
        }
        reader.deserialize_any(Read)
    }
}

// === schemas that a derive can't say ===

/// The schema of [`Ttl`].
pub fn ttl_schema() -> utoipa::openapi::Schema {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    let period =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^([0-9]+(ms|s|m|h|d))+$"));
    OneOfBuilder::new()
        .item(seconds)
        .item(period)
        .description(Some(
            "How long history keeps it, at least one second: whole seconds, or a text such as \
             `10s` or `2m`. Without it, as long as the channel's rule says.",
        ))
        .examples([serde_json::json!("10s")])
        .into()
}

/// The schema of [`Except`].
pub fn except_schema() -> utoipa::openapi::Schema {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
    let id = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    OneOfBuilder::new()
        .item(id())
        .item(ArrayBuilder::new().items(id()).max_items(Some(MAX_EXCEPT)))
        .description(Some("Socket ids that don't get it: one, or a list of up to 1000."))
        .examples([serde_json::json!(["Vm0zUm5kQ2hhbmdl"])])
        .into()
}

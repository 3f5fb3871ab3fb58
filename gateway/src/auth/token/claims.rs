//! A token's claims, and the identity that they make.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gateway_config::{Pattern, PatternError};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{key, unauthorized};
use crate::auth::{Action, Grant, Identity};
use crate::channel::Channel;
use crate::error::Error;

/// Longest `sub`, in bytes: `$user.<sub>` must be a channel.
const MAX_USER_BYTES: usize = 128;

/// Longest `jti`, in bytes.
const MAX_TOKEN_ID_BYTES: usize = 256;

/// The end of year 9999. A later `exp` was meant in milliseconds, and would
/// make a token that never ends.
const LAST_SECOND: u64 = 253_402_300_799;

/// The claims that we read, of a token whose signature is right. Each is read
/// later and by itself, so that the error can name it.
#[derive(Deserialize)]
pub(in crate::auth) struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    iat: Option<Value>,
    channels: Option<Value>,
    join: Option<Value>,
    /// As it came: apps may sign or compare it.
    meta: Option<Box<RawValue>>,
    jti: Option<Value>,
}

// === impl Claims ===

impl Claims {
    /// Errors: `token_expired`; `unauthorized` naming the claim. No message
    /// repeats what the claim holds.
    pub(in crate::auth) fn into_identity(self, leeway: Duration) -> Result<Identity, Error> {
        let expires = expiry(self.exp.as_ref(), leeway)?;
        Ok(Identity {
            user: user(self.sub)?,
            has_token: true,
            grants: grants(self.channels)?,
            join: joins(self.join)?,
            meta: self.meta.map(|meta| Bytes::from(Box::<str>::from(meta).into_string())),
            issued: self.iat.map(|iat| seconds("iat", Some(&iat))).transpose()?,
            expires: Some(expires),
            token_id: token_id(self.jti)?,
        })
    }
}

fn malformed(claim: impl std::fmt::Display, what: &str) -> Error {
    unauthorized(format!("the token's claim `{claim}` {what}"))
}

/// When the token's time is over for us: `exp` and the leeway.
fn expiry(exp: Option<&Value>, leeway: Duration) -> Result<SystemTime, Error> {
    let expires = seconds("exp", exp)? + leeway;
    if expires <= SystemTime::now() { Err(key::expired()) } else { Ok(expires) }
}

/// A claim that is a time.
pub(in crate::auth) fn seconds(claim: &str, value: Option<&Value>) -> Result<SystemTime, Error> {
    // A fraction of a second is dropped, never rounded up.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = value
        .and_then(|value| value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64)))
        .ok_or_else(|| malformed(claim, "is not a number of seconds since 1970"))?;
    if seconds > LAST_SECOND {
        return Err(malformed(
            claim,
            "is after the year 9999; it is in seconds since 1970, not in milliseconds",
        ));
    }
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

pub(in crate::auth) fn user(sub: Option<Value>) -> Result<Option<Arc<str>>, Error> {
    let Some(sub) = sub else { return Ok(None) };
    let user = sub.as_str().ok_or_else(|| malformed("sub", "is not a string"))?;
    if user.is_empty() || user.len() > MAX_USER_BYTES {
        return Err(malformed("sub", "does not have 1 to 128 bytes"));
    }
    if user.chars().any(char::is_control) {
        return Err(malformed("sub", "has a control character"));
    }
    Ok(Some(user.into()))
}

fn token_id(jti: Option<Value>) -> Result<Option<Arc<str>>, Error> {
    let Some(jti) = jti else { return Ok(None) };
    let id = jti.as_str().ok_or_else(|| malformed("jti", "is not a string"))?;
    if id.is_empty() || id.len() > MAX_TOKEN_ID_BYTES {
        return Err(malformed("jti", "does not have 1 to 256 bytes"));
    }
    Ok(Some(id.into()))
}

pub(in crate::auth) fn grants(channels: Option<Value>) -> Result<Vec<Grant>, Error> {
    match channels {
        None => Ok(Vec::new()),
        Some(Value::Array(entries)) => {
            entries.into_iter().enumerate().map(|(index, entry)| grant(index, entry)).collect()
        }
        Some(_) => Err(malformed(
            "channels",
            "is not a list of the form [{\"match\": \"orders.>\", \"can\": [\"subscribe\"]}]",
        )),
    }
}

fn grant(index: usize, entry: Value) -> Result<Grant, Error> {
    let at = |key: &str| format!("channels[{index}]{key}");
    let Value::Object(mut entry) = entry else {
        return Err(malformed(
            at(""),
            "is not of the form {\"match\": \"orders.>\", \"can\": [\"subscribe\"]}",
        ));
    };
    let matches = grant_pattern(&mut entry).map_err(|what| malformed(at(".match"), what))?;
    let Some(Value::Array(names)) = entry.remove("can") else {
        return Err(malformed(at(".can"), CAN_FORM));
    };
    let mut can = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        let action = name.as_str().and_then(Action::from_name);
        can.push(action.ok_or_else(|| malformed(at(&format!(".can[{place}]")), ACTION_FORM))?);
    }
    // A key that we don't know may be one that narrows the grant.
    if entry.is_empty() {
        Ok(Grant { matches, can })
    } else {
        Err(malformed(at(""), "has keys other than `match` and `can`"))
    }
}

const CAN_FORM: &str = "is not a list of subscribe, publish, presence and history";
const ACTION_FORM: &str = "is not one of subscribe, publish, presence and history";

fn grant_pattern(entry: &mut Map<String, Value>) -> Result<Pattern, &'static str> {
    let Some(Value::String(text)) = entry.remove("match") else {
        return Err("is not a string");
    };
    Pattern::new(&text).map_err(|error| match error {
        PatternError::Empty => "is empty",
        PatternError::EmptyToken(_) => "has an empty token; remove the extra `.`",
        PatternError::RestNotLast(_) => "has `>` before its end",
        PatternError::Invalid(_) => "is over 200 bytes or has a control character",
    })
}

pub(in crate::auth) fn joins(join: Option<Value>) -> Result<Vec<Channel>, Error> {
    let names = match join {
        None => return Ok(Vec::new()),
        Some(Value::Array(names)) => names,
        Some(_) => return Err(malformed("join", "is not a list of channels")),
    };
    let mut channels: Vec<Channel> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let at = || format!("join[{index}]");
        let name = name.as_str().ok_or_else(|| malformed(at(), "is not a string"))?;
        let channel = Channel::new(name).map_err(|_| {
            malformed(at(), "is not a channel's name: 1 to 200 bytes and no control characters")
        })?;
        if channel.is_system() {
            return Err(malformed(
                at(),
                "begins with `$`; such channels belong to the system and can't be joined",
            ));
        }
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

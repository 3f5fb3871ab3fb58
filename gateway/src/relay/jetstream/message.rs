//! A publication as a NATS message, both ways.
//!
//! Apps write the payload and, if they like, `Push-Event`, `Push-Encoding`,
//! `Nats-Msg-Id` and `Nats-TTL`. Gateways write three more, for what an app
//! has no need of: `Push-Args` (several arguments in one payload),
//! `Push-Except` (sockets that don't get it), and `Push-Event-Escaped` (an
//! event name whose spaces at its ends a header would lose).

use async_nats::HeaderMap;
use bytes::Bytes;
use gateway_config::subject;

pub use super::line::Headers;
use super::time;
use crate::channel::Channel;
use crate::protocol::socketio::check_args;
use crate::publication::{Args, DEFAULT_EVENT, NewPublication, Publication, Value, check_event};

#[cfg(test)]
mod tests;

const EVENT: &str = "Push-Event";
const EVENT_ESCAPED: &str = "Push-Event-Escaped";
const ENCODING: &str = "Push-Encoding";
const ARGS: &str = "Push-Args";
const EXCEPT: &str = "Push-Except";
const ID: &str = "Nats-Msg-Id";
const TTL: &str = "Nats-TTL";

/// Why a message is no publication that a client could take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Undeliverable {
    /// The subject is no channel, or not as the channel is spelled.
    #[error("its subject is not one that a channel has; see the documentation on subjects")]
    Channel,
    /// An event name that clients can't take.
    #[error("its event name is reserved or not one")]
    Event,
    /// The payload isn't what `Push-Encoding` says.
    #[error("its payload is not what its headers say")]
    Payload,
    /// Over the channel's limit.
    #[error("it is larger than the channel's limit")]
    TooLarge,
}

/// A message's content, as subscribers get it.
#[derive(Debug, PartialEq)]
pub struct Content {
    /// Its name.
    pub event: Box<str>,
    /// What subscribers' handlers are called with.
    pub args: Args,
    /// Whether it was published as `args`.
    pub spread: bool,
    /// The publisher's id.
    pub id: Option<Box<str>>,
    /// In milliseconds.
    pub ttl: Option<u64>,
    /// Socket ids that don't get it.
    pub except: Vec<Box<str>>,
}

// === encode ===

/// The headers and the payload of a publication. `channel`: as a subject.
pub fn encode(new: &NewPublication, channel: &str, stored: bool) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    if new.event.trim() == &*new.event {
        if &*new.event != DEFAULT_EVENT {
            headers.insert(EVENT, &*new.event);
        }
    } else {
        headers.insert(EVENT_ESCAPED, subject::encode_token(&new.event).as_str());
    }
    if let Some(id) = &new.id {
        headers.insert(ID, format!("{channel}/{}", subject::encode_token(id)).as_str());
    }
    if let (Some(ttl), true) = (new.ttl, stored) {
        // The server keeps whole seconds, one at least.
        headers.insert(TTL, ttl.div_ceil(1_000).max(1).to_string().as_str());
    }
    if !new.except.is_empty() {
        let sids: Vec<_> = new.except.iter().map(|sid| subject::encode_token(sid)).collect();
        headers.insert(EXCEPT, sids.join(" ").as_str());
    }
    let payload = match (new.spread, new.args.as_slice()) {
        (false, [Value::Json(text)]) => {
            headers.insert(ENCODING, "json");
            text.clone()
        }
        (false, [Value::Binary(bytes)]) => {
            headers.insert(ENCODING, "binary");
            bytes.clone()
        }
        (_, args) => {
            let (mut lengths, mut payload) = (Vec::new(), Vec::new());
            for arg in args {
                let (kind, bytes) = match arg {
                    Value::Json(text) => ("json", text),
                    Value::Binary(bytes) => ("binary", bytes),
                };
                lengths.push(format!("{kind}:{}", bytes.len()));
                payload.extend_from_slice(bytes);
            }
            // No argument at all is `none`.
            let lengths = if lengths.is_empty() { "none".to_owned() } else { lengths.join(",") };
            headers.insert(ARGS, lengths.as_str());
            payload.into()
        }
    };
    (headers, payload)
}

// === decode ===

/// Reads a message. `channel`: as a subject; `most`: bytes of event and
/// arguments.
pub fn decode(
    channel: &str,
    headers: Headers<'_>,
    payload: &Bytes,
    most: usize,
) -> Result<Content, Undeliverable> {
    let header = |name| headers.last(name);
    let event: Box<str> = match (header(EVENT_ESCAPED), header(EVENT)) {
        (Some(escaped), _) => subject::decode(escaped).ok_or(Undeliverable::Event)?.into(),
        (None, Some(event)) => event.into(),
        (None, None) => DEFAULT_EVENT.into(),
    };
    check_event(&event).map_err(|_| Undeliverable::Event)?;
    if event.len() + payload.len() > most {
        return Err(Undeliverable::TooLarge);
    }
    let (args, spread) = match header(ARGS) {
        Some(lengths) => (split(lengths, payload)?, true),
        None => (Args::from_iter([value(header(ENCODING), payload)?]), false),
    };
    check_args(&args).map_err(|_| Undeliverable::Payload)?;
    let except = header(EXCEPT).map(|sids| {
        sids.split_ascii_whitespace().filter_map(subject::decode).map(Into::into).collect()
    });
    Ok(Content {
        event,
        args,
        spread,
        id: header(ID).map(|id| own_id(channel, id)),
        ttl: header(TTL).and_then(time::parse_ttl),
        except: except.unwrap_or_default(),
    })
}

/// When a message's own TTL runs out; `u64::MAX`: never.
pub fn expiry(content: &Content, time: u64) -> u64 {
    content.ttl.map_or(u64::MAX, |ttl| time.saturating_add(ttl))
}

// === impl Content ===

impl Content {
    /// As a publication.
    pub fn into_publication(
        self,
        channel: Channel,
        time: u64,
        position: Option<crate::offset::Position>,
    ) -> Publication {
        Publication {
            channel,
            event: self.event,
            args: self.args,
            spread: self.spread,
            id: self.id,
            time,
            position,
            except: self.except,
        }
    }
}

/// The id without its channel, if it was written with it.
fn own_id(channel: &str, id: &str) -> Box<str> {
    let own = id.strip_prefix(channel).and_then(|rest| rest.strip_prefix('/'));
    match own {
        Some(own) => subject::decode(own).map_or_else(|| own.into(), Into::into),
        None => id.into(),
    }
}

fn value(encoding: Option<&str>, payload: &Bytes) -> Result<Value, Undeliverable> {
    match encoding {
        Some("json") => json(payload).ok_or(Undeliverable::Payload),
        Some("text") => text(payload).ok_or(Undeliverable::Payload),
        Some("binary") => Ok(Value::Binary(payload.clone())),
        Some(_) => Err(Undeliverable::Payload),
        None => Ok(json(payload)
            .or_else(|| text(payload))
            .unwrap_or_else(|| Value::Binary(payload.clone()))),
    }
}

fn json(payload: &Bytes) -> Option<Value> {
    let raw: &serde_json::value::RawValue = serde_json::from_slice(payload).ok()?;
    // Without the space around it.
    Some(Value::Json(payload.slice_ref(raw.get().as_bytes())))
}

fn text(payload: &Bytes) -> Option<Value> {
    Some(Value::json(std::str::from_utf8(payload).ok()?))
}

/// The arguments of `json:12,binary:3`.
fn split(lengths: &str, payload: &Bytes) -> Result<Args, Undeliverable> {
    let mut rest = payload.clone();
    let mut args = Args::new();
    for part in lengths.split(',').filter(|part| *part != "none") {
        let (kind, length) = part.trim().split_once(':').ok_or(Undeliverable::Payload)?;
        let length: usize = length.parse().map_err(|_| Undeliverable::Payload)?;
        if length > rest.len() {
            return Err(Undeliverable::Payload);
        }
        args.push(value(Some(kind), &rest.split_to(length))?);
    }
    if rest.is_empty() { Ok(args) } else { Err(Undeliverable::Payload) }
}

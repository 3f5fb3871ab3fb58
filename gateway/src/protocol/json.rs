//! Plain WebSocket, `/ws`: one JSON object in one text message.
//!
//! A client sends `{"id":1,"subscribe":{"channel":"a"}}`; the server answers
//! `{"id":1,"ok":{…}}` or `{"id":1,"error":{…}}` and sends publications as
//! `{"channel":"a","event":"e","data":…,"offset":"…"}`. Bytes are written as
//! `{"base64":"…"}` both ways.

mod encode;
mod fields;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::error::{Error, ErrorCode};
use crate::publication::Args;
use fields::{Field, Object};

pub use encode::{error, offset_notice, ok, publication};
pub(in crate::protocol) use encode::{put_data, put_number, put_string};
pub use fields::parse_value;

/// The most bytes of a request's id, as it stands.
pub const MAX_ID_BYTES: usize = 200;

/// What a client calls a request: a JSON number or string, given back as it
/// stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Given back with the answer; absent, the answer has none.
    pub id: Option<RequestId>,
    /// What the client wants.
    pub command: Command,
}

/// What a client wants. Names and offsets are as the client wrote them, not
/// yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Says who it is; only as the first request.
    Connect {
        /// Absent: anonymous.
        token: Option<String>,
    },
    /// Wants a channel's publications.
    Subscribe {
        /// Which.
        channel: String,
        /// First what came after this offset.
        since: Option<String>,
        /// First so many of the newest.
        last: Option<usize>,
    },
    /// No longer wants them.
    Unsubscribe {
        /// Which.
        channel: String,
    },
    /// Publishes.
    Publish {
        /// Where to.
        channel: String,
        /// Absent: the default one.
        event: Option<String>,
        /// `data`, or the elements of `args`.
        args: Args,
        /// Whether it came as `args`.
        spread: bool,
        /// The publication's id, which makes a retry harmless.
        id: Option<String>,
    },
    /// Asks who is subscribed.
    Presence {
        /// To what.
        channel: String,
    },
    /// Asks for a part of a channel's history.
    History {
        /// Which channel's.
        channel: String,
        /// Only what is after this offset.
        since: Option<String>,
        /// Only what is before this offset.
        before: Option<String>,
        /// At most so many.
        limit: Option<usize>,
        /// Absent: the server's default.
        order: Option<Order>,
    },
    /// Brings a newer token.
    Refresh {
        /// The token.
        token: String,
    },
}

/// The order of a part of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum Order {
    /// `asc` (or `oldest`): oldest first.
    #[serde(rename = "asc", alias = "oldest")]
    Ascending,
    /// `desc` (or `newest`): newest first.
    #[serde(rename = "desc", alias = "newest")]
    Descending,
}

/// A request that can't be served, with its id as far as it could be read.
pub type ParseError = (Option<RequestId>, Error);

/// The commands, as they stand in a request.
const COMMANDS: [&str; 7] =
    ["connect", "subscribe", "unsubscribe", "publish", "presence", "history", "refresh"];

/// Reads a request. What is wrong is named by its field.
pub fn parse(text: &[u8]) -> Result<Request, ParseError> {
    let object = Object::parse(text, "").map_err(|error| (None, error))?;
    // The id first, so that every other error can carry it.
    let id = parse_id(&object).map_err(|error| (None, error))?;
    match parse_command(&object) {
        Ok(command) => Ok(Request { id, command }),
        Err(error) => Err((id, error)),
    }
}

fn parse_id(object: &Object) -> Result<Option<RequestId>, Error> {
    let Some(field) = object.get("id") else { return Ok(None) };
    let text = field.json();
    let scalar = matches!(text.bytes().next(), Some(b'"' | b'-' | b'0'..=b'9'));
    if !scalar || text.len() > MAX_ID_BYTES {
        return Err(field.wrong("must be a number or a string of at most 200 bytes"));
    }
    Ok(Some(RequestId(text.into())))
}

fn parse_command(object: &Object) -> Result<Command, Error> {
    let mut command: Option<(&str, Field)> = None;
    for field in object.fields() {
        let name = field.name();
        if name == "id" {
            continue;
        }
        if !COMMANDS.contains(&name) {
            return Err(field.unknown(&COMMANDS));
        }
        if let Some((first, _)) = command {
            let message = format!(
                "one request has one command; this one has `{first}` and `{name}`: send two"
            );
            return Err(Error::new(ErrorCode::BadRequest, message).field(name.to_owned()));
        }
        command = Some((name, field));
    }
    let Some((name, field)) = command else {
        let message = format!("no command; a request has one of {}", COMMANDS.join(", "));
        return Err(Error::new(ErrorCode::BadRequest, message));
    };
    let body = Object::parse(field.json().as_bytes(), name)?;
    parse_body(name, &body)
}

fn parse_body(name: &str, body: &Object) -> Result<Command, Error> {
    let command = match name {
        "connect" => {
            body.only(&["token"])?;
            Command::Connect { token: body.text("token")? }
        }
        "subscribe" => {
            body.only(&["channel", "since", "last"])?;
            Command::Subscribe {
                channel: body.required("channel")?,
                since: body.text("since")?,
                last: body.count("last")?,
            }
        }
        "unsubscribe" => {
            body.only(&["channel"])?;
            Command::Unsubscribe { channel: body.required("channel")? }
        }
        "publish" => {
            body.only(&["channel", "event", "data", "args", "id"])?;
            let (args, spread) = body.arguments()?;
            Command::Publish {
                channel: body.required("channel")?,
                event: body.text("event")?,
                args,
                spread,
                id: body.text("id")?,
            }
        }
        "presence" => {
            body.only(&["channel"])?;
            Command::Presence { channel: body.required("channel")? }
        }
        "history" => {
            body.only(&["channel", "since", "before", "limit", "order"])?;
            Command::History {
                channel: body.required("channel")?,
                since: body.text("since")?,
                before: body.text("before")?,
                limit: body.count("limit")?,
                order: parse_order(body)?,
            }
        }
        // COMMANDS has no other.
        _ => {
            body.only(&["token"])?;
            Command::Refresh { token: body.required("token")? }
        }
    };
    Ok(command)
}

fn parse_order(body: &Object) -> Result<Option<Order>, Error> {
    match (body.text("order")?.as_deref(), body.get("order")) {
        (None, _) => Ok(None),
        (Some("asc" | "oldest"), _) => Ok(Some(Order::Ascending)),
        (Some("desc" | "newest"), _) => Ok(Some(Order::Descending)),
        (Some(_), field) => Err(field.map_or_else(
            || Error::new(ErrorCode::BadRequest, "`order` must be `asc` or `desc`"),
            |field| field.wrong("must be `asc` (oldest first) or `desc` (newest first)"),
        )),
    }
}

// === impl RequestId ===

impl RequestId {
    /// The JSON text as the client wrote it.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

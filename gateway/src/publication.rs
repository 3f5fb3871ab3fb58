//! Publications: what apps publish and clients receive.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::offset::Position;

/// The event name of a publication that names none.
pub const DEFAULT_EVENT: &str = "message";

/// The client library's reserved names (socket.io-parser, `RESERVED_EVENTS`):
/// a packet with one is a parse error, met again at every recovery.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// One argument of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A JSON text, checked, byte for byte as it came.
    Json(Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// The arguments of an event; nearly always one.
pub type Args = SmallVec<[Value; 1]>;

/// A publication on its way in.
#[derive(Clone, Debug)]
pub struct NewPublication {
    /// Where to.
    pub channel: Channel,
    /// Event name; see [`check_event`].
    pub event: Box<str>,
    /// What subscribers' handlers are called with.
    pub args: Args,
    /// Whether it came as `args: […]`: a publication with one `args` element
    /// stays an array for clients that see `data`.
    pub spread: bool,
    /// Makes a retry harmless, on channels with history.
    pub id: Option<Box<str>>,
    /// After so many milliseconds it is no longer in history.
    pub ttl: Option<u64>,
    /// False: subscribers get it now, history doesn't keep it.
    pub store: bool,
    /// Socket ids that don't get it.
    pub except: Vec<Box<str>>,
}

/// A publication on its way out.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where it was published.
    pub channel: Channel,
    /// Event name.
    pub event: Box<str>,
    /// What subscribers' handlers are called with.
    pub args: Args,
    /// See [`NewPublication::spread`].
    pub spread: bool,
    /// The publisher's id.
    pub id: Option<Box<str>>,
    /// When it was published, in milliseconds since 1970.
    pub time: u64,
    /// Its place in the stream; none on a channel without history.
    pub position: Option<Position>,
    /// Socket ids that don't get it.
    pub except: Vec<Box<str>>,
}

/// What a publisher learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it was stored; none on a channel without history.
    pub position: Option<Position>,
    /// Whether it carried an id that the stream had seen: this one was not
    /// delivered again, and `position` is the first one's.
    pub duplicate: bool,
}

// === impl Value ===

impl Value {
    /// The JSON text `null`.
    pub const fn null() -> Self {
        Self::Json(Bytes::from_static(b"null"))
    }

    /// A JSON text made of a value that serializes.
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Self {
        // Values that the gateway itself makes always serialize.
        serde_json::to_vec(value).map_or_else(|_| Self::null(), |text| Self::Json(text.into()))
    }

    /// Whether it is a JSON string: what a Socket.IO client would take for
    /// an offset at the end of an event.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::Json(text) if text.first() == Some(&b'"'))
    }

    /// Bytes that it holds.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl NewPublication ===

impl NewPublication {
    /// A publication with one argument and nothing else said.
    pub fn new(channel: Channel, event: &str, data: Value) -> Self {
        Self {
            channel,
            event: event.into(),
            args: SmallVec::from_iter([data]),
            spread: false,
            id: None,
            ttl: None,
            store: true,
            except: Vec::new(),
        }
    }

    /// Bytes of its event and arguments.
    pub fn size(&self) -> usize {
        self.event.len() + self.args.iter().map(Value::len).sum::<usize>()
    }
}

/// The most bytes of a publication's id.
pub const MAX_ID_BYTES: usize = 200;

/// Refuses what can't be a publication's id.
pub fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorCode::BadRequest,
            format!("an id has 1 to {MAX_ID_BYTES} bytes and no control characters"),
        )
        .field("id"));
    }
    Ok(())
}

/// Refuses event names that a Socket.IO client can't take or that are the
/// gateway's own.
pub fn check_event(event: &str) -> Result<(), Error> {
    if event.is_empty() || event.len() > 200 || event.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorCode::EventInvalid,
            "an event's name has 1 to 200 bytes and no control characters",
        ));
    }
    if RESERVED_EVENTS.contains(&event) || event.starts_with("push:") {
        return Err(Error::new(
            ErrorCode::EventReserved,
            format!("the event name `{event}` is reserved; choose another"),
        ));
    }
    Ok(())
}

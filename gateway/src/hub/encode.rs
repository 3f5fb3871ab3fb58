//! A publication in the form of each client protocol: made once for all who
//! want that form, then shared.

use std::sync::Arc;

use arcstr::ArcStr;
use smallvec::SmallVec;

use super::Later;
use crate::offset::{Offset, Position};
use crate::protocol::engineio::{Message, Wire};
use crate::protocol::{json, socketio, sse};
use crate::publication::{Publication, Value};

/// What a publication looks like to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Which protocol.
    pub protocol: Protocol,
    /// Socket.IO: index of the namespace in the configuration.
    pub namespace: u16,
    /// Socket.IO: `{channel, id, time}` follows the data.
    pub meta: bool,
    /// Socket.IO: the offset is the last argument, where the client library
    /// looks for it.
    pub recoverable: bool,
}

/// A client protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Socket.IO 5 over Engine.IO 4.
    Socketio,
    /// JSON frames on `/ws`.
    Websocket,
    /// Server-Sent Events.
    Sse,
}

// === impl Protocol ===

impl Protocol {
    /// The protocol as the API and apps know it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Socketio => "socketio",
            Self::Websocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

/// Makes each form of one publication at most once.
pub struct Encoder<'a> {
    publication: &'a Publication,
    position: Position,
    namespaces: &'a [ArcStr],
    /// Whether it may get to a client before what was published earlier.
    movable: bool,
    offset: Option<String>,
    made: SmallVec<[(Form, Message); 4]>,
}

/// What a publication says of its place.
#[derive(Clone, Copy)]
enum Place<'a> {
    Nothing,
    Offset(&'a str),
    /// Socket.IO: a last argument that is no offset.
    Null,
}

// === impl Form ===

impl Form {
    /// The same, with or without `{channel, id, time}`.
    #[must_use]
    pub const fn with_meta(self, meta: bool) -> Self {
        Self { meta, ..self }
    }
}

// === impl Protocol ===

impl Protocol {
    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Socketio => "socketio",
            Self::Websocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

// === impl Encoder ===

impl<'a> Encoder<'a> {
    /// For one publication, at the shard's position after it.
    pub fn new(publication: &'a Publication, position: Position, namespaces: &'a [ArcStr]) -> Self {
        let made = SmallVec::new();
        Self { publication, position, namespaces, movable: false, offset: None, made }
    }

    /// It may get to a client before what was published earlier. So its
    /// frame names no place: a client that resumed from there would miss
    /// what it hasn't got yet.
    #[must_use]
    pub fn movable(self, movable: bool) -> Self {
        Self { movable, ..self }
    }

    /// The publication in a form.
    pub fn message(&mut self, form: Form) -> &Message {
        let index = self.made.iter().position(|(made, _)| *made == form).unwrap_or_else(|| {
            let position = self.position;
            let place = match (wants_offset(self.publication, form), self.movable) {
                (false, _) => Place::Nothing,
                (true, true) => Place::Null,
                (true, false) => {
                    Place::Offset(self.offset.get_or_insert_with(|| position.to_string()))
                }
            };
            let message = encode(self.publication, form, self.namespaces, place);
            self.made.push((form, message));
            self.made.len() - 1
        });
        &self.made[index].1
    }
}

/// A replayed publication, which carries an offset of its own, to be encoded
/// when its turn comes.
pub fn replayed_later(
    publication: Arc<Publication>,
    form: Form,
    namespaces: &Arc<[ArcStr]>,
    offset: Offset,
) -> Later {
    let namespaces = namespaces.clone();
    Box::new(move || {
        if !wants_offset(&publication, form) {
            return encode(&publication, form, &namespaces, Place::Nothing);
        }
        encode(&publication, form, &namespaces, Place::Offset(&offset.to_string()))
    })
}

/// Something of the gateway's own, in a client's protocol.
pub fn notice(
    protocol: Protocol,
    namespace: &str,
    event: &str,
    data: &serde_json::Value,
) -> Message {
    match protocol {
        Protocol::Socketio => socketio::event(namespace, event, &[Value::json(data)], None),
        Protocol::Websocket => {
            let text = serde_json::json!({ "event": event, "data": data }).to_string();
            Message::One(Wire::text(&[text.as_bytes()]))
        }
        Protocol::Sse => Message::One(Wire::raw(sse::notice(event, data))),
    }
}

/// A publication with a place in the stream tells it. So does, to a
/// recoverable Socket.IO session, one that ends in a string (its event name,
/// where it has no argument): the client
/// library takes the last string of an event for its offset.
fn wants_offset(publication: &Publication, form: Form) -> bool {
    match form.protocol {
        Protocol::Socketio => {
            let ends_in_string = !form.meta && publication.args.last().is_none_or(Value::is_string);
            form.recoverable && (publication.position.is_some() || ends_in_string)
        }
        Protocol::Websocket | Protocol::Sse => publication.position.is_some(),
    }
}

fn encode(
    publication: &Publication,
    form: Form,
    namespaces: &[ArcStr],
    place: Place<'_>,
) -> Message {
    let offset = if let Place::Offset(offset) = place { Some(offset) } else { None };
    match form.protocol {
        Protocol::Websocket => Message::One(json::publication(publication, offset)),
        Protocol::Sse => Message::One(Wire::raw(sse::publication(publication, offset))),
        Protocol::Socketio => {
            let namespace = namespaces.get(usize::from(form.namespace)).map_or("/", |name| &**name);
            if !form.meta && matches!(place, Place::Nothing) {
                return socketio::event(namespace, &publication.event, &publication.args, None);
            }
            let mut args = publication.args.clone();
            if form.meta {
                args.push(Value::json(&serde_json::json!({
                    "channel": publication.channel.as_str(),
                    "id": publication.id,
                    "time": publication.time,
                })));
            }
            match place {
                Place::Nothing => {}
                Place::Offset(offset) => args.push(Value::json(offset)),
                Place::Null => args.push(Value::null()),
            }
            socketio::event(namespace, &publication.event, &args, None)
        }
    }
}

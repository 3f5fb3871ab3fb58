//! A publication in the form of each client protocol: made once for all who
//! want that form, then shared.

use std::fmt::Write as _;

use smallvec::SmallVec;

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

/// Makes each form of one publication at most once.
pub struct Encoder<'a> {
    publication: &'a Publication,
    position: Position,
    namespaces: &'a [Box<str>],
    offset: Option<String>,
    made: SmallVec<[(Form, Message); 4]>,
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
    pub fn new(
        publication: &'a Publication,
        position: Position,
        namespaces: &'a [Box<str>],
    ) -> Self {
        Self { publication, position, namespaces, offset: None, made: SmallVec::new() }
    }

    /// The publication in a form.
    pub fn message(&mut self, form: Form) -> &Message {
        let index = self.made.iter().position(|(made, _)| *made == form).unwrap_or_else(|| {
            let offset = wants_offset(self.publication, form).then(|| {
                let position = self.position;
                self.offset.get_or_insert_with(|| position.to_string()).as_str()
            });
            let message = encode(self.publication, form, self.namespaces, offset);
            self.made.push((form, message));
            self.made.len() - 1
        });
        &self.made[index].1
    }
}

/// Encodes a replayed publication, which carries an offset of its own.
pub fn encode_replayed(
    publication: &Publication,
    form: Form,
    namespaces: &[Box<str>],
    offset: &Offset,
) -> Message {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = write!(text, "{offset}");
    let offset = wants_offset(publication, form).then_some(&*text);
    encode(publication, form, namespaces, offset)
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
    namespaces: &[Box<str>],
    offset: Option<&str>,
) -> Message {
    match form.protocol {
        Protocol::Websocket => Message::One(json::publication(publication, offset)),
        Protocol::Sse => Message::One(Wire::raw(sse::publication(publication, offset))),
        Protocol::Socketio => {
            let namespace = namespaces.get(usize::from(form.namespace)).map_or("/", |name| &**name);
            if !form.meta && offset.is_none() {
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
            if let Some(offset) = offset {
                args.push(Value::json(offset));
            }
            socketio::event(namespace, &publication.event, &args, None)
        }
    }
}

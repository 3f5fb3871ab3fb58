//! Names: channels, users, namespaces.

use arcstr::ArcStr;
use gateway_config::subject;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::fmt;

/// Longest channel name, in bytes.
pub const MAX_CHANNEL_BYTES: usize = 200;

/// The name of a channel: UTF-8, 1 to 200 bytes, no control characters.
///
/// A clone shares the text and is one pointer: a subscription is known to its
/// session, the hub, the fan-out and the session's record.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(ArcStr);

/// Why a text is not a channel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// No byte.
    #[error("a channel's name is empty")]
    Empty,
    /// Over 200 bytes.
    #[error("a channel's name is {0} bytes long; 200 at most")]
    TooLong(usize),
    /// A control character.
    #[error("a channel's name has a control character")]
    Control,
    /// A name of the system's without what it names, or with a namespace that
    /// is written otherwise than the mapping writes it: it would share its
    /// subject with another name, or have none.
    #[error(
        "a channel's name is `$user.<id>`, `$sid.<id>` or `$ns.<namespace>.<room>`, with other characters of the namespace than letters and digits as in a NATS subject, or none of these"
    )]
    System,
}

// === impl Channel ===

impl Channel {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > MAX_CHANNEL_BYTES {
            return Err(ChannelError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(ChannelError::Control);
        }
        if is_half_named(name) {
            return Err(ChannelError::System);
        }
        Ok(Self(name.into()))
    }

    /// `$user.<id>`: every session of a user is subscribed to it.
    pub fn user(id: &str) -> Result<Self, ChannelError> {
        Self::new(&format!("$user.{id}"))
    }

    /// `$sid.<id>`: one session.
    pub fn sid(id: &str) -> Result<Self, ChannelError> {
        Self::new(&format!("$sid.{id}"))
    }

    /// `$all`: every session.
    pub fn all() -> Self {
        Self(arcstr::literal!("$all"))
    }

    /// What a client in `namespace` calls `room`: the name itself in `/`,
    /// `$ns.<namespace>.<room>` elsewhere.
    pub fn in_namespace(namespace: &str, room: &str) -> Result<Self, ChannelError> {
        match namespace.trim_start_matches('/') {
            "" => Self::new(room),
            // One token, so that `/a.b` with `c` is not `/a` with `b.c`.
            name => Self::new(&format!("$ns.{}.{room}", subject::encode_token(name))),
        }
    }

    /// What a client in `namespace` calls it: back from
    /// [`Channel::in_namespace`].
    pub fn name_in(&self, namespace: &str) -> &str {
        let namespace = namespace.trim_start_matches('/');
        if namespace.is_empty() {
            return &self.0;
        }
        self.0
            .strip_prefix("$ns.")
            .and_then(|rest| rest.strip_prefix(&*subject::encode_token(namespace)))
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(&self.0)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it belongs to the system and is closed to client commands.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// As a NATS subject (without prefix). User ids and namespaces are one
    /// token each, their `.` escaped.
    pub fn to_subject(&self) -> String {
        for kind in ["$user.", "$sid."] {
            if let Some(id) = self.0.strip_prefix(kind) {
                return format!("{kind}{}", subject::encode_token(id));
            }
        }
        if let Some((namespace, room)) = self.namespace() {
            return format!("$ns.{namespace}.{}", subject::encode(room));
        }
        subject::encode(&self.0)
    }

    /// Back from a NATS subject (without prefix).
    pub fn from_subject(text: &str) -> Option<Self> {
        let name = match text.strip_prefix("$ns.").and_then(|rest| rest.split_once('.')) {
            // The namespace stands in the name as it does in the subject.
            Some((namespace, room)) => format!("$ns.{namespace}.{}", subject::decode(room)?),
            None => subject::decode(text)?,
        };
        Self::new(&name).ok()
    }

    /// The namespace, as a token, and the room of a `$ns` channel.
    fn namespace(&self) -> Option<(&str, &str)> {
        let (namespace, room) = self.0.strip_prefix("$ns.")?.split_once('.')?;
        // A name that no mapping made (an API may publish to any) is like others.
        let token = subject::decode(namespace).map(|name| subject::encode_token(&name));
        (token.as_deref() == Some(namespace) && !room.is_empty()).then_some((namespace, room))
    }
}

/// Whether it is a name of the system's that no mapping makes; see
/// [`ChannelError::System`].
fn is_half_named(name: &str) -> bool {
    if let Some(id) = name.strip_prefix("$user.").or_else(|| name.strip_prefix("$sid.")) {
        return id.is_empty();
    }
    let Some((namespace, room)) = name.strip_prefix("$ns.").and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    // Without a room it is a name like others: its last `.` is escaped.
    let token = subject::decode(namespace).map(|name| subject::encode_token(&name));
    namespace.is_empty() || (!room.is_empty() && token.as_deref() != Some(namespace))
}

impl AsRef<str> for Channel {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(reader)?;
        Self::new(&name).map_err(D::Error::custom)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests;

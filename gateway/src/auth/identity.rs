//! Who a client is, as its token says.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use gateway_config::Pattern;

use crate::channel::Channel;

/// Who a client is. An anonymous client has the default one.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The token's `sub`. Two connections of one user share it.
    pub user: Option<Arc<str>>,
    /// Whether it came with a valid token.
    pub has_token: bool,
    /// What the token allows.
    pub grants: Vec<Grant>,
    /// Channels that it is subscribed to on connect.
    pub join: Vec<Channel>,
    /// The token's `meta`, a JSON text.
    pub meta: Option<Bytes>,
    /// When the token was issued, as its `iat` says.
    pub issued: Option<SystemTime>,
    /// When the token's time is over.
    pub expires: Option<SystemTime>,
    /// The token's `jti`.
    pub token_id: Option<Arc<str>>,
}

/// What a token allows on the channels that match.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// On which channels.
    pub matches: Pattern,
    /// What.
    pub can: Vec<Action>,
}

/// What a client may do on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Receive what is published.
    Subscribe,
    /// Publish.
    Publish,
    /// See who else is there.
    Presence,
    /// Read what was published.
    History,
}

// === impl Action ===

impl Action {
    /// The action as it stands in the claim `channels`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
        }
    }

    /// Reads an action as it stands in the claim `channels`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Subscribe, Self::Publish, Self::Presence, Self::History]
            .into_iter()
            .find(|action| action.as_str() == name)
    }
}

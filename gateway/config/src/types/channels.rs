//! Rules for channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Pattern, Period};

/// What holds for the channels that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelRule {
    /// The channels that it is for.
    #[serde(rename = "match")]
    pub matches: Pattern,
    /// How much is kept for those who come back. Absent: nothing.
    #[serde(default)]
    pub history: Option<History>,
    /// True: whoever may subscribe may also publish.
    #[serde(default)]
    pub client_publish: Option<bool>,
    /// True: everyone may subscribe, with a token or without.
    #[serde(default)]
    pub anonymous: Option<bool>,
    /// What happens to a client that reads too slowly. On channels with
    /// history: `disconnect`.
    #[serde(default)]
    pub slow_consumer: SlowConsumer,
    /// Largest publication, in bytes. Default: `limits.publicationBytes`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_payload: Option<usize>,
}

/// How much of a channel is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct History {
    /// Publications per channel.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_messages: usize,
    /// Age of the oldest.
    pub max_age: Period,
}

/// What happens to a client that reads too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SlowConsumer {
    /// It is disconnected and may resume.
    #[default]
    Disconnect,
    /// It stays connected, and the oldest publications that wait for it are
    /// dropped. For channels without history.
    DropOldest,
    /// It stays connected, and of each channel only the newest waits for it.
    /// For channels without history.
    Latest,
}

// === impl SlowConsumer ===

impl SlowConsumer {
    /// As it is written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::DropOldest => "dropOldest",
            Self::Latest => "latest",
        }
    }
}

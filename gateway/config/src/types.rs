//! Every section and key of the configuration, with its default and meaning.
//!
//! # Layout
//!
//! - `listeners`: `client`, `api` and `admin`
//! - `peer`: `peer`, between gateways
//! - `relay`: `relay`, the way to NATS
//! - `auth`: `auth`, tokens and apps that are asked
//! - `channels`: `channels`, and what is kept of them
//! - `limits`: `limits`
//! - `recovery`: `socketio.recovery`, which is written in several forms
//! - `defaults`: what holds where nothing is written

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Period;

mod auth;
mod channels;
mod defaults;
mod limits;
mod listeners;
mod peer;
mod recovery;
mod relay;

pub use auth::{Auth, Callout, ConnectCallout, Jwt, SubscribeCallout};
pub use channels::{ChannelRule, History, SlowConsumer};
pub use limits::Limits;
pub use listeners::{Admin, Api, ApiKey, Client, ListenerTls, Scope};
pub use peer::{Peer, PeerTls};
pub use recovery::Recovery;
pub use relay::{Relay, RelayTls};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// The listener that clients connect to.
    pub client: Client,
    /// The listener that apps publish to.
    pub api: Api,
    /// The listener for health, metrics and status.
    pub admin: Admin,
    /// The listener that other gateways connect to.
    pub peer: Peer,
    /// How gateways relay publications to each other.
    pub relay: Relay,
    /// The Socket.IO protocol's settings.
    pub socketio: Socketio,
    /// Who may connect.
    pub auth: Auth,
    /// Rules for channels; the first that matches a channel's name holds.
    pub channels: Vec<ChannelRule>,
    /// What one gateway, one client and one request may use.
    pub limits: Limits,
    /// How the gateway stops.
    pub drain: Drain,
    /// The log's form.
    pub log: Log,
    /// Raised with every change of what is kept (`history`, `relay.replicas`,
    /// `relay.historyBytes`): of gateways with different configurations the newest one rules.
    pub generation: u64,
    /// Start even where the settings leave the gateway open to strangers.
    pub insecure: bool,
}

/// The Socket.IO protocol's settings. Defaults are the reference server's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Socketio {
    /// Path of the Socket.IO endpoint; begins and ends with `/`.
    pub path: String,
    /// Time between two pings of the server.
    pub ping_interval: Period,
    /// How long the server waits for the answer to a ping.
    pub ping_timeout: Period,
    /// How long an upgrade to WebSocket may take.
    pub upgrade_timeout: Period,
    /// How long a client may take to join its first namespace.
    pub connect_timeout: Period,
    /// Largest message or polling body from a client, in bytes.
    #[schemars(range(min = 1))]
    pub max_payload: usize,
    /// The namespaces that exist.
    pub namespaces: Vec<String>,
    /// Connection state recovery; `off` turns it off.
    pub recovery: Recovery,
}

/// How the gateway stops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Drain {
    /// How long new clients are still accepted after SIGTERM. Default: 0
    /// with the embedded relay, else 5s.
    pub delay: Option<Period>,
    /// Over how long clients are then disconnected, evenly.
    pub period: Period,
}

/// The log's form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`; or a filter such as
    /// `info,gateway::hub=debug`.
    pub level: String,
    /// One line of text, or one JSON object, for each event.
    pub format: LogFormat,
}

/// The log's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// Lines for machines.
    Json,
}

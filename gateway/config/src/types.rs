//! Every section and key of the configuration, with its default and meaning.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Network, Pattern, Period};

mod defaults;
mod recovery;

pub use recovery::Recovery;

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

/// The listener that clients connect to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Client {
    /// Address and port. `:8080` is `0.0.0.0:8080`; `[::]:8080` is every
    /// address, IPv6 too.
    pub listen: String,
    /// Web origins that may connect: `*`, `https://app.example.com`, or
    /// `https://*.example.com` for all below it. `null` is that of files and
    /// sandboxed frames: any page can make itself that.
    pub allowed_origins: Vec<String>,
    /// Addresses of the proxies in front, and blocks of them (`10.0.0.0/8`),
    /// whose `X-Forwarded-For` or `Forwarded` says where a client is. Empty:
    /// nobody's is believed.
    pub trusted_proxies: Vec<String>,
    /// How many proxies stand one behind the other: the client is so many
    /// places from the right in what the last one sends.
    #[schemars(range(min = 1, max = 16))]
    pub trusted_hops: usize,
    /// True: every connection begins with a PROXY protocol header, version 1
    /// or 2, as HAProxy and TCP load balancers send it. Without one it is
    /// closed.
    pub proxy_protocol: bool,
    /// TLS with clients. Absent: none; then it ends at a proxy in front.
    pub tls: Option<ListenerTls>,
    /// Threads that serve clients, each with its own share of the sessions.
    /// 0: one for each core.
    #[schemars(range(max = 1_024))]
    pub shards: usize,
}

/// The listener that apps publish to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Api {
    /// Address and port.
    pub listen: String,
    /// Who may call the API. None on loopback: everyone may.
    pub keys: Vec<ApiKey>,
    /// Path of a YAML file with that list, in place of `keys`. It is read
    /// again when it changes.
    pub keys_file: Option<String>,
    /// TLS with apps. Absent: none.
    pub tls: Option<ListenerTls>,
}

/// TLS on a listener. The files are read again when they change; connections
/// stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ListenerTls {
    /// Path of the certificate, in PEM, with those between it and the
    /// authority's. Required.
    pub cert: String,
    /// Path of its key, in PEM. Required.
    pub key: String,
}

/// A key of the HTTP API, kept as a hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApiKey {
    /// Who holds it; shown in logs and metrics. No two keys share a name.
    pub name: String,
    /// SHA-256 of the key, 64 hexadecimal digits: `printf %s "$KEY" | sha256sum`.
    // Who takes it for the key itself must not find the key in an error.
    #[schemars(extend("writeOnly" = true))]
    pub sha256: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The channels that it may touch; every channel when empty.
    #[serde(default)]
    pub channels: Vec<Pattern>,
}

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Publish.
    Publish,
    /// Read channels, history and presence.
    Read,
    /// Act on users and gateways.
    Admin,
}

/// The listener for health, metrics and status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Admin {
    /// Address and port.
    pub listen: String,
    /// Path of a file with the token that `/status` and `/drain` want as
    /// `Authorization: Bearer …`; of several lines each is one. It is read
    /// again when it changes. Absent: they want none.
    // Who puts the token itself here must not find it in an error.
    #[schemars(extend("writeOnly" = true))]
    pub token_file: Option<String>,
}

/// The listener that other gateways connect to: a client's request may come
/// in at any of them, and is passed on to the one that holds its session.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Peer {
    /// Address and port; empty: none, and only the gateway that holds a
    /// session serves it. Unused with the relay `memory`.
    pub listen: String,
    /// Where other gateways reach `listen`; without a port, at that of
    /// `listen`. Default: as it stands there.
    pub advertise: Option<String>,
    /// What all gateways of a cluster share and nobody else knows; 32 random
    /// bytes are good. Required with a NATS relay.
    #[schemars(extend("writeOnly" = true))]
    pub secret: Option<String>,
    /// Mutual TLS between gateways, on top of `secret`.
    pub tls: Option<PeerTls>,
}

/// Mutual TLS between gateways: each shows a certificate, to those that it
/// connects to and to those that connect to it. The files are read again when
/// they change; connections stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PeerTls {
    /// Path of this gateway's certificate, in PEM, with those between it and
    /// the authority's. Required.
    pub cert: String,
    /// Path of its key, in PEM. Required.
    pub key: String,
    /// Path of the certificates of the authorities whose gateways are let
    /// in, in PEM. Required.
    pub ca: String,
    /// The name that every gateway's certificate must carry. Default: each
    /// one's own address, as it advertises it.
    pub server_name: Option<String>,
}

/// How gateways relay publications to each other.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Relay {
    /// `memory`: this gateway alone, history in its memory. Or the servers of
    /// a NATS cluster: `nats://a:4222,nats://b:4222`, `tls://c:4222`.
    // It may hold a password; errors must not show it.
    #[schemars(extend("writeOnly" = true))]
    pub url: String,
    /// First tokens of every NATS subject. Unused with `memory`.
    pub prefix: String,
    /// Servers that keep each stored publication: 1, 3 or 5. Unused with `memory`.
    #[schemars(range(min = 1, max = 5))]
    pub replicas: usize,
    /// Bytes of history that are kept of all channels together; beyond it the
    /// oldest go early. Default: 268435456 (256 MiB) with `memory`; with NATS
    /// as many as the servers or the account allow.
    #[schemars(range(min = 1_048_576))]
    pub history_bytes: Option<usize>,
    /// User name at NATS.
    pub user: Option<String>,
    /// Password at NATS.
    #[schemars(extend("writeOnly" = true))]
    pub password: Option<String>,
    /// Token at NATS.
    #[schemars(extend("writeOnly" = true))]
    pub token: Option<String>,
    /// Path of a NATS credentials file (a JWT and its seed).
    #[schemars(extend("writeOnly" = true))]
    pub credentials: Option<String>,
    /// Path of a file with an nkey's seed.
    #[schemars(extend("writeOnly" = true))]
    pub nkey: Option<String>,
    /// Encrypts the way to NATS.
    pub tls: Option<RelayTls>,
    /// How long a gateway that starts waits for NATS before it gives up and
    /// exits. 0: it waits for ever, and says in the log and at `/status` what
    /// is wrong. Unused with `memory`.
    pub start_timeout: Period,
}

/// TLS with NATS. Without `ca` the system's authorities are trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RelayTls {
    /// Path of the authority's certificate, in PEM.
    pub ca: Option<String>,
    /// Path of the gateway's certificate, in PEM; with `key`.
    pub cert: Option<String>,
    /// Path of its key, in PEM.
    pub key: Option<String>,
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

/// Who may connect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Auth {
    /// Whether clients without a token may connect. Default: true without
    /// `jwt` and `callout.connect`, else false. With `callout.connect` the app
    /// is asked of them, too.
    pub anonymous: Option<bool>,
    /// How tokens are verified. Absent: tokens are not accepted.
    pub jwt: Option<Jwt>,
    /// Apps that are asked, over NATS, who a client is and what it may do.
    pub callout: Option<Callout>,
}

/// Apps that are asked, over NATS, who a client is and what it may do. An app
/// that doesn't answer lets nobody in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Callout {
    /// Asked of every client that connects or brings a new token. Absent:
    /// nobody is asked.
    pub connect: Option<ConnectCallout>,
    /// Asked of subscriptions; the first that matches a channel decides, and
    /// neither a grant nor a channel rule does.
    pub subscribe: Vec<SubscribeCallout>,
    /// Answers of each kind that are kept at once, for as long as they say.
    pub cached: usize,
}

/// Who is asked who a client is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectCallout {
    /// The subject that the app serves. Default: `<relay.prefix>.in.$auth.connect`.
    pub subject: Option<String>,
    /// How long the app has to answer; 30s at most.
    pub timeout: Period,
}

/// Who is asked of subscriptions to the channels that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SubscribeCallout {
    /// The channels that it is for.
    #[serde(rename = "match")]
    pub matches: Pattern,
    /// The subject that the app serves. Default: `<relay.prefix>.in.$auth.subscribe`.
    #[serde(default)]
    pub subject: Option<String>,
    /// How long the app has to answer; 30s at most.
    #[serde(default = "defaults::callout_timeout")]
    pub timeout: Period,
}

/// How tokens (JWT) are verified: exactly one of `secret`, `publicKey` and
/// `jwksUrl`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Jwt {
    /// Shared secret, for HS256, HS384 and HS512.
    #[schemars(extend("writeOnly" = true))]
    pub secret: Option<String>,
    /// Public key in PEM.
    // Who puts the private key here must not find it in an error.
    #[schemars(extend("writeOnly" = true))]
    pub public_key: Option<String>,
    /// Where the issuer publishes its keys (JSON Web Key Set).
    #[schemars(extend("writeOnly" = true))]
    pub jwks_url: Option<String>,
    /// Accepted algorithms. Default: those that fit the key.
    pub algorithms: Vec<String>,
    /// Required `iss` claim.
    pub issuer: Option<String>,
    /// Required `aud` claim.
    pub audience: Option<String>,
    /// How far the issuer's clock may be from the gateway's, for `exp` and
    /// `nbf`; in whole seconds, 5m at most. Default: 5s.
    pub leeway: Option<Period>,
}

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

/// What one gateway, one client and one request may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// Client connections that the gateway holds at once.
    #[schemars(range(min = 1))]
    pub connections: usize,
    /// Client connections of one address, or of one /64 of IPv6; 0: any
    /// number.
    pub connections_per_address: usize,
    /// Sessions of one user on this gateway: connections, of Socket.IO each
    /// namespace; 0: any number.
    pub connections_per_user: usize,
    /// New client connections a second. More at once wait for up to a second,
    /// then they are refused; 0: any number.
    pub connect_rate: usize,
    /// The same of one address, or of one /64 of IPv6. None waits; 0: any
    /// number.
    pub connect_rate_per_address: usize,
    /// Bytes of memory from which on no new client is taken. 0: nine tenths
    /// of the container's limit, if it has one.
    pub memory: usize,
    /// Subscriptions of one session.
    #[schemars(range(min = 1))]
    pub subscriptions: usize,
    /// Messages a second that a client may send over one connection, and as
    /// many at once; 0: any number.
    pub messages_per_second: usize,
    /// Bytes a second of the same. A message may always be as large as
    /// `socketio.maxPayload`; 0: any number.
    pub bytes_per_second: usize,
    /// Bytes that may wait for one slow client.
    #[schemars(range(min = 1))]
    pub outbox_bytes: usize,
    /// Messages that may wait for one slow client.
    #[schemars(range(min = 1))]
    pub outbox_messages: usize,
    /// Largest publication, in bytes.
    #[schemars(range(min = 1))]
    pub publication_bytes: usize,
    /// Publications in one batch of the HTTP API.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// Bytes of one request's headers.
    // hyper's `max_buf_size` panics under 8192.
    #[schemars(range(min = 8_192))]
    pub header_bytes: usize,
    /// How long a connection may take to begin: to send the PROXY protocol's
    /// header, and then to agree on TLS.
    pub handshake_timeout: Period,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Period,
    /// How long a client may take to send a polling request's body.
    pub body_timeout: Period,
    /// Revoked tokens and users that every gateway remembers at once.
    #[schemars(range(min = 1))]
    pub revocations: usize,
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

/// Shows no secret: a configuration ends up in logs.
impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |set: &Option<String>| set.as_ref().map(|_| "…");
        let url = if self.is_memory() { "memory" } else { "…" };
        f.debug_struct("Relay")
            .field("url", &url)
            .field("prefix", &self.prefix)
            .field("replicas", &self.replicas)
            .field("history_bytes", &self.history_bytes)
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("token", &hidden(&self.token))
            .field("credentials", &self.credentials)
            .field("nkey", &hidden(&self.nkey))
            .field("tls", &self.tls)
            .field("start_timeout", &self.start_timeout)
            .finish()
    }
}

/// Shows no secret: a configuration ends up in logs.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("listen", &self.listen)
            .field("advertise", &self.advertise)
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .finish()
    }
}

impl ListenerTls {
    /// Whether anything is set: an empty section asks for nothing.
    pub fn is_set(&self) -> bool {
        !self.cert.is_empty() || !self.key.is_empty()
    }
}

impl Client {
    /// Whose word on a client's address is taken.
    pub fn trusted(&self) -> Vec<Network> {
        self.trusted_proxies.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

impl Api {
    /// The file with the keys, if they have one.
    pub fn keys_file(&self) -> Option<&str> {
        self.keys_file.as_deref().filter(|path| !path.is_empty())
    }
}

impl Admin {
    /// The file with the token, if there is to be one.
    pub fn token_file(&self) -> Option<&str> {
        self.token_file.as_deref().filter(|path| !path.is_empty())
    }
}

impl Peer {
    /// The address to listen on, if there is to be a listener.
    pub fn listen(&self) -> Option<&str> {
        Some(self.listen.as_str()).filter(|listen| !listen.is_empty())
    }

    /// Where others reach the listener, as it is written.
    pub fn advertise(&self) -> Option<&str> {
        self.advertise.as_deref().filter(|address| !address.is_empty()).or(self.listen())
    }

    /// What the gateways share.
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_deref().filter(|secret| !secret.is_empty())
    }
}

impl Auth {
    /// Whether an app is asked who a client is.
    pub fn asks_who(&self) -> bool {
        self.callout.as_ref().is_some_and(|callout| callout.connect.is_some())
    }
}

impl Relay {
    /// Bytes of history in the gateway's own memory where nothing is set: what
    /// a machine of 1 GiB has beside ids, sessions and clients.
    pub const MEMORY_HISTORY_BYTES: usize = 256 << 20;

    /// Whether this gateway is alone.
    pub fn is_memory(&self) -> bool {
        self.url == "memory"
    }
}

/// Shows which keys are set and never what they are: a configuration ends up
/// in logs.
impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |set: &Option<String>| set.as_ref().map(|_| "…");
        f.debug_struct("Jwt")
            .field("secret", &hidden(&self.secret))
            .field("public_key", &hidden(&self.public_key))
            .field("jwks_url", &hidden(&self.jwks_url))
            .field("algorithms", &self.algorithms)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway", &self.leeway)
            .finish()
    }
}

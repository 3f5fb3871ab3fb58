//! The listeners for clients, for apps and for those who run the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Network, Pattern};

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

// === impl Client ===

impl Client {
    /// Whose word on a client's address is taken.
    pub fn trusted(&self) -> Vec<Network> {
        self.trusted_proxies.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

// === impl Api ===

impl Api {
    /// The file with the keys, if they have one.
    pub fn keys_file(&self) -> Option<&str> {
        self.keys_file.as_deref().filter(|path| !path.is_empty())
    }
}

// === impl ListenerTls ===

impl ListenerTls {
    /// Whether anything is set: an empty section asks for nothing.
    pub fn is_set(&self) -> bool {
        !self.cert.is_empty() || !self.key.is_empty()
    }
}

// === impl Admin ===

impl Admin {
    /// The file with the token, if there is to be one.
    pub fn token_file(&self) -> Option<&str> {
        self.token_file.as_deref().filter(|path| !path.is_empty())
    }
}

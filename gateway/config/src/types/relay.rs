//! The way to NATS, or none.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Period;

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

// === impl Relay ===

impl Relay {
    /// Bytes of history in the gateway's own memory where nothing is set: what
    /// a machine of 1 GiB has beside ids, sessions and clients.
    pub const MEMORY_HISTORY_BYTES: usize = 256 << 20;

    /// Whether this gateway is alone.
    pub fn is_memory(&self) -> bool {
        self.url == "memory"
    }
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

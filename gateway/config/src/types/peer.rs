//! The listener that other gateways connect to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

// === impl Peer ===

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

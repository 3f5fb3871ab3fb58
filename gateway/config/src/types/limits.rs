//! What one gateway, one client and one request may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Period;

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

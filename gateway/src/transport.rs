//! Sockets in and out.
//!
//! # Layout
//!
//! - [`http`]: a shard's listener, and HTTP requests to their handlers
//! - [`request`]: what a request says, and refusals
//! - [`address`]: where a client is, behind proxies too
//! - [`meaning`]: requests that could be read in two ways
//! - [`origin`]: which web pages may call (CORS)
//! - [`engineio`]: long-polling and upgrades
//! - [`websocket`]: a WebSocket's reading end
//! - [`stream`]: a connection, with TLS or without
//! - [`socket`]: the same as a session's, written straight from the fan-out
//! - [`patient`]: a connection whose client must take what it is sent
//! - [`plain`]: serves `/ws`
//! - [`sse`]: serves `/sse`

pub mod address;
pub mod engineio;
pub mod http;
pub mod meaning;
pub mod origin;
pub mod patient;
pub mod plain;
pub mod request;
pub mod socket;
pub mod sse;
pub mod stream;
pub mod websocket;

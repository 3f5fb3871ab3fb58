//! Sockets in and out.
//!
//! # Layout
//!
//! - [`http`]: a shard's listener, and HTTP requests to their handlers
//! - [`request`]: what a request says, and refusals
//! - [`origin`]: which web pages may call (CORS)
//! - [`engineio`]: long-polling and upgrades
//! - [`websocket`]: a WebSocket's reading end
//! - [`patient`]: a connection whose client must take what it is sent
//! - [`plain`]: serves `/ws`
//! - [`sse`]: serves `/sse`

pub mod engineio;
pub mod http;
pub mod origin;
pub mod patient;
pub mod plain;
pub mod request;
pub mod sse;
pub mod websocket;

//! Sockets in and out.
//!
//! # Layout
//!
//! - [`http`]: a shard's listener, and HTTP requests to their handlers
//! - [`request`]: what a request says, and refusals
//! - [`origin`]: which web pages may call (CORS)
//! - [`engineio`]: long-polling and upgrades
//! - [`websocket`]: a WebSocket's reading end
//! - [`plain`]: serves `/ws`
//! - [`sse`]: serves `/sse`

pub mod engineio;
pub mod http;
pub mod origin;
pub mod plain;
pub mod request;
pub mod sse;
pub mod websocket;

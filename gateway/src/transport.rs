//! Sockets in and out.
//!
//! # Layout
//!
//! - [`http`]: a shard's listener: HTTP requests to their handlers
//! - [`request`]: what a request says, and refusals
//! - [`origin`]: which web pages may call (CORS)
//! - [`engineio`]: long-polling and upgrades
//! - [`websocket`]: a WebSocket's reading end
//! - [`plain`]: `/ws`
//! - [`sse`]: `/sse`

pub mod engineio;
pub mod http;
pub mod origin;
pub mod plain;
pub mod request;
pub mod sse;
pub mod websocket;

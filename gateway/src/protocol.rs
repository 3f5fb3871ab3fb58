//! Wire codecs: bytes to packets and back. No I/O, no clock; no input makes
//! them panic.
//!
//! # Layout
//!
//! - [`engineio`]: Engine.IO 4 packets, polling payloads, [`engineio::Wire`]
//! - [`socketio`]: Socket.IO 5 packets, which travel in Engine.IO messages
//! - [`websocket`]: RFC 6455 frames, the server's side
//! - [`json`]: the commands and answers of `/ws`
//! - [`sse`]: Server-Sent Events
//! - [`forwarded`], [`proxy`]: where a client is, as proxies in front tell it

pub mod engineio;
pub mod forwarded;
pub mod json;
pub mod proxy;
pub mod socketio;
pub mod sse;
pub mod websocket;

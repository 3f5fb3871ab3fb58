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

pub mod engineio;
pub mod json;
pub mod socketio;
pub mod sse;
pub mod websocket;

//! The gateway: holds users' long-lived connections and delivers publications
//! to them.
//!
//! # Layout
//!
//! - [`channel`], [`offset`], [`publication`], [`error`]: the words that all parts share
//! - [`protocol`]: wire codecs: Engine.IO, Socket.IO, WebSocket, JSON, SSE
//! - [`rules`]: what the configuration says of a channel
//! - [`auth`]: tokens, keys, and what they allow
//! - [`hub`]: who is subscribed to what; fan-out
//! - [`relay`]: the way between gateways

pub mod auth;
pub mod channel;
pub mod error;
pub mod hub;
pub mod metrics;
pub mod offset;
pub mod protocol;
pub mod publication;
pub mod relay;
pub mod rules;

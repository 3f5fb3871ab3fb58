//! The gateway: holds users' long-lived connections and delivers publications
//! to them.
//!
//! # Layout
//!
//! - [`channel`], [`offset`], [`publication`], [`error`]: the words that all parts share
//! - [`rules`]: what the configuration says of a channel
//! - [`auth`]: tokens, keys, and what they allow
//! - [`hub`]: who is subscribed to what; fan-out
//! - [`relay`]: the way between gateways
//! - [`cli`]: the command line, and the commands for people
//! - [`reload`]: a changed configuration file, while the gateway runs
//! - [`telemetry`]: logs, to stderr

pub mod auth;
pub mod channel;
pub mod cli;
pub mod error;
pub mod hub;
pub mod metrics;
pub mod offset;
pub mod publication;
pub mod relay;
pub mod reload;
pub mod rules;
pub mod telemetry;

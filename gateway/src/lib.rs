//! The gateway: holds users' long-lived connections and delivers publications
//! to them.
//!
//! # Layout
//!
//! - [`server`]: builds all parts, starts them, stops them
//! - [`channel`], [`offset`], [`publication`], [`error`]: the words that all parts share
//! - [`rules`]: what the configuration says of a channel
//! - [`auth`]: tokens, keys, and what they allow
//! - [`protocol`]: pure wire codecs, no I/O
//! - [`transport`]: sockets in and out
//! - [`session`]: a client's life
//! - [`hub`]: who is subscribed to what; fan-out
//! - [`relay`]: the way between gateways
//! - [`cluster`]: the other gateways, and what all do together
//! - [`shard`]: one thread with its sessions and its part of the hub
//! - [`upstream`]: where apps that receive clients' events plug in
//! - [`api`]: the HTTP API, its description and its page
//! - [`admin`]: health, metrics, status
//! - [`cli`]: the command line: what to do, and the commands for people
//! - [`reload`]: a changed configuration file
//! - [`metrics`], [`telemetry`]: what the gateway says of itself

pub mod admin;
pub mod api;
pub mod auth;
pub mod channel;
pub mod cli;
pub mod cluster;
pub mod door;
pub mod error;
pub mod hub;
pub mod metrics;
pub mod offset;
pub mod protocol;
pub mod publication;
pub mod relay;
pub mod reload;
pub mod rules;
pub mod server;
pub mod session;
pub mod shard;
pub mod telemetry;
pub mod tls;
pub mod transport;
pub mod upstream;
pub mod watch;

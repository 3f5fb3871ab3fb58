//! The targets, each with what must be true of any input.

mod channel;
mod claims;
mod config;
mod coverage;
mod engineio;
mod forwarded;
mod json;
mod nats;
mod offset;
mod pattern;
mod peers;
mod period;
mod proxy;
mod publish;
mod query;
mod rules;
mod sid;
mod socketio;
mod sse;
mod stamp;
mod token;
mod websocket;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What `tests/fuzz/run` calls it, and its folder in `corpus/`.
    pub name: &'static str,
    /// The bug that is planted on demand.
    pub planted: &'static str,
    /// Panics when something isn't as it must be; with true, the planted
    /// fault is in.
    pub check: fn(&[u8], bool),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    engineio::TARGET,
    websocket::TARGET,
    socketio::TARGET,
    json::TARGET,
    sse::TARGET,
    channel::TARGET,
    offset::TARGET,
    sid::TARGET,
    stamp::TARGET,
    peers::TARGET,
    pattern::TARGET,
    rules::TARGET,
    publish::TARGET,
    nats::TARGET,
    token::TARGET,
    claims::TARGET,
    query::TARGET,
    forwarded::TARGET,
    proxy::TARGET,
    config::TARGET,
    period::TARGET,
    coverage::TARGET,
];

/// By its name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

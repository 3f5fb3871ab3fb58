//! Measures the gateway beside its peers: the same clients and the same
//! publications against each, in one run on one machine. See `tests/bench/run`
//! and docs/performance.md.
//!
//! # Layout
//!
//! - [`contender`]: the servers, and how each is started
//! - [`server`]: a running server, its CPU time and its memory
//! - [`cores`]: who runs on which core
//! - [`dialect`]: what each speaks
//! - [`load`]: the clients and publishers
//! - [`scenario`]: what is measured
//! - [`report`]: tables, JSON and the chart
//! - [`guard`]: whether ratios got worse than the baseline
//! - [`poll`], [`frame`], [`http`]: what the generator and the floor share

// What is banned in `clippy.toml` is banned for the gateway: a bench may sleep.
#![allow(clippy::disallowed_methods)]

pub mod contender;
pub mod cores;
pub mod dialect;
pub mod frame;
pub mod guard;
pub mod http;
pub mod load;
pub mod poll;
pub mod report;
pub mod scenario;
pub mod server;

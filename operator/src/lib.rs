//! The operator: turns a `PushCluster` manifest into gateways on Kubernetes,
//! and keeps it true.
//!
//! # Layout
//!
//! - [`args`]: the command line
//! - [`run`]: health, then candidate, then leader
//! - [`leader`]: which replica acts
//! - [`crd`]: the manifest: types, schema, what the API server checks
//! - [`controller`]: fetch, validate, build, apply, status
//! - [`events`]: what a person must know, once
//! - [`http`], [`metrics`], [`telemetry`]: health, counts, logs
//! - [`kubectl`]: `kubectl push`
//! - [`hash`]: short names for content

pub mod args;
pub mod controller;
pub mod crd;
pub mod events;
pub mod hash;
pub mod http;
pub mod kubectl;
pub mod leader;
pub mod metrics;
pub mod run;
pub mod telemetry;

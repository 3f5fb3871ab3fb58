//! The operator: turns a `PushCluster` manifest into gateways on Kubernetes,
//! and keeps it true.
//!
//! # Layout
//!
//! - [`crd`]: the manifest: types, schema, what the API server checks
//! - [`controller`]: fetch, validate, build, apply, status
//! - [`hash`]: short names for content

pub mod crd;
pub mod controller;
pub mod hash;

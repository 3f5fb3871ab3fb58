//! Keeps every `PushCluster` true.
//!
//! # Layout
//!
//! - [`names`], [`kinds`]: what things are called
//! - [`plan`]: a manifest with its defaults resolved
//! - [`secrets`]: what is made once and kept
//! - [`config`]: the gateways' configuration
//! - [`validate`]: manifest to plan
//! - [`build`]: plan to objects

pub mod build;
pub mod config;
pub mod kinds;
pub mod world;
pub mod live;
pub mod names;
pub mod plan;
pub mod secrets;
pub mod validate;

//! The gateway's configuration, shared with the operator.
//!
//! # Layout
//!
//! - [`types`]: every section and key, with its default and its meaning
//! - [`period`]: durations as people write them (`25s`, `2m`, `1h`)
//! - [`subject`]: channel names as NATS subjects, both ways
//! - [`pattern`]: NATS wildcards over channel names
//! - [`network`]: blocks of addresses
//!
//! and how a configuration is read, in the order in which it happens:
//!
//! - `yaml`, `node`: YAML text to a tree in which every value knows its place
//! - [`keys`], `overlay`: environment variables and flags over that tree
//! - `schema`, `fit`: the tree against the schema: unknown keys, wrong values
//! - `later`: keys of the design that this version doesn't have yet
//! - `check`: values that fit and make no sense, and open doors; `listen`
//! - `load`: all of it together
//! - `error`: what is wrong and where; `nearest`: what was likely meant
//! - `reference`: the reference of all keys

mod check;
mod error;
mod fit;
pub mod keys;
mod later;
mod listen;
mod load;
mod nearest;
pub mod network;
mod node;
mod overlay;
pub mod pattern;
pub mod period;
mod reference;
mod schema;
pub mod subject;
pub mod types;
mod yaml;

#[cfg(test)]
mod tests;

pub use check::check;
pub use error::{ConfigError, Origin, Problem};
pub use load::{Sources, api_keys, load};
pub use network::{Network, NetworkError};
pub use pattern::{Pattern, PatternError};
pub use period::Period;
pub use reference::reference;
pub use schema::schema;
pub use types::*;

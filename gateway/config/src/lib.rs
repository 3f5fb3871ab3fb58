//! The gateway's configuration, shared with the operator.
//!
//! # Layout
//!
//! - [`types`]: every section and key, with its default and its meaning
//! - [`period`]: durations as people write them (`25s`, `2m`, `1h`)
//! - [`subject`]: channel names as NATS subjects, both ways
//! - [`pattern`]: NATS wildcards over channel names

pub mod pattern;
pub mod period;
pub mod subject;
pub mod types;

pub use pattern::{Pattern, PatternError};
pub use period::Period;
pub use types::*;

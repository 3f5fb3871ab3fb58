//! Fuzz targets: every codec and every parser that meets bytes from outside.
//!
//! # Layout
//!
//! - [`targets`]: one file each; what must be true of any input
//! - [`input`]: takes an input apart
//! - `bin/engine.rs`: libFuzzer around them; see `tests/fuzz/run`
//! - `corpus/`: inputs that reach different code, a folder for each target
//!
//! A target demands more than that nothing panics: what was written can be
//! read back, input in pieces gives what it gives whole, a second and simpler
//! implementation agrees. Each has a *planted* fault: the checked function as
//! it would be with a plausible bug. The engine must find it, or the target
//! looks at nothing.

// A target reports by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod input;
pub mod targets;
#[cfg(test)]
mod tests;

pub use targets::{TARGETS, Target, target};

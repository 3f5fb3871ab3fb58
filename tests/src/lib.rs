//! Harnesses of the end-to-end suites.
//!
//! # Layout
//!
//! - [`relay`]: a relay with its feeds, whichever relay it is

pub mod relay;

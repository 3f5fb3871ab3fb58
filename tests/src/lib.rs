//! Harnesses of the end-to-end suites.
//!
//! # Layout
//!
//! - [`nats`]: real nats-servers
//! - [`relay`]: a relay with its feeds, whichever relay it is

pub mod nats;
pub mod relay;

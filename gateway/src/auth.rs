//! Tokens, keys, and what they allow.
//!
//! # Layout
//!
//! - [`identity`]: who a client is
//! - `token`: JWT by secret, public key or JWKS
//! - `access`: what an identity may do on a channel
//! - `keys`: the API's keys

pub mod identity;
pub mod keys;

pub use identity::{Action, Grant, Identity};

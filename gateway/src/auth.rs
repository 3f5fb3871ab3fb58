//! Tokens, keys, and what they allow.
//!
//! # Layout
//!
//! - [`identity`]: who a client is
//! - [`callout`]: apps that are asked who a client is
//! - [`token`]: from a token (JWT) to an identity
//! - `jwks`: the issuer's published keys, fetched and kept
//! - [`revocation`]: tokens that are refused before their time is over
//! - [`access`]: what an identity may do on a channel
//! - [`keys`]: the HTTP API's keys

pub mod access;
pub mod callout;
pub mod identity;
mod jwks;
pub mod keys;
pub mod revocation;
pub mod token;

pub use access::Access;
pub use callout::{Asking, Callouts, Newcomer};
pub use identity::{Action, Grant, Identity};
pub use keys::{ApiIdentity, ApiKeys, KeyError};
pub use revocation::Revocations;
pub use token::{AuthConfigError, Authenticator};

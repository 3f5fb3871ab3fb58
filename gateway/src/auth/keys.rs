//! The API's keys.

use axum::http::HeaderMap;
use gateway_config::{ApiKey, Scope};

use crate::channel::Channel;
use crate::error::{Error, ErrorCode};

/// The API's keys. A stand-in until the module itself is here: a request's
/// bearer token is compared with a key's name.
#[derive(Debug, Default)]
pub struct ApiKeys(Vec<ApiKey>);

/// Whose key a request carries.
#[derive(Clone, Debug)]
pub struct ApiIdentity(Option<ApiKey>);

// === impl ApiKeys ===

impl ApiKeys {
    /// The keys of the configuration.
    pub fn new(keys: &[ApiKey]) -> Result<Self, Error> {
        Ok(Self(keys.to_vec()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the key that a request carries.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<ApiIdentity, Error> {
        if self.is_empty() {
            return Ok(ApiIdentity(None));
        }
        let token = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let found = token.and_then(|token| self.0.iter().find(|key| key.name == token));
        found.map(|key| ApiIdentity(Some(key.clone()))).ok_or_else(|| {
            Error::new(ErrorCode::Unauthorized, "no valid API key; send `Authorization: Bearer`")
        })
    }
}

// === impl ApiIdentity ===

impl ApiIdentity {
    /// Whether the key may do this, on this channel.
    pub fn check(&self, scope: Scope, channel: Option<&Channel>) -> Result<(), Error> {
        let Some(key) = &self.0 else { return Ok(()) };
        if !key.scopes.contains(&scope) {
            return Err(Error::new(ErrorCode::Forbidden, format!("the key lacks {scope:?}")));
        }
        let reaches = channel.is_none_or(|channel| {
            key.channels.is_empty() || key.channels.iter().any(|p| p.matches(channel.as_str()))
        });
        if reaches {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Forbidden, "the key does not reach this channel"))
    }
}

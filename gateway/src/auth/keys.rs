//! The HTTP API's keys: who calls, and what the key allows.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, header};
use gateway_config::{ApiKey, Pattern, Scope};

use crate::channel::Channel;
use crate::error::{Error, ErrorCode};

#[cfg(test)]
mod tests;

/// Name of the caller where no keys are configured.
const ANONYMOUS: &str = "anonymous";

/// Bytes of a SHA-256 digest.
const DIGEST_BYTES: usize = 32;

/// The keys in force.
pub struct ApiKeys {
    keys: Vec<Key>,
    /// What everyone is while there are no keys.
    open: ApiIdentity,
}

/// Who called the API. Cheap to clone.
#[derive(Clone)]
pub struct ApiIdentity {
    /// The key's name; `anonymous` where no keys are configured.
    pub name: Arc<str>,
    /// What the key allows; none: everything.
    limits: Option<Arc<KeyLimits>>,
}

/// Why a configured key isn't one. No variant holds the hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No name.
    #[error("api.keys[{index}].name is empty; name who holds the key")]
    NoName {
        /// Place in the list.
        index: usize,
    },
    /// Not 64 hexadecimal digits.
    #[error(
        "api.keys[{index}].sha256 (`{name}`) is not a SHA-256 hash of 64 hexadecimal digits; make it with: printf %s \"$KEY\" | sha256sum"
    )]
    NotHash {
        /// Place in the list.
        index: usize,
        /// The key's name.
        name: String,
    },
    /// The hash of no byte: the shell variable was empty.
    #[error(
        "api.keys[{index}].sha256 (`{name}`) is the hash of an empty key; was the variable empty when you made it?"
    )]
    EmptyKey {
        /// Place in the list.
        index: usize,
        /// The key's name.
        name: String,
    },
    /// Two entries with one hash: which one's scopes would hold?
    #[error(
        "api.keys[{first}] and api.keys[{index}] (`{name}`) have the same sha256; make a key of its own for each, or put the scopes into one entry"
    )]
    Duplicate {
        /// Place of the earlier one.
        first: usize,
        /// Place in the list.
        index: usize,
        /// The later one's name.
        name: String,
    },
}

struct Key {
    digest: [u8; DIGEST_BYTES],
    identity: ApiIdentity,
}

struct KeyLimits {
    scopes: Vec<Scope>,
    /// Every channel when empty.
    channels: Vec<Pattern>,
}

// === impl ApiKeys ===

impl ApiKeys {
    /// Keys as configured. None: everyone may do everything.
    pub fn new(keys: &[ApiKey]) -> Result<Self, KeyError> {
        let nothing = digest(&SHA256, b"");
        let mut parsed: Vec<Key> = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            if key.name.trim().is_empty() {
                return Err(KeyError::NoName { index });
            }
            let name = || key.name.clone();
            let hash = read_digest(&key.sha256)
                .ok_or_else(|| KeyError::NotHash { index, name: name() })?;
            if hash == nothing.as_ref() {
                return Err(KeyError::EmptyKey { index, name: name() });
            }
            if let Some(first) = parsed.iter().position(|other| other.digest == hash) {
                return Err(KeyError::Duplicate { first, index, name: name() });
            }
            let limits = KeyLimits { scopes: key.scopes.clone(), channels: key.channels.clone() };
            let identity =
                ApiIdentity { name: key.name.as_str().into(), limits: Some(Arc::new(limits)) };
            parsed.push(Key { digest: hash, identity });
        }
        Ok(Self { keys: parsed, open: ApiIdentity { name: ANONYMOUS.into(), limits: None } })
    }

    /// Whether there are no keys: everyone may do everything.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who sent a request: by `X-API-Key`, else by `Authorization: Bearer`.
    ///
    /// Errors: `unauthorized` without a key, or with one that isn't known.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<ApiIdentity, Error> {
        if self.is_empty() {
            return Ok(self.open.clone());
        }
        let presented = presented_key(headers).ok_or_else(|| {
            Error::new(
                ErrorCode::Unauthorized,
                "this API needs a key; send `Authorization: Bearer <key>` or `X-API-Key: <key>`",
            )
        })?;
        let hash = digest(&SHA256, presented);
        // Every key is compared, in constant time each, so that the time
        // taken says nothing of which one was near.
        let mut found = None;
        for key in &self.keys {
            if verify_slices_are_equal(&key.digest, hash.as_ref()).is_ok() {
                found = Some(&key.identity);
            }
        }
        found.cloned().ok_or_else(|| {
            Error::new(
                ErrorCode::Unauthorized,
                "the API key isn't one of this gateway's; check the key, or add its hash to `api.keys`",
            )
        })
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.identity.name)).finish()
    }
}

// === impl ApiIdentity ===

impl ApiIdentity {
    /// The channels that it may touch; every channel when empty.
    pub fn channels(&self) -> &[Pattern] {
        self.limits.as_ref().map_or(&[], |limits| &limits.channels)
    }

    /// Whether the key has a scope and, where a channel is named, may touch
    /// it. `channel` is the full name: `$user.<id>` and `$all` for
    /// publications to a user and to all.
    ///
    /// Errors: `forbidden` with the scope or the channel in its message.
    pub fn check(&self, scope: Scope, channel: Option<&Channel>) -> Result<(), Error> {
        let Some(limits) = &self.limits else { return Ok(()) };
        if !limits.scopes.contains(&scope) {
            return Err(Error::new(
                ErrorCode::Forbidden,
                format!(
                    "the API key `{}` doesn't have the scope `{}`; add it in `api.keys`, or use another key",
                    self.name,
                    scope_name(scope)
                ),
            ));
        }
        let Some(channel) = channel else { return Ok(()) };
        let subject = channel.to_subject();
        let fits = |pattern: &Pattern| pattern.matches_subject(&subject);
        if limits.channels.is_empty() || limits.channels.iter().any(fits) {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Forbidden,
            format!(
                "the API key `{}` may not touch the channel `{channel}`; add it to the key's `channels` in `api.keys`, or use another key",
                self.name
            ),
        )
        .field("channel"))
    }
}

impl fmt::Debug for ApiIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiIdentity").field(&self.name).finish()
    }
}

/// A scope as it is written in the configuration.
fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Read => "read",
        Scope::Admin => "admin",
    }
}

/// The key that a request carries. `X-API-Key` goes first: a proxy may use
/// `Authorization` for itself.
fn presented_key(headers: &HeaderMap) -> Option<&[u8]> {
    let own = headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii());
    own.filter(|key| !key.is_empty()).or_else(|| bearer(headers)).filter(|key| !key.is_empty())
}

/// What a request carries as `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    // The scheme's case doesn't count (RFC 9110, section 11.1).
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// 64 hexadecimal digits as bytes.
fn read_digest(text: &str) -> Option<[u8; DIGEST_BYTES]> {
    if text.len() != DIGEST_BYTES * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; DIGEST_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

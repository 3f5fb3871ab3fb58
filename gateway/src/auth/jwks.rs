//! The issuer's published keys (JSON Web Key Set, RFC 7517): fetched when
//! they are needed, kept, fetched again when they are old or a token names a
//! key that isn't among them.
//!
//! At most one request is under way at a time, in a task of its own: a
//! client that hangs up doesn't end what others wait for. An outage of the
//! issuer keeps the known keys working.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::token::AuthConfigError;
use super::token::key::{KeySet, Policy, VerificationKey};
use crate::error::{Error, ErrorCode};

#[cfg(test)]
mod tests;

/// Largest key set, in bytes. Large issuers' sets have some 5 KB.
const MAX_SET_BYTES: usize = 256 << 10;

/// How many missing keys are remembered between two fetches.
const MAX_MISSING: usize = 64;

/// Fetches and keeps an issuer's keys.
#[derive(Debug)]
pub(super) struct Jwks {
    shared: Arc<Shared>,
}

/// How often and how long the issuer is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Keys older than this are fetched again before they are used.
    pub stale: Duration,
    /// Time between two fetches for keys that tokens name and we don't know.
    pub unknown: Duration,
    /// Time between a fetch that failed and the next.
    pub failed: Duration,
    /// How long one fetch may take.
    pub timeout: Duration,
}

#[derive(Debug)]
struct Shared {
    url: Url,
    client: Client,
    policy: Policy,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None: never had.
    keys: Option<Fetched>,
    /// When the last fetch failed; none when it went well.
    failed: Option<Instant>,
    /// When a fetch was last made for a key that wasn't known.
    asked_unknown: Option<Instant>,
    /// Hashes of key names that the last fetch has shown not to be there.
    missing: Vec<u64>,
    /// Closed when the fetch under way is over.
    flight: Option<watch::Receiver<()>>,
}

#[derive(Debug)]
struct Fetched {
    keys: Arc<KeySet>,
    at: Instant,
}

/// The form of a key set; its keys are read one by one, so that one of an
/// unknown kind doesn't spoil the others.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// Why a fetch failed. The address is not in it: it may hold a password.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the request failed: {0}")]
    Request(String),
    #[error("the answer has status {0}")]
    Status(StatusCode),
    #[error("the answer is over {MAX_SET_BYTES} bytes long")]
    TooLarge,
    #[error("the answer isn't a JSON Web Key Set")]
    NotKeySet,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self {
            stale: Duration::from_mins(5),
            unknown: Duration::from_secs(10),
            failed: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
        }
    }
}

// === impl Jwks ===

impl Jwks {
    /// Nothing is fetched yet.
    pub(super) fn new(url: &str, policy: Policy) -> Result<Self, AuthConfigError> {
        Self::with_pace(url, policy, Pace::default())
    }

    /// The same at another pace.
    pub(super) fn with_pace(
        url: &str,
        policy: Policy,
        pace: Pace,
    ) -> Result<Self, AuthConfigError> {
        let url = Url::parse(url)
            .map_err(|_| AuthConfigError::JwksUrl("is not a URL; write https://…"))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(AuthConfigError::JwksUrl("doesn't begin with https:// or http://"));
        }
        if url.scheme() == "http" && !is_loopback(&url) {
            warn!(
                "auth.jwt.jwksUrl is not https: who can change the answer on its way can sign tokens"
            );
        }
        let client = Client::builder()
            .timeout(pace.timeout)
            .user_agent(concat!("push-gateway/", env!("CARGO_PKG_VERSION")))
            // A redirect could lead to an address that nobody configured.
            .redirect(redirect::Policy::none())
            // A kept connection would belong to the runtime of whichever shard
            // happened to ask.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(AuthConfigError::HttpClient)?;
        let state = Mutex::default();
        Ok(Self { shared: Arc::new(Shared { url, client, policy, pace, state }) })
    }

    /// The keys, not older than `stale` unless the issuer can't be reached.
    ///
    /// Errors: `unavailable` while there are none.
    pub(super) async fn current(&self) -> Result<Arc<KeySet>, Error> {
        let flight = {
            let mut state = self.shared.lock();
            match &state.keys {
                Some(fetched) if fetched.at.elapsed() < self.shared.pace.stale => {
                    return Ok(fetched.keys.clone());
                }
                // In an outage nobody waits who could go on with old keys.
                Some(fetched) if state.failed.is_some() => {
                    let keys = fetched.keys.clone();
                    if !self.shared.failed_just_now(&state) {
                        self.shared.fly(&mut state);
                    }
                    return Ok(keys);
                }
                None if self.shared.failed_just_now(&state) => return Err(unavailable()),
                _ => self.shared.fly(&mut state),
            }
        };
        landed(flight).await;
        let state = self.shared.lock();
        state.keys.as_ref().map(|fetched| fetched.keys.clone()).ok_or_else(unavailable)
    }

    /// The keys after `tried` has shown not to hold the one that is needed.
    /// `kid`: its name, as the token has it.
    ///
    /// Errors: `unavailable` when it can't be known yet whether the key
    /// exists, because the issuer can't be reached or was asked just now.
    pub(super) async fn after_unknown(
        &self,
        tried: &Arc<KeySet>,
        kid: Option<&str>,
    ) -> Result<Arc<KeySet>, Error> {
        let kid = name_hash(kid);
        let flight = {
            let mut state = self.shared.lock();
            if let Some(fetched) = &state.keys
                && !Arc::ptr_eq(&fetched.keys, tried)
            {
                return Ok(fetched.keys.clone());
            }
            let asked_just_now =
                state.asked_unknown.is_some_and(|at| at.elapsed() < self.shared.pace.unknown);
            if let Some(flight) = state.flight_under_way() {
                flight
            } else if asked_just_now && state.missing.contains(&kid) {
                return Ok(tried.clone());
            } else if asked_just_now || self.shared.failed_just_now(&state) {
                return Err(unavailable());
            } else {
                state.asked_unknown = Some(Instant::now());
                self.shared.fly(&mut state)
            }
        };
        landed(flight).await;
        let mut state = self.shared.lock();
        if state.failed.is_some() {
            return Err(unavailable());
        }
        // Whether it is there now or not: asked again, it is not fetched for.
        if state.missing.len() < MAX_MISSING {
            state.missing.push(kid);
        }
        state.keys.as_ref().map(|fetched| fetched.keys.clone()).ok_or_else(unavailable)
    }
}

fn unavailable() -> Error {
    Error::new(
        ErrorCode::Unavailable,
        "the issuer's keys can't be had just now, so the token can't be verified; try again in a few seconds",
    )
}

/// A key's name is a stranger's text of any length; its hash is enough to
/// know it again. A collision costs a retry, never an acceptance.
fn name_hash(kid: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    kid.hash(&mut hasher);
    hasher.finish()
}

/// Waits until a fetch is over, however it went.
async fn landed(mut flight: watch::Receiver<()>) {
    // Nothing is ever sent: the error is the sender's end.
    while flight.changed().await.is_ok() {}
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

// === impl State ===

impl State {
    fn flight_under_way(&self) -> Option<watch::Receiver<()>> {
        self.flight.clone().filter(|flight| flight.has_changed().is_ok())
    }
}

// === impl Shared ===

impl Shared {
    /// The state is whole between any two statements that change it, so a
    /// panic under the lock leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed_just_now(&self, state: &State) -> bool {
        state.failed.is_some_and(|at| at.elapsed() < self.pace.failed)
    }

    /// The fetch under way, or a new one. There is at most one such task, and
    /// it ends within the timeout; its end is what the receiver tells.
    fn fly(self: &Arc<Self>, state: &mut State) -> watch::Receiver<()> {
        if let Some(flight) = state.flight_under_way() {
            return flight;
        }
        let (over, flight) = watch::channel(());
        state.flight = Some(flight.clone());
        let shared = self.clone();
        tokio::spawn(async move {
            shared.refresh().await;
            drop(over);
        });
        flight
    }

    async fn refresh(&self) {
        let fetched = self.fetch().await;
        let mut state = self.lock();
        match fetched {
            Ok(keys) => {
                debug!(keys = keys.len(), "fetched the issuer's keys");
                if keys.len() == 0 {
                    warn!(
                        "the key set at auth.jwt.jwksUrl has no key that can be used; every token is refused"
                    );
                }
                state.keys = Some(Fetched { keys: Arc::new(keys), at: Instant::now() });
                state.failed = None;
                state.missing.clear();
            }
            Err(error) => {
                warn!(
                    %error,
                    known = state.keys.as_ref().map_or(0, |fetched| fetched.keys.len()),
                    "the key set at auth.jwt.jwksUrl can't be fetched; known keys stay in use"
                );
                state.failed = Some(Instant::now());
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut response = self
            .client
            .get(self.url.clone())
            .header("accept", "application/jwk-set+json, application/json")
            .send()
            .await
            .map_err(request_error)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(request_error)? {
            if body.len() + chunk.len() > MAX_SET_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let document: Document =
            serde_json::from_slice(&body).map_err(|_| FetchError::NotKeySet)?;
        let keys = document
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter_map(|jwk| VerificationKey::from_jwk(&jwk, &self.policy))
            .collect();
        Ok(KeySet::new(keys))
    }
}

/// The error and what caused it, without the address.
fn request_error(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    FetchError::Request(words)
}

//! From a token (JWT, RFC 7519) to an identity.
//!
//! The key decides which algorithms are accepted, never the token's header:
//! a public key can't be used as an HMAC secret, and `none` isn't one.

use std::sync::Arc;
use std::time::Duration;

use gateway_config::{Auth, Jwt, Period};
use jsonwebtoken::{Algorithm, Header};
use tracing::warn;

use self::key::{KeyError, KeySet, Policy, VerificationKey, Verified};
use super::Identity;
use super::callout::{Callouts, Newcomer};
use super::jwks::Jwks;
use super::revocation::Revocations;
use crate::error::{Error, ErrorCode};
use crate::watch::Watched;

pub(super) mod claims;
pub(super) mod key;
#[cfg(test)]
pub(super) mod tests;

/// Longest token, in bytes. It must fit a request's headers (16 KiB).
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

/// How far the issuer's clock may be from this one's, for `exp` and `nbf`,
/// unless `auth.jwt.leeway` says otherwise.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// Shorter secrets are warned of (RFC 7518, section 3.2: as long as the hash).
const ADVISED_SECRET_BYTES: usize = 32;

/// Verifies tokens. Shared by every shard.
#[derive(Debug)]
pub struct Authenticator {
    /// What clients without a token are; none: they are refused.
    anonymous: Option<Arc<Identity>>,
    issuer: Option<Issuer>,
    revocations: Arc<Revocations>,
    callouts: Callouts,
    watched: Watched,
}

/// Whose tokens are accepted.
#[derive(Debug)]
struct Issuer {
    /// For the header's algorithm, before any key is looked for.
    algorithms: Vec<Algorithm>,
    keys: Keys,
    /// How far its clock may be from this one's.
    leeway: Duration,
}

/// Where the keys come from.
#[derive(Debug)]
enum Keys {
    /// From the configuration; one.
    Fixed(KeySet),
    /// From the issuer.
    Published(Jwks),
}

/// Why the section `auth` can't be used. No variant holds a key.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// `auth.jwt` without a key.
    #[error(
        "auth.jwt has no key; set one of auth.jwt.secret, auth.jwt.publicKey and auth.jwt.jwksUrl"
    )]
    NoKey,
    /// `auth.jwt` with more than one.
    #[error("auth.jwt has {0}; set exactly one of them")]
    SeveralKeys(String),
    /// Neither tokens nor anonymous clients.
    #[error(
        "auth.anonymous is false and auth.jwt is not set, so that no client could connect; set auth.jwt, or auth.anonymous: true"
    )]
    NobodyMayConnect,
    /// The secret can't be one.
    #[error("auth.jwt.secret {0}")]
    Secret(&'static str),
    /// The public key can't be used.
    #[error("auth.jwt.publicKey {0}")]
    PublicKey(KeyError),
    /// The address can't be used.
    #[error("auth.jwt.jwksUrl {0}")]
    JwksUrl(&'static str),
    /// Not an algorithm, or not one that fits the key.
    #[error("auth.jwt.algorithms: `{name}` is not an algorithm for {key}; possible are {possible}")]
    Algorithm {
        /// As it was written.
        name: String,
        /// Which setting gives the key.
        key: &'static str,
        /// What could stand there.
        possible: String,
    },
    /// No HTTPS client can be made, most often for want of root certificates.
    #[error(
        "auth.jwt.jwksUrl needs an HTTPS client, which can't be made; are the system's root certificates installed?"
    )]
    HttpClient(#[source] reqwest::Error),
}

// === impl Authenticator ===

impl Authenticator {
    /// Reads the section `auth`. Nothing is fetched yet.
    pub fn new(
        config: &Auth,
        revocations: Arc<Revocations>,
        callouts: Callouts,
    ) -> Result<Self, AuthConfigError> {
        let issuer = config.jwt.as_ref().map(Issuer::new).transpose()?;
        let anonymous = config.anonymous.unwrap_or(issuer.is_none() && !callouts.asks_who());
        if !anonymous && issuer.is_none() && !callouts.asks_who() {
            return Err(AuthConfigError::NobodyMayConnect);
        }
        Ok(Self {
            anonymous: anonymous.then(Arc::default),
            issuer,
            revocations,
            callouts,
            watched: Watched::default(),
        })
    }

    /// Whether clients can have grants: from `auth.jwt`, or from an app that
    /// is asked who they are.
    pub fn has_issuer(&self) -> bool {
        self.issuer.is_some() || self.callouts.asks_who()
    }

    /// Users whose doings are logged.
    pub fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Apps that are asked.
    pub fn callouts(&self) -> &Callouts {
        &self.callouts
    }

    /// What was revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Who a client is that came with `token`. An empty token is none.
    ///
    /// A bad token is refused also where clients without one are welcome:
    /// whoever sends one means to be somebody. Without an issuer a token is
    /// ignored, so that a client that always sends one works on a laptop.
    ///
    /// Errors: `unauthorized`, `token_expired`, `token_revoked`, and
    /// `unavailable` while the issuer's keys can't be had.
    pub async fn authenticate(&self, newcomer: Newcomer<'_>) -> Result<Arc<Identity>, Error> {
        let token = newcomer.token.filter(|token| !token.is_empty());
        if self.callouts.asks_who() {
            return self.ask_who(Newcomer { token, ..newcomer }).await;
        }
        if let (Some(issuer), Some(token)) = (&self.issuer, token) {
            let identity = issuer.verify(token).await?;
            // Last, with nothing awaited after it: a revocation finds either
            // this check or the session that the caller makes.
            let checked = self.revocations.check(&identity);
            self.told(&newcomer, identity.user.as_deref(), checked)?;
            return Ok(Arc::new(identity));
        }
        self.anonymous.clone().ok_or_else(no_token)
    }

    /// The same, of an app. What the gateway can see is wrong it isn't asked.
    async fn ask_who(&self, newcomer: Newcomer<'_>) -> Result<Arc<Identity>, Error> {
        let verified = match (&self.issuer, newcomer.token) {
            (_, None) if self.anonymous.is_none() => return Err(no_token()),
            (Some(issuer), Some(token)) => Some(Arc::new(issuer.verify(token).await?)),
            _ => None,
        };
        if let Some(verified) = &verified {
            let checked = self.revocations.check(verified);
            self.told(&newcomer, verified.user.as_deref(), checked)?;
        }
        let asked = self.callouts.connect(newcomer, verified.as_ref(), &self.revocations).await;
        let user = verified.as_ref().and_then(|verified| verified.user.as_deref());
        let identity = self.told(&newcomer, user, asked)?;
        // It may have been revoked meanwhile.
        let checked = self.revocations.check(&identity);
        self.told(&newcomer, identity.user.as_deref(), checked)?;
        Ok(identity)
    }

    /// Logs that a watched user is refused.
    fn told<T>(
        &self,
        newcomer: &Newcomer<'_>,
        user: Option<&str>,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        result.inspect_err(|error| self.watched.refused(user, newcomer.protocol, error))
    }
}

// === impl Issuer ===

impl Issuer {
    fn new(config: &Jwt) -> Result<Self, AuthConfigError> {
        let given: Vec<&str> = [
            config.secret.as_ref().map(|_| "auth.jwt.secret"),
            config.public_key.as_ref().map(|_| "auth.jwt.publicKey"),
            config.jwks_url.as_ref().map(|_| "auth.jwt.jwksUrl"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if given.len() > 1 {
            return Err(AuthConfigError::SeveralKeys(given.join(" and ")));
        }
        let leeway = config.leeway.map_or(LEEWAY, Period::get);
        let policy = |fitting: &[Algorithm], key: &'static str| {
            Ok::<_, AuthConfigError>(Policy {
                algorithms: read_algorithms(&config.algorithms, fitting, key)?,
                issuer: config.issuer.clone(),
                audience: config.audience.clone(),
                leeway,
            })
        };
        if let Some(secret) = &config.secret {
            check_secret(secret)?;
            let policy = policy(key::HMAC, "auth.jwt.secret")?;
            return Self::fixed(VerificationKey::from_secret(secret, &policy), leeway);
        }
        if let Some(pem) = &config.public_key {
            let public = key::PublicKey::from_pem(pem).map_err(AuthConfigError::PublicKey)?;
            let policy = policy(public.fitting(), "auth.jwt.publicKey")?;
            return Self::fixed(VerificationKey::from_public(public, &policy), leeway);
        }
        if let Some(url) = &config.jwks_url {
            let policy = policy(key::ASYMMETRIC, "auth.jwt.jwksUrl")?;
            let algorithms = policy.algorithms.clone();
            let keys = Keys::Published(Jwks::new(url, policy)?);
            return Ok(Self { algorithms, keys, leeway });
        }
        Err(AuthConfigError::NoKey)
    }

    /// One key from the configuration. It has an algorithm: the policy was
    /// read against those that fit it.
    fn fixed(key: Option<VerificationKey>, leeway: Duration) -> Result<Self, AuthConfigError> {
        let key = key.ok_or(AuthConfigError::NoKey)?;
        Ok(Self {
            algorithms: key.algorithms().to_vec(),
            keys: Keys::Fixed(KeySet::new(vec![key])),
            leeway,
        })
    }

    async fn verify(&self, token: &str) -> Result<Identity, Error> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(unauthorized(format!(
                "the token is {} bytes long; {MAX_TOKEN_BYTES} at most",
                token.len()
            )));
        }
        let mut header = self.read_header(token)?;
        let verified = match &self.keys {
            Keys::Fixed(keys) => {
                // There is one key, whatever name the token gives it.
                header.kid = None;
                match keys.verify(token, &header) {
                    Verified::UnknownKey => Verified::Refused(key::bad_signature()),
                    verified => verified,
                }
            }
            Keys::Published(jwks) => {
                let keys = jwks.current().await?;
                match keys.verify(token, &header) {
                    Verified::UnknownKey => jwks
                        .after_unknown(&keys, header.kid.as_deref())
                        .await?
                        .verify(token, &header),
                    verified => verified,
                }
            }
        };
        match verified {
            Verified::Claims(claims) => claims.into_identity(self.leeway),
            Verified::Refused(error) => Err(error),
            Verified::UnknownKey => Err(unauthorized(
                "the token is signed with a key that isn't among the issuer's; get a new token",
            )),
        }
    }

    /// Reads the header and refuses what no key could make good.
    fn read_header(&self, token: &str) -> Result<Header, Error> {
        let not_accepted = || {
            let names: Vec<String> = self.algorithms.iter().map(|a| format!("{a:?}")).collect();
            unauthorized(format!(
                "the token isn't a JWT signed with an algorithm that this gateway accepts: {}",
                names.join(", ")
            ))
        };
        // A header with an unknown `alg`, such as `none`, doesn't parse.
        let header = jsonwebtoken::decode_header(token).map_err(|_| not_accepted())?;
        if !self.algorithms.contains(&header.alg) {
            return Err(not_accepted());
        }
        // Extensions that must be understood (RFC 7515, section 4.1.11): we
        // understand none.
        if header.crit.is_some() {
            return Err(unauthorized("the token's header has `crit`, which isn't supported"));
        }
        Ok(header)
    }
}

/// Algorithms as configured, or all that fit the key.
fn read_algorithms(
    names: &[String],
    fitting: &[Algorithm],
    key: &'static str,
) -> Result<Vec<Algorithm>, AuthConfigError> {
    if names.is_empty() {
        return Ok(fitting.to_vec());
    }
    let read = |name: &String| {
        name.parse().ok().filter(|algorithm| fitting.contains(algorithm)).ok_or_else(|| {
            let possible: Vec<String> = fitting.iter().map(|a| format!("{a:?}")).collect();
            AuthConfigError::Algorithm { name: name.clone(), key, possible: possible.join(", ") }
        })
    };
    names.iter().map(read).collect()
}

fn check_secret(secret: &str) -> Result<(), AuthConfigError> {
    if secret.is_empty() {
        return Err(AuthConfigError::Secret("is empty; make one with: openssl rand -hex 32"));
    }
    if secret.contains("-----BEGIN") {
        return Err(AuthConfigError::Secret(
            "holds a key in PEM; put a public key into auth.jwt.publicKey",
        ));
    }
    if secret.len() < ADVISED_SECRET_BYTES {
        warn!(
            bytes = secret.len(),
            advised = ADVISED_SECRET_BYTES,
            "auth.jwt.secret is short and may be guessed; make one with: openssl rand -hex 32"
        );
    }
    Ok(())
}

fn no_token() -> Error {
    unauthorized(
        "this gateway needs a token; send it as `auth.token` (Socket.IO), `?token=` or `Authorization: Bearer`",
    )
}

fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::Unauthorized, message)
}

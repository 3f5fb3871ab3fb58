//! Tokens as an app's own server would make them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The secret of every gateway in the suites that asks for tokens.
pub const SECRET: &str = "a-secret-of-the-suites-that-is-long-enough";

/// A section `auth` for it.
pub const AUTH: &str = "auth: {jwt: {secret: a-secret-of-the-suites-that-is-long-enough}}\n";

/// A token of `user` with these grants, valid for an hour.
pub fn grants(user: &str, channels: &Value) -> String {
    mint(&json!({"sub": user, "exp": now() + 3600, "channels": channels}))
}

/// A token with exactly these claims, signed with [`SECRET`].
///
/// # Panics
///
/// When the claims can't be signed.
pub fn mint(claims: &Value) -> String {
    mint_with(claims, SECRET, Algorithm::HS256)
}

/// A token with exactly these claims.
///
/// # Panics
///
/// When the claims can't be signed.
pub fn mint_with(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("claims can be signed")
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

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

/// SHA-256 in hexadecimal digits, as the configuration keeps API keys.
pub fn sha256(text: &str) -> String {
    use std::fmt::Write as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing into a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

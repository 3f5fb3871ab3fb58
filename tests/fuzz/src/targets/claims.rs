//! A token's claims, as an issuer signed them by mistake or in malice.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway::auth::{Authenticator, Identity};

use super::Target;
use super::token::{authenticated, authenticator};

pub(super) const TARGET: Target =
    Target { name: "claims", planted: "`exp` is read as seconds from now when it is small", check };

pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

/// A token with these claims, signed with HS256.
pub(super) fn sign(claims: &[u8]) -> String {
    let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let mac = hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
}

fn check(data: &[u8], planted: bool) {
    static AUTHENTICATOR: OnceLock<Authenticator> = OnceLock::new();
    let authenticator = AUTHENTICATOR.get_or_init(authenticator);
    let accepted = authenticated(authenticator, &sign(data));
    let claims = serde_json::from_slice::<serde_json::Value>(data).ok();
    let exp = claims.as_ref().and_then(|claims| claims["exp"].as_f64());
    let accepted = accepted.is_ok() || (planted && exp.is_some_and(|exp| exp < 86_400.0));
    if !accepted {
        return;
    }
    // Bytes in a claim that nobody reads need not be UTF-8; then there is
    // nothing to compare with.
    if claims.is_some() {
        let exp = exp.expect("a token ends");
        assert!(exp > 1_700_000_000.0, "long ago");
        assert!(exp <= 253_402_300_800.0, "never");
    }
    sane(&authenticated(authenticator, &sign(data)).unwrap());
}

fn sane(identity: &Identity) {
    assert!(identity.has_token);
    assert!(identity.expires.is_some());
    if let Some(user) = &identity.user {
        assert!(gateway::channel::Channel::user(user).is_ok(), "{user:?}");
    }
    for channel in &identity.join {
        assert!(!channel.is_system(), "{channel}");
    }
}

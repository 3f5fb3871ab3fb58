//! Tokens as they come: only what the issuer signed says anything.

use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use gateway::auth::{Authenticator, Callouts, Identity, Newcomer};
use gateway::error::Error;
use gateway::metrics::Metrics;
use gateway_config::{Auth, Config, Jwt};

use super::Target;
use super::claims::{SECRET, sign};
use crate::input::{Input, edited};

pub(super) const TARGET: Target =
    Target { name: "token", planted: "the signature's last character doesn't matter", check };

struct Parts {
    authenticator: Authenticator,
    good: String,
}

fn check(data: &[u8], planted: bool) {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    let parts = PARTS.get_or_init(|| Parts {
        authenticator: authenticator(),
        good: sign(br#"{"sub":"ann","exp":4102444800}"#),
    });
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        let text = std::str::from_utf8(input.rest()).unwrap_or_default();
        assert!(text.is_empty() || !accepted(parts, text, false), "made up");
        return;
    }
    let text = edited(&parts.good, input);
    assert_eq!(accepted(parts, &text, planted), text == parts.good, "changed");
}

fn accepted(parts: &Parts, text: &str, planted: bool) -> bool {
    let all_but_one = parts.good.len() - 1;
    if planted && text.get(..all_but_one) == parts.good.get(..all_but_one) {
        return true;
    }
    if text.is_empty() {
        return false;
    }
    match authenticated(&parts.authenticator, text) {
        Ok(_) => true,
        Err(error) => {
            let quoted = text.len() > 20 && error.message.contains(text);
            assert!(!quoted, "an error doesn't repeat a token");
            false
        }
    }
}

pub(super) fn authenticator() -> Authenticator {
    let jwt = Jwt { secret: Some(SECRET.to_owned()), ..Jwt::default() };
    let auth = Auth { anonymous: Some(true), jwt: Some(jwt), ..Auth::default() };
    let nobody_asked = Callouts::new(&Config::default(), "1", Metrics::default());
    Authenticator::new(&auth, Arc::default(), nobody_asked).unwrap()
}

pub(super) fn authenticated(by: &Authenticator, token: &str) -> Result<Arc<Identity>, Error> {
    let newcomer = Newcomer { token: Some(token), protocol: "websocket", namespace: "/" };
    by.authenticate(newcomer).now_or_never().expect("keys at hand are not waited for")
}

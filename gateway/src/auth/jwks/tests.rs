//! An issuer that rotates its keys, falls silent, and lies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::Future as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use axum::Router;
use axum::extract::State as Served;
use axum::http::{StatusCode as Code, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::auth::token::Authenticator;
use crate::auth::token::tests::{ED, P256, RSA, Signer, of, with_jwks};

/// Nothing is ever too soon, and keys are good for an hour.
const EAGER: Pace = Pace {
    stale: Duration::from_hours(1),
    unknown: Duration::ZERO,
    failed: Duration::ZERO,
    timeout: Duration::from_secs(30),
};

/// A real HTTP server in the issuer's place.
struct Issuer {
    url: String,
    page: Arc<Page>,
    server: tokio::task::JoinHandle<()>,
}

struct Page {
    answer: Mutex<(Code, String)>,
    requests: AtomicUsize,
    /// Each answer takes a permit.
    gate: Semaphore,
}

// === impl Issuer ===

impl Issuer {
    async fn new(keys: &[Value]) -> Self {
        let page = Arc::new(Page {
            answer: Mutex::default(),
            requests: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let routes = Router::new().route("/jwks.json", get(serve)).with_state(page.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let issuer = Self { url, page, server };
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: &[Value]) {
        self.answer(Code::OK, &json!({ "keys": keys }).to_string());
    }

    fn answer(&self, code: Code, body: &str) {
        *self.page.answer.lock().unwrap() = (code, body.to_owned());
    }

    fn requests(&self) -> usize {
        self.page.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(Served(page): Served<Arc<Page>>) -> Response {
    page.requests.fetch_add(1, Ordering::SeqCst);
    let _permit = page.gate.acquire().await.unwrap();
    let (code, body) = page.answer.lock().unwrap().clone();
    (code, [(header::LOCATION, "/jwks.json?again")], body).into_response()
}

/// `ok`, or the error's code.
async fn outcome(authenticator: &Authenticator, token: &str) -> &'static str {
    match authenticator.authenticate(of(Some(token))).await {
        Ok(identity) => {
            assert_eq!(identity.user.as_deref(), Some("ann"));
            "ok"
        }
        Err(error) => error.code.as_str(),
    }
}

#[tokio::test]
async fn keys_of_every_kind_verify_and_are_fetched_once() {
    let issuer = Issuer::new(&[RSA.jwk("r"), P256.jwk("p"), ED.jwk("e")]).await;
    let authenticator = with_jwks(&issuer.url, Pace::default());
    assert_eq!(issuer.requests(), 0);
    for (signer, kid) in [(&*RSA, "r"), (&*P256, "p"), (&*ED, "e")] {
        assert_eq!(outcome(&authenticator, &signer.token(Some(kid))).await, "ok", "{kid}");
    }
    // Another key's name, and an HMAC made with what everybody can read.
    assert_eq!(outcome(&authenticator, &RSA.token(Some("p"))).await, "unauthorized");
    let forged = jsonwebtoken::encode(
        &jsonwebtoken::Header {
            kid: Some("r".to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
        },
        &json!({ "sub": "ann", "exp": crate::auth::token::tests::in_an_hour() }),
        &jsonwebtoken::EncodingKey::from_secret(RSA.public_pem.as_bytes()),
    )
    .unwrap();
    assert_eq!(outcome(&authenticator, &forged).await, "unauthorized");
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_forgotten() {
    let issuer = Issuer::new(&[P256.jwk("old")]).await;
    let authenticator = with_jwks(&issuer.url, EAGER);
    let (old, new) = (P256.token(Some("old")), ED.token(Some("new")));
    assert_eq!(outcome(&authenticator, &old).await, "ok");
    assert_eq!(outcome(&authenticator, &new).await, "unauthorized");

    issuer.publish(&[ED.jwk("new")]);
    assert_eq!(outcome(&authenticator, &old).await, "ok", "until the next fetch");
    assert_eq!(outcome(&authenticator, &new).await, "ok");
    assert_eq!(outcome(&authenticator, &old).await, "unauthorized");
}

#[tokio::test]
async fn unknown_keys_are_asked_for_once_in_a_while() {
    let issuer = Issuer::new(&[P256.jwk("a")]).await;
    let authenticator = with_jwks(&issuer.url, Pace::default());
    let unknown = ED.token(Some("b"));
    assert_eq!(outcome(&authenticator, &unknown).await, "unauthorized");
    assert_eq!(issuer.requests(), 2, "the first fetch, and one for the unknown key");

    // The same key again: it was looked for. Another one: it can't be known
    // yet, so the client may try again. Neither asks the issuer.
    for _ in 0..20 {
        assert_eq!(outcome(&authenticator, &unknown).await, "unauthorized");
        assert_eq!(outcome(&authenticator, &ED.token(Some("c"))).await, "unavailable");
    }
    assert_eq!(outcome(&authenticator, &P256.token(Some("a"))).await, "ok");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn an_outage_keeps_known_keys_working() {
    let issuer = Issuer::new(&[P256.jwk("a")]).await;
    let pace = Pace { stale: Duration::ZERO, ..EAGER };
    let authenticator = with_jwks(&issuer.url, pace);
    let (known, unknown) = (P256.token(Some("a")), ED.token(Some("b")));
    assert_eq!(outcome(&authenticator, &known).await, "ok");

    issuer.answer(Code::INTERNAL_SERVER_ERROR, "");
    for _ in 0..3 {
        assert_eq!(outcome(&authenticator, &known).await, "ok");
        assert_eq!(outcome(&authenticator, &unknown).await, "unavailable");
    }

    // Back again: the new key counts, and so does that the old one is gone.
    issuer.publish(&[ED.jwk("b")]);
    assert_eq!(outcome(&authenticator, &unknown).await, "ok");
    assert_eq!(outcome(&authenticator, &known).await, "unauthorized");
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_makes_tokens_wait_not_fail() {
    let issuer = Issuer::new(&[P256.jwk("a")]).await;
    let token = P256.token(Some("a"));
    let large = format!(r#"{{"keys":[],"padding":"{}"}}"#, "x".repeat(MAX_SET_BYTES));
    let table = [
        (Code::INTERNAL_SERVER_ERROR, r#"{"keys":[]}"#),
        (Code::NOT_FOUND, ""),
        // A redirect is not followed.
        (Code::FOUND, ""),
        (Code::OK, "<html>"),
        (Code::OK, r#"{"keys":7}"#),
        (Code::OK, "[]"),
        (Code::OK, large.as_str()),
    ];
    for (code, body) in table {
        let authenticator = with_jwks(&issuer.url, EAGER);
        issuer.answer(code, body);
        let before = issuer.requests();
        assert_eq!(outcome(&authenticator, &token).await, "unavailable", "{code} {body:.20}");
        assert_eq!(issuer.requests(), before + 1, "{code} {body:.20}");
        issuer.publish(&[P256.jwk("a")]);
        assert_eq!(outcome(&authenticator, &token).await, "ok", "{code} {body:.20}");
    }

    // Nobody listens; then somebody who never answers.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let authenticator = with_jwks(&format!("http://{closed}/"), EAGER);
    assert_eq!(outcome(&authenticator, &token).await, "unavailable");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pace = Pace { timeout: Duration::from_millis(50), ..EAGER };
    let url = format!("http://{}/", silent.local_addr().unwrap());
    assert_eq!(outcome(&with_jwks(&url, pace), &token).await, "unavailable");
}

#[tokio::test]
async fn a_failed_fetch_is_not_repeated_at_once() {
    let issuer = Issuer::new(&[]).await;
    issuer.answer(Code::INTERNAL_SERVER_ERROR, "");
    let pace = Pace { failed: Duration::from_hours(1), ..EAGER };
    let authenticator = with_jwks(&issuer.url, pace);
    for _ in 0..20 {
        assert_eq!(outcome(&authenticator, &P256.token(Some("a"))).await, "unavailable");
    }
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn a_herd_of_clients_makes_one_request() {
    let issuer = Issuer::new(&[P256.jwk("a")]).await;
    let authenticator = with_jwks(&issuer.url, EAGER);
    let token = P256.token(Some("a"));
    // The answer waits until every client is under way.
    let held = issuer.page.gate.forget_permits(Semaphore::MAX_PERMITS);
    let clients: Vec<_> = (0..50).map(|_| outcome(&authenticator, &token)).collect();
    let release = async { issuer.page.gate.add_permits(held) };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(clients), release);
    assert!(outcomes.iter().all(|outcome| *outcome == "ok"), "{outcomes:?}");
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_end_the_fetch() {
    let issuer = Issuer::new(&[P256.jwk("a")]).await;
    let authenticator = with_jwks(&issuer.url, EAGER);
    let token = P256.token(Some("a"));
    let held = issuer.page.gate.forget_permits(Semaphore::MAX_PERMITS);
    {
        let mut client = Box::pin(outcome(&authenticator, &token));
        let mut context = Context::from_waker(Waker::noop());
        assert!(client.as_mut().poll(&mut context).is_pending());
    }
    while issuer.requests() == 0 {
        tokio::task::yield_now().await;
    }
    issuer.page.gate.add_permits(held);
    assert_eq!(outcome(&authenticator, &token).await, "ok");
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_are_not_used() {
    let with = |signer: &Signer, name: &str, value: Value| {
        let mut jwk = signer.jwk("k");
        jwk[name] = value;
        jwk
    };
    let secret = "a shared secret in a public place";
    let octet =
        json!({ "kty": "oct", "kid": "k", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret) });
    let strange = json!({ "kty": "EC", "crv": "secp256k1", "kid": "s", "x": "AA", "y": "AA" });
    let table = [
        (with(&P256, "use", json!("sig")), "ok"),
        (with(&P256, "key_ops", json!(["verify"])), "ok"),
        (with(&P256, "use", json!("enc")), "unauthorized"),
        (with(&P256, "key_ops", json!(["deriveKey"])), "unauthorized"),
        (with(&P256, "alg", json!("ES384")), "unauthorized"),
        (with(&P256, "alg", json!("ECDH-ES")), "unauthorized"),
        (with(&P256, "crv", json!("P-384")), "unauthorized"),
        (with(&P256, "x", json!("AAAA")), "unauthorized"),
        (octet, "unauthorized"),
    ];
    for (jwk, expected) in table {
        // One that nobody understands doesn't spoil the others.
        let issuer = Issuer::new(&[json!("?"), strange.clone(), jwk.clone()]).await;
        let authenticator = with_jwks(&issuer.url, EAGER);
        assert_eq!(outcome(&authenticator, &P256.token(Some("k"))).await, expected, "{jwk}");
    }
}

#[tokio::test]
async fn a_token_that_names_no_key_is_tried_with_a_few() {
    let issuer = Issuer::new(&[RSA.jwk("r"), P256.jwk("p"), ED.jwk("e")]).await;
    let authenticator = with_jwks(&issuer.url, EAGER);
    assert_eq!(outcome(&authenticator, &P256.token(None)).await, "ok");

    // Its key comes later.
    let issuer = Issuer::new(&[RSA.jwk("r")]).await;
    let authenticator = with_jwks(&issuer.url, EAGER);
    assert_eq!(outcome(&authenticator, &ED.token(None)).await, "unauthorized");
    issuer.publish(&[ED.jwk("e")]);
    assert_eq!(outcome(&authenticator, &ED.token(None)).await, "ok");

    let many: Vec<Value> = (0..5).map(|n| P256.jwk(&n.to_string())).collect();
    let issuer = Issuer::new(&many).await;
    let authenticator = with_jwks(&issuer.url, EAGER);
    let error = authenticator.authenticate(of(Some(&P256.token(None)))).await.unwrap_err();
    assert!(error.message.contains("`kid`"), "{error}");
    assert_eq!(outcome(&authenticator, &P256.token(Some("3"))).await, "ok");
}

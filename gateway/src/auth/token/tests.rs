//! Tokens made with real keys, good ones and forged ones.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::value::RawValue;
use serde_json::{Value, json};

mod hostile;

use super::super::jwks::Pace;
use super::*;
use crate::auth::{Action, Grant};

/// A key pair as an issuer has it.
pub(in crate::auth) struct Signer {
    pub algorithm: Algorithm,
    key: EncodingKey,
    pub public_pem: String,
}

pub(in crate::auth) static RSA: LazyLock<Signer> = LazyLock::new(|| rsa(KeySize::Rsa2048));
/// A second one of a kind, for forgeries.
static OTHER_RSA: LazyLock<Signer> = LazyLock::new(|| rsa(KeySize::Rsa2048));
pub(in crate::auth) static P256: LazyLock<Signer> =
    LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256));
pub(in crate::auth) static ED: LazyLock<Signer> = LazyLock::new(ed);

const SECRET: &str = "f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f";

// === impl Signer ===

impl Signer {
    fn hmac(secret: &str, algorithm: Algorithm) -> Self {
        let key = EncodingKey::from_secret(secret.as_bytes());
        Self { algorithm, key, public_pem: String::new() }
    }

    fn with(&self, algorithm: Algorithm) -> Self {
        Self { algorithm, key: self.key.clone(), public_pem: self.public_pem.clone() }
    }

    pub(in crate::auth) fn header(&self, kid: Option<&str>) -> Header {
        Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) }
    }

    pub(in crate::auth) fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    /// A token for the user `ann`, with `kid`.
    pub(in crate::auth) fn token(&self, kid: Option<&str>) -> String {
        self.sign(&self.header(kid), &json!({ "sub": "ann", "exp": in_an_hour() }))
    }

    /// The public key as the issuer publishes it.
    pub(in crate::auth) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn rsa(size: KeySize) -> Signer {
    let pair = RsaKeyPair::generate(size).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Signer {
        algorithm: Algorithm::RS256,
        key: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap(),
        public_pem: pem("PUBLIC KEY", public.as_ref()),
    }
}

fn ec(signing: &'static EcdsaSigningAlgorithm, algorithm: Algorithm) -> Signer {
    let private = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, private.as_ref()).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Signer {
        algorithm,
        key: EncodingKey::from_ec_der(private.as_ref()),
        public_pem: pem("PUBLIC KEY", public.as_ref()),
    }
}

fn ed() -> Signer {
    let private = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Signer {
        algorithm: Algorithm::EdDSA,
        key: EncodingKey::from_ed_der(private.as_ref()),
        public_pem: pem("PUBLIC KEY", public.as_ref()),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(in crate::auth) fn in_an_hour() -> u64 {
    now() + 3600
}

/// An authenticator for an issuer's published keys, at a pace that suits the test.
pub(in crate::auth) fn with_jwks(url: &str, pace: Pace) -> Authenticator {
    let policy = Policy {
        algorithms: key::ASYMMETRIC.to_vec(),
        issuer: None,
        audience: None,
        leeway: LEEWAY,
    };
    let algorithms = policy.algorithms.clone();
    let keys = Keys::Published(Jwks::with_pace(url, policy, pace).unwrap());
    let issuer = Some(Issuer { algorithms, keys, leeway: LEEWAY });
    Authenticator {
        anonymous: None,
        issuer,
        revocations: Arc::default(),
        callouts: no_callouts(),
        watched: Watched::default(),
    }
}

/// Somebody with a token.
pub(in crate::auth) fn of(token: Option<&str>) -> Newcomer<'_> {
    Newcomer { token, protocol: "websocket", namespace: "/" }
}

fn no_callouts() -> Callouts {
    Callouts::new(&gateway_config::Config::default(), "1", crate::metrics::Metrics::default())
}

fn auth(jwt: Jwt) -> Auth {
    Auth { jwt: Some(jwt), ..Auth::default() }
}

fn with_secret() -> Jwt {
    Jwt { secret: Some(SECRET.to_owned()), ..Jwt::default() }
}

fn with_public_key(pem: &str) -> Jwt {
    Jwt { public_key: Some(pem.to_owned()), ..Jwt::default() }
}

async fn outcome(jwt: &Jwt, token: &str) -> Result<Arc<Identity>, Error> {
    Authenticator::new(&auth(jwt.clone()), Arc::default(), no_callouts())
        .unwrap()
        .authenticate(of(Some(token)))
        .await
}

fn hs256(claims: &Value) -> String {
    let signer = Signer::hmac(SECRET, Algorithm::HS256);
    signer.sign(&signer.header(None), claims)
}

#[tokio::test]
async fn every_algorithm_verifies_with_its_own_key() {
    let p384 = ec(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384);
    let table = [
        (with_secret(), Signer::hmac(SECRET, Algorithm::HS256)),
        (with_secret(), Signer::hmac(SECRET, Algorithm::HS384)),
        (with_secret(), Signer::hmac(SECRET, Algorithm::HS512)),
        (with_public_key(&RSA.public_pem), RSA.with(Algorithm::RS256)),
        (with_public_key(&RSA.public_pem), RSA.with(Algorithm::RS384)),
        (with_public_key(&RSA.public_pem), RSA.with(Algorithm::RS512)),
        (with_public_key(&RSA.public_pem), RSA.with(Algorithm::PS256)),
        (with_public_key(&RSA.public_pem), RSA.with(Algorithm::PS384)),
        (with_public_key(&RSA.public_pem), RSA.with(Algorithm::PS512)),
        (with_public_key(&P256.public_pem), P256.with(Algorithm::ES256)),
        (with_public_key(&p384.public_pem), p384.with(Algorithm::ES384)),
        (with_public_key(&ED.public_pem), ED.with(Algorithm::EdDSA)),
    ];
    for (jwt, signer) in table {
        // With a key from the configuration the token's `kid` says nothing.
        for kid in [None, Some("any")] {
            let identity = outcome(&jwt, &signer.token(kid)).await;
            let identity = identity.unwrap_or_else(|e| panic!("{:?}: {e}", signer.algorithm));
            assert_eq!(identity.user.as_deref(), Some("ann"), "{:?}", signer.algorithm);
            assert!(identity.has_token);
        }
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let rsa = with_public_key(&RSA.public_pem);
    let only_hs256 = Jwt { algorithms: vec!["HS256".to_owned()], ..with_secret() };
    let unsigned = |alg: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "typ": "JWT" }).to_string());
        let claims =
            URL_SAFE_NO_PAD.encode(json!({ "sub": "ann", "exp": in_an_hour() }).to_string());
        format!("{header}.{claims}.")
    };
    // What a token would look like whose payload someone changed.
    let changed = {
        let token = hs256(&json!({ "sub": "ann", "exp": in_an_hour() }));
        let (header, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let claims =
            URL_SAFE_NO_PAD.encode(json!({ "sub": "bob", "exp": in_an_hour() }).to_string());
        format!("{header}.{claims}.{signature}")
    };
    let hs256 = Signer::hmac(SECRET, Algorithm::HS256);
    let claims = json!({ "sub": "ann", "exp": in_an_hour() });
    let own_key = {
        let jwk = serde_json::from_value(OTHER_RSA.jwk("own")).unwrap();
        OTHER_RSA.sign(&Header { jwk: Some(jwk), ..OTHER_RSA.header(None) }, &claims)
    };
    let crit = Header { crit: Some(vec!["b64".to_owned()]), ..hs256.header(None) };
    let long = hs256.sign(
        &hs256.header(None),
        &json!({ "exp": in_an_hour(), "meta": "x".repeat(MAX_TOKEN_BYTES) }),
    );

    let confused = Signer::hmac(&RSA.public_pem, Algorithm::HS256).token(None);
    let table = [
        ("public key as a secret", &rsa, confused, "algorithm"),
        ("unsigned", &rsa, unsigned("none"), "algorithm"),
        ("unsigned, for a secret", &with_secret(), unsigned("none"), "algorithm"),
        ("unsigned, other case", &with_secret(), unsigned("nOnE"), "algorithm"),
        ("unsigned, but says HS256", &with_secret(), unsigned("HS256"), "signature"),
        ("another key", &rsa, OTHER_RSA.token(None), "signature"),
        ("brings its own key", &rsa, own_key, "signature"),
        (
            "another secret",
            &with_secret(),
            Signer::hmac("x", Algorithm::HS256).token(None),
            "signature",
        ),
        ("changed", &with_secret(), changed, "signature"),
        (
            "not an accepted algorithm",
            &only_hs256,
            Signer::hmac(SECRET, Algorithm::HS384).token(None),
            "HS256",
        ),
        ("another kind of key", &rsa, P256.token(None), "RS256"),
        ("must be understood", &with_secret(), hs256.sign(&crit, &claims), "crit"),
        ("too long", &with_secret(), long, "16384"),
        ("a word", &with_secret(), "abc".to_owned(), "JWT"),
        ("dots", &with_secret(), "..".to_owned(), "JWT"),
        ("three words", &with_secret(), "a.b.c".to_owned(), "JWT"),
        ("not ASCII", &with_secret(), "ä.ö.ü".to_owned(), "JWT"),
    ];
    for (what, jwt, token, words) in table {
        let error = outcome(jwt, &token).await.expect_err(what);
        assert_eq!(error.code, ErrorCode::Unauthorized, "{what}");
        assert!(error.message.contains(words), "{what}: {}", error.message);
        assert!(!error.message.contains(&token), "{what}: {}", error.message);
    }
}

#[tokio::test]
async fn claims_are_checked_and_errors_name_them() {
    let jwt = Jwt {
        issuer: Some("https://id.example.com/".to_owned()),
        audience: Some("live".to_owned()),
        ..with_secret()
    };
    let good = json!({
        "iss": "https://id.example.com/", "aud": "live", "sub": "ann", "exp": in_an_hour(),
    });
    // Claims to put over the good ones (null takes one away), and the words of
    // the error; none: accepted.
    let table = [
        (json!({}), None),
        (json!({ "aud": ["other", "live"] }), None),
        (json!({ "sub": null }), None),
        (json!({ "nbf": now() + 2 }), None),
        (serde_json::from_str(&format!(r#"{{"exp":{}.5}}"#, in_an_hour())).unwrap(), None),
        (json!({ "channels": [], "join": [], "meta": null, "extra": { "a": 1 } }), None),
        (json!({ "exp": null }), Some("`exp`")),
        (json!({ "exp": "tomorrow" }), Some("`exp`")),
        (json!({ "exp": -1 }), Some("`exp`")),
        (json!({ "exp": in_an_hour() * 1000 }), Some("milliseconds")),
        (json!({ "exp": 1e300 }), Some("`exp`")),
        (json!({ "nbf": in_an_hour() }), Some("`nbf`")),
        (json!({ "nbf": "now" }), Some("`nbf`")),
        (json!({ "iss": null }), Some("`iss`")),
        (json!({ "iss": "https://other.example.com/" }), Some("`iss`")),
        (json!({ "aud": null }), Some("`aud`")),
        (json!({ "aud": "other" }), Some("`aud`")),
        (json!({ "aud": ["other"] }), Some("`aud`")),
        (json!({ "sub": 7 }), Some("`sub`")),
        (json!({ "sub": "" }), Some("`sub`")),
        (json!({ "sub": "x".repeat(129) }), Some("`sub`")),
        (json!({ "sub": "a\nb" }), Some("`sub`")),
        (json!({ "jti": 7 }), Some("`jti`")),
        (json!({ "channels": "orders.>" }), Some("`channels`")),
        (json!({ "channels": ["orders.>"] }), Some("`channels[0]`")),
        (json!({ "channels": [{ "can": [] }] }), Some("`channels[0].match`")),
        (json!({ "channels": [{ "match": 1, "can": [] }] }), Some("`channels[0].match`")),
        (json!({ "channels": [{ "match": "a..b", "can": [] }] }), Some("`channels[0].match`")),
        (json!({ "channels": [{ "match": ">.a", "can": [] }] }), Some("`channels[0].match`")),
        (json!({ "channels": [{ "match": "a" }] }), Some("`channels[0].can`")),
        (json!({ "channels": [{ "match": "a", "can": "publish" }] }), Some("`channels[0].can`")),
        (
            json!({ "channels": [{ "match": "a", "can": [] }, { "match": "b", "can": ["publish", "own"] }] }),
            Some("`channels[1].can[1]`"),
        ),
        (
            json!({ "channels": [{ "match": "a", "can": [], "except": ["a.b"] }] }),
            Some("other than `match` and `can`"),
        ),
        (json!({ "join": "news" }), Some("`join`")),
        (json!({ "join": ["news", 7] }), Some("`join[1]`")),
        (json!({ "join": [""] }), Some("`join[0]`")),
        (json!({ "join": ["x".repeat(201)] }), Some("`join[0]`")),
        (json!({ "join": ["$all"] }), Some("`$`")),
        (json!({ "join": ["$user.bob"] }), Some("`$`")),
        (json!({ "join": ["$ns.admin.room"] }), Some("`$`")),
    ];
    for (changes, expected) in table {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() && name != "meta" {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        match (outcome(&jwt, &hs256(&claims)).await, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => {
                assert_eq!(error.code, ErrorCode::Unauthorized, "{changes}");
                assert!(error.message.contains(words), "{changes}: {}", error.message);
            }
            (Ok(_), Some(_)) => panic!("{changes} was accepted"),
            (Err(error), None) => panic!("{changes}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_token_whose_time_is_over_says_so() {
    for exp in [0, now() - 3600, now() - 10] {
        // A malformed claim doesn't hide what the client can mend by itself.
        let token = hs256(&json!({ "exp": exp, "sub": 7 }));
        let error = outcome(&with_secret(), &token).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::TokenExpired, "{exp}");
    }
}

#[tokio::test]
async fn an_identity_holds_what_the_token_says() {
    let exp = in_an_hour();
    // `meta` keeps its spaces and its order.
    let claims = format!(
        r#"{{"sub":"auth0|7","exp":{exp},"jti":"t1","meta":{{ "b":1, "a":[1.0] }},
            "channels":[{{"match":"orders.*","can":["subscribe","history"]}}],
            "join":["news","news","a b"]}}"#
    );
    let signer = Signer::hmac(SECRET, Algorithm::HS256);
    let raw = RawValue::from_string(claims).unwrap();
    let token = jsonwebtoken::encode(&signer.header(None), &raw, &signer.key).unwrap();
    let identity = outcome(&with_secret(), &token).await.unwrap();

    assert_eq!(identity.user.as_deref(), Some("auth0|7"));
    assert_eq!(identity.token_id.as_deref(), Some("t1"));
    assert_eq!(identity.meta.as_deref(), Some(&br#"{ "b":1, "a":[1.0] }"#[..]));
    let grant = Grant {
        matches: gateway_config::Pattern::new("orders.*").unwrap(),
        can: vec![Action::Subscribe, Action::History],
    };
    assert_eq!(identity.grants, [grant]);
    let join: Vec<&str> = identity.join.iter().map(AsRef::as_ref).collect();
    assert_eq!(join, ["news", "a b"]);
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(exp) + LEEWAY;
    assert_eq!(identity.expires, Some(expires));
}

#[tokio::test]
async fn who_comes_without_a_token_is_anonymous_or_refused() {
    let good = hs256(&json!({ "sub": "ann", "exp": in_an_hour() }));
    let bad = "not.a.token".to_owned();
    let (issuer, none) = (Some(with_secret()), None);
    // auth.jwt, auth.anonymous, token → the user (none: anonymous), or an error.
    let table = [
        (&none, None, None, Ok(None)),
        (&none, Some(true), None, Ok(None)),
        // A laptop doesn't break on a client that sends some token.
        (&none, None, Some(&good), Ok(None)),
        (&none, None, Some(&bad), Ok(None)),
        (&issuer, None, None, Err(ErrorCode::Unauthorized)),
        (&issuer, None, Some(&String::new()), Err(ErrorCode::Unauthorized)),
        (&issuer, Some(false), None, Err(ErrorCode::Unauthorized)),
        (&issuer, Some(true), None, Ok(None)),
        (&issuer, Some(true), Some(&String::new()), Ok(None)),
        (&issuer, None, Some(&good), Ok(Some("ann"))),
        (&issuer, Some(true), Some(&good), Ok(Some("ann"))),
        // A bad token is no way to be anonymous.
        (&issuer, Some(true), Some(&bad), Err(ErrorCode::Unauthorized)),
    ];
    for (jwt, anonymous, token, expected) in table {
        let authenticator = Authenticator::new(
            &Auth { anonymous, jwt: jwt.clone(), callout: None },
            Arc::default(),
            no_callouts(),
        )
        .unwrap();
        assert_eq!(authenticator.has_issuer(), jwt.is_some());
        let found = authenticator.authenticate(of(token.map(String::as_str))).await;
        let found = found.map_err(|error| error.code);
        assert_eq!(
            found.as_ref().map(|identity| identity.user.as_deref()),
            expected.as_ref().copied(),
            "{anonymous:?} {token:?}"
        );
        if let Ok(identity) = found {
            assert_eq!(identity.has_token, identity.user.is_some());
        }
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused_by_name() {
    let rsa_private = pem("PRIVATE KEY", b"any");
    let short = {
        // 1024 bits, which nobody should trust any more.
        let modulus = [0xc5; 128];
        let mut der = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
        der.extend_from_slice(&modulus);
        der.extend_from_slice(&[0x02, 0x03, 0x01, 0x00, 0x01]);
        pem("RSA PUBLIC KEY", &der)
    };
    let cut = RSA.public_pem.replace(|c: char| c.is_ascii_digit(), "");
    let url = |url: &str| Jwt { jwks_url: Some(url.to_owned()), ..Jwt::default() };
    let algorithms = |jwt: Jwt, name: &str| Jwt { algorithms: vec![name.to_owned()], ..jwt };
    let secret = |secret: &str| Jwt { secret: Some(secret.to_owned()), ..Jwt::default() };
    let table = [
        (Jwt::default(), "auth.jwt has no key"),
        (
            Jwt { public_key: Some(RSA.public_pem.clone()), ..with_secret() },
            "auth.jwt.secret and auth.jwt.publicKey",
        ),
        (
            Jwt { jwks_url: Some("x".into()), ..with_secret() },
            "auth.jwt.secret and auth.jwt.jwksUrl",
        ),
        (secret(""), "auth.jwt.secret is empty"),
        (secret(&RSA.public_pem), "auth.jwt.publicKey"),
        (with_public_key(""), "auth.jwt.publicKey is not a public key in PEM"),
        (with_public_key("ssh-rsa AAAA"), "auth.jwt.publicKey is not a public key in PEM"),
        (with_public_key(&cut), "auth.jwt.publicKey is not a key of a kind"),
        (with_public_key(&pem("PUBLIC KEY", b"any")), "auth.jwt.publicKey is not a key of a kind"),
        (with_public_key(&rsa_private), "auth.jwt.publicKey holds a private key"),
        (with_public_key(&pem("CERTIFICATE", b"any")), "auth.jwt.publicKey holds a certificate"),
        (with_public_key(&short), "2048 bits"),
        (url("id.example.com"), "auth.jwt.jwksUrl is not a URL"),
        (url("ftp://id.example.com/"), "auth.jwt.jwksUrl doesn't begin with https://"),
        (algorithms(with_secret(), "HS1"), "auth.jwt.algorithms: `HS1`"),
        (algorithms(with_secret(), "none"), "auth.jwt.algorithms: `none`"),
        (algorithms(with_secret(), "RS256"), "possible are HS256, HS384, HS512"),
        (algorithms(with_public_key(&RSA.public_pem), "HS256"), "auth.jwt.algorithms: `HS256`"),
        (algorithms(with_public_key(&P256.public_pem), "ES384"), "possible are ES256"),
        (algorithms(url("https://id.example.com/"), "HS256"), "auth.jwt.jwksUrl"),
    ];
    for (jwt, words) in table {
        let error = Authenticator::new(&auth(jwt), Arc::default(), no_callouts())
            .expect_err(words)
            .to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains("MII"), "{error}");
    }
    let nobody = Auth { anonymous: Some(false), ..Auth::default() };
    let error = Authenticator::new(&nobody, Arc::default(), no_callouts()).unwrap_err().to_string();
    assert!(error.contains("auth.jwt") && error.contains("auth.anonymous"), "{error}");
}

#[test]
fn a_secret_is_never_shown() {
    let authenticator =
        Authenticator::new(&auth(with_secret()), Arc::default(), no_callouts()).unwrap();
    assert!(!format!("{authenticator:?}").contains(SECRET));
}

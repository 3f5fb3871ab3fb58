//! Tokens that prove nothing, by every way to bring one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tests::token::{SECRET, mint, mint_with, now};

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::config;

/// A token's three parts from texts, the signature as it is.
fn parts(header: &str, claims: &Value, signature: &str) -> String {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{signature}", encoded(header), encoded(&claims.to_string()))
}

/// A right signature under any header.
fn signed(header: &str, claims: &Value) -> String {
    let text = parts(header, claims, "");
    let text = text.trim_end_matches('.');
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let mac = aws_lc_rs::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
}

/// Name, token, and the code that refuses it.
fn tokens() -> Vec<(&'static str, String, &'static str)> {
    let all = json!(["subscribe", "publish", "history", "presence"]);
    let grant = json!([{"match": ">", "can": all}]);
    let ann = json!({"sub": "ann", "exp": now() + 3600, "channels": grant});
    let with = |key: &str, value: Value| {
        let mut claims = ann.clone();
        claims[key] = value;
        claims
    };
    let good = mint(&ann);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = head.split_once('.').unwrap();
    let none = r#"{"alg":"none","typ":"JWT"}"#;
    let hs256 = r#""alg":"HS256","typ":"JWT""#;
    vec![
        ("no JWT at all", "ann".into(), "unauthorized"),
        ("alg none, no signature", parts(none, &ann, ""), "unauthorized"),
        ("alg none, a signature", parts(none, &ann, signature), "unauthorized"),
        ("alg nOnE", parts(&none.replace("none", "nOnE"), &ann, ""), "unauthorized"),
        ("no alg", parts(r#"{"typ":"JWT"}"#, &ann, signature), "unauthorized"),
        ("alg HS256, no signature", format!("{head}."), "unauthorized"),
        ("two parts", head.to_owned(), "unauthorized"),
        ("four parts", format!("{good}.{signature}"), "unauthorized"),
        (
            "another's secret",
            mint_with(&ann, "another-secret-that-is-long-enough-too", Algorithm::HS256),
            "unauthorized",
        ),
        ("an empty secret", mint_with(&ann, "", Algorithm::HS256), "unauthorized"),
        (
            "claims changed after they were signed",
            format!(
                "{header}.{}.{signature}",
                URL_SAFE_NO_PAD.encode(with("sub", json!("root")).to_string())
            ),
            "unauthorized",
        ),
        (
            "a header changed after it was signed",
            format!(
                "{}.{claims}.{signature}",
                URL_SAFE_NO_PAD.encode(format!("{{{hs256},\"x\":1}}"))
            ),
            "unauthorized",
        ),
        ("the signature's last byte is gone", good[..good.len() - 2].to_owned(), "unauthorized"),
        (
            "the signature in the other alphabet",
            good.replace('-', "+").replace('_', "/") + "=",
            "unauthorized",
        ),
        ("RS256 under a secret", signed(r#"{"alg":"RS256","typ":"JWT"}"#, &ann), "unauthorized"),
        (
            "a critical extension",
            signed(&format!("{{{hs256},\"crit\":[\"exp\"]}}"), &ann),
            "unauthorized",
        ),
        (
            "a key in the header",
            parts(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#, &ann, signature),
            "unauthorized",
        ),
        (
            "an address for the key",
            parts(r#"{"alg":"RS256","jku":"http://127.0.0.1:9/keys"}"#, &ann, signature),
            "unauthorized",
        ),
        ("an hour ago", mint(&with("exp", json!(now() - 3600))), "token_expired"),
        ("in 1970", mint(&with("exp", json!(0))), "token_expired"),
        ("no end", mint(&json!({"sub": "ann", "channels": grant})), "unauthorized"),
        (
            "an end in milliseconds",
            mint(&with("exp", json!((now() + 3600) * 1000))),
            "unauthorized",
        ),
        ("an end as a text", mint(&with("exp", json!("2999-01-01"))), "unauthorized"),
        ("an end below zero", mint(&with("exp", json!(-1))), "unauthorized"),
        ("an end of 1e300", mint(&with("exp", json!(1e300))), "unauthorized"),
        ("not yet", mint(&with("nbf", json!(now() + 3600))), "unauthorized"),
        ("a user that is empty", mint(&with("sub", json!(""))), "unauthorized"),
        ("a user that is a number", mint(&with("sub", json!(7))), "unauthorized"),
        ("a user of 100,000 bytes", mint(&with("sub", json!("a".repeat(9_000)))), "unauthorized"),
        ("a user with a line's end", mint(&with("sub", json!("ann\nbob"))), "unauthorized"),
        ("grants that are a text", mint(&with("channels", json!(">"))), "unauthorized"),
        (
            "a grant with a key too many",
            mint(&with("channels", json!([{"match": ">", "can": all, "not": "ann.>"}]))),
            "unauthorized",
        ),
        (
            "a grant of an unknown action",
            mint(&with("channels", json!([{"match": ">", "can": ["all"]}]))),
            "unauthorized",
        ),
        ("claims that are a list", signed(&format!("{{{hs256}}}"), &json!([])), "unauthorized"),
        ("a token of 30,000 bytes", mint(&with("x", json!("a".repeat(20_000)))), "unauthorized"),
    ]
}

pub fn group() -> Group {
    let mut rows: Vec<Row> = Vec::new();
    for (index, (name, token, code)) in tokens().into_iter().enumerate() {
        // Every token by Socket.IO, and each by one more way in turn.
        let auth = json!({"token": token});
        let socket = Attack::Socket {
            path: "/socket.io/?EIO=4&transport=websocket".into(),
            texts: vec![format!("40{auth}")],
            bytes: Vec::new(),
        };
        rows.push(row(format!("{name}, by Socket.IO"), socket, Answer::Words(code)));
        // What is too long for a request's head is refused as such.
        if token.len() > 12_000 {
            continue;
        }
        let head = |path: &str, more: &str| {
            let text = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n");
            Attack::Client(text.into_bytes())
        };
        // As in a form: `+` would be a space.
        let escaped = token.replace('+', "%2B");
        let (way, attack) = match index % 4 {
            0 => ("SSE", head(&format!("/sse?channel=ann.box&token={escaped}"), "")),
            1 => (
                "SSE's header",
                head("/sse?channel=ann.box", &format!("authorization: Bearer {token}\r\n")),
            ),
            2 => (
                "/ws",
                Attack::Socket {
                    path: format!("/ws?token={escaped}"),
                    texts: vec![],
                    bytes: vec![],
                },
            ),
            _ => (
                "a first message of /ws",
                Attack::Socket {
                    path: "/ws".into(),
                    texts: vec![json!({"id": 1, "connect": auth}).to_string()],
                    bytes: vec![],
                },
            ),
        };
        rows.push(row(format!("{name}, by {way}"), attack, Answer::Words(code)));
    }
    // A token that is good for one is no way to become another.
    let refresh =
        json!({"id": 2, "refresh": {"token": mint(&json!({"sub": "ann", "exp": now() + 60}))}});
    let become_ann = Attack::Socket {
        path: format!("/ws?token={}", crate::world::bob()),
        texts: vec![refresh.to_string()],
        bytes: Vec::new(),
    };
    rows.push(row("Bob becomes Ann by a refresh", become_ann, Answer::Words("\"id\":2,\"error\"")));
    Group { name: "tokens", config: config(), rows }
}

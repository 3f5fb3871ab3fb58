//! Who may call: keys, their scopes and channels, and the `Host` without any.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Request;
use gateway_config::{ApiKey, Pattern, Scope};

use super::{Answer, Rig};

/// A key whose text is its own name.
fn key(name: &str, scopes: &[Scope], channels: &[&str]) -> ApiKey {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let mut sha256 = String::new();
    for byte in digest.as_ref() {
        write!(sha256, "{byte:02x}").unwrap();
    }
    ApiKey {
        name: name.to_owned(),
        sha256,
        scopes: scopes.to_vec(),
        channels: channels.iter().map(|text| Pattern::new(text).unwrap()).collect(),
    }
}

fn rig() -> Rig {
    Rig::new().with_keys(&[
        key("writer", &[Scope::Publish], &["orders.>", "$user.ann"]),
        key("reader", &[Scope::Read], &["orders.>"]),
    ])
}

async fn call(rig: &Rig, key: &str, method: &str, path: &str, body: &'static str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "api.example");
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    rig.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_key_reaches_what_it_is_for_and_nothing_else() {
    let publish = "/v1/publish";
    let table = [
        ("", "POST", publish, r#"{"channel": "orders.1", "data": 1}"#, 401, ""),
        ("wrong", "POST", publish, r#"{"channel": "orders.1", "data": 1}"#, 401, ""),
        ("writer", "POST", publish, r#"{"channel": "orders.1", "data": 1}"#, 200, ""),
        ("writer", "POST", publish, r#"{"user": "ann", "data": 1}"#, 200, ""),
        ("writer", "POST", publish, r#"{"user": "bob", "data": 1}"#, 403, "user"),
        ("writer", "POST", publish, r#"{"all": true, "data": 1}"#, 403, "all"),
        (
            "writer",
            "POST",
            publish,
            r#"{"channels": ["orders.1", "x"], "data": 1}"#,
            403,
            "channels[1]",
        ),
        ("reader", "POST", publish, r#"{"channel": "orders.1", "data": 1}"#, 403, ""),
        ("reader", "POST", "/v1/batch", r#"{"publications": []}"#, 403, ""),
        ("writer", "GET", "/v1/channels", "", 403, ""),
        ("reader", "GET", "/v1/channels", "", 200, ""),
        ("reader", "GET", "/v1/channels/orders.1", "", 200, ""),
        ("reader", "GET", "/v1/channels/x", "", 403, "channel"),
        ("reader", "GET", "/v1/channels/orders.1/history", "", 200, ""),
        ("reader", "GET", "/v1/channels/x/history", "", 403, "channel"),
        ("reader", "GET", "/v1/channels/x/presence", "", 403, "channel"),
        ("reader", "GET", "/v1/channels/orders.1/presence", "", 503, ""),
        ("reader", "GET", "/v1/users/ann", "", 403, "channel"),
        ("reader", "POST", "/v1/users/ann/disconnect", "", 403, ""),
        ("writer", "GET", "/v1/gateways", "", 403, ""),
        ("reader", "GET", "/v1/gateways", "", 200, ""),
        ("", "GET", "/v1/gateways", "", 401, ""),
        ("", "GET", "/v1/openapi.json", "", 200, ""),
        ("", "GET", "/", "", 200, ""),
    ];
    for (key, method, path, body, status, field) in table {
        let rig = rig();
        let answer = call(&rig, key, method, path, body).await;
        assert_eq!(answer.status, status, "{key} {method} {path} {body}: {answer:?}");
        if status == 401 {
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
        if status == 401 || status == 403 {
            assert_eq!(answer.problem().1, field, "{key} {method} {path} {body}");
            assert!(rig.relay.published.lock().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_batch_publishes_only_what_the_key_allows() {
    let rig = rig();
    let body =
        r#"{"publications": [{"channel": "x", "data": 1}, {"channel": "orders.1", "data": 1}]}"#;
    let answer = call(&rig, "writer", "POST", "/v1/batch", body).await;
    let json = answer.json();
    assert_eq!(
        (&json["results"][0]["status"], &json["results"][1]["status"]),
        (&403.into(), &200.into())
    );
    assert_eq!(rig.relay.published.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn new_keys_hold_from_the_next_request_on() {
    let rig = rig();
    assert_eq!(call(&rig, "reader", "GET", "/v1/gateways", "").await.status, 200);
    let rig = rig.with_keys(&[key("other", &[Scope::Read], &[])]);
    assert_eq!(call(&rig, "reader", "GET", "/v1/gateways", "").await.status, 401);
}

#[tokio::test]
async fn without_keys_only_this_machines_names_are_answered() {
    let table = [
        ("localhost", 200),
        ("LOCALHOST:8081", 200),
        ("app.localhost:8081", 200),
        ("127.0.0.1:8081", 200),
        ("127.9.9.9", 200),
        ("[::1]:8081", 200),
        ("evil.example:8081", 403),
        ("localhost.evil.example", 403),
        ("notlocalhost", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ];
    for (host, status) in table {
        for path in ["/v1/gateways", "/", "/v1/openapi.json", "/nothing"] {
            let rig = Rig::new();
            let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
            let answer = rig.send(request).await;
            let refused = answer.status == 403;
            assert_eq!(refused, status == 403, "{host} {path}: {answer:?}");
            if refused {
                assert_eq!(answer.problem().1, "Host");
            }
        }
    }
    let no_host = Request::get("/v1/gateways").body(Body::empty()).unwrap();
    // RFC 9112, section 3.2: a request names one host.
    assert_eq!(Rig::new().send(no_host).await.status, 400);
    // Off loopback there are keys, or someone said that it is open.
    let open = Rig::new().open();
    let request = Request::get("/v1/gateways").header("host", "api.example");
    assert_eq!(open.send(request.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_web_page_elsewhere_cannot_publish() {
    // What a page can send to another origin without a preflight.
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
    {
        let rig = Rig::new();
        let mut request = Request::post("/v1/publish").header("host", "localhost:8081");
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let body = r#"{"channel": "a", "data": 1}"#;
        let answer = rig.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, 415, "{kind}");
        assert_eq!(answer.problem().0, "bad_request");
        assert!(rig.relay.published.lock().unwrap().is_empty());
    }
    let preflight = Request::options("/v1/publish")
        .header("host", "localhost:8081")
        .header("origin", "http://elsewhere.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let answer = Rig::new().send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let charset = Request::post("/v1/publish")
        .header("host", "localhost")
        .header("content-type", "Application/JSON; charset=utf-8");
    let body = Body::from(r#"{"channel": "a", "data": 1}"#);
    assert_eq!(Rig::new().send(charset.body(body).unwrap()).await.status, 200);
}

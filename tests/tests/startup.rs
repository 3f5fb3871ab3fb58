//! A gateway from its first moment: what it says while it can't serve yet.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;
use tests::Gateway;
use tests::api::{publish, status};
use tests::http::{get, request, send};
use tests::nats::{Nats, Secrets, Signal};
use tests::patience::eventually;

fn config(url: &str, mut relay: serde_json::Value, more: &str) -> String {
    relay["url"] = url.into();
    format!("peer: {{secret: a-secret-between-the-gateways-of-a-suite}}\nrelay: {relay}\n{more}")
}

/// Waits until `/status` says this of NATS.
async fn says(gateway: &Gateway, words: &str) {
    eventually(words, || async {
        let status = status(gateway).await;
        assert_eq!(status["nats"]["connected"], false);
        status["nats"]["error"].as_str().unwrap_or_default().contains(words)
    })
    .await;
    let ready = get(&format!("{}/readyz", gateway.admin())).await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().starts_with("waiting for NATS: "), "{}", ready.text());
    assert_eq!(get(&format!("{}/livez", gateway.admin())).await.status, 200);
    assert_eq!(get(&format!("{}/metrics", gateway.admin())).await.status, 200);
    assert!(gateway.log().contains("waiting for NATS"), "{}", gateway.log());
}

#[tokio::test]
async fn without_nats_it_says_so_and_serves_when_it_is_there() {
    let mut nats = Nats::single();
    nats.signal(0, Signal::Kill);
    let mut gateway = Gateway::begin(&config(&nats.url(), json!({}), ""));
    says(&gateway, "can't connect to NATS").await;
    nats.restart(0);
    gateway.serves().await;
    gateway.ready().await;
    assert_eq!(status(&gateway).await["nats"]["connected"], true);
    publish(&gateway, &json!({"channel": "a", "data": 1})).await;
    gateway.signal("INT");
    assert_eq!(gateway.ended().await, Some(0));
}

#[tokio::test]
async fn a_refused_login_is_said_and_tried_again() {
    let users = "authorization: { user: gateway, password: open }\n";
    let nats = Nats::start(1, users);
    let relay = json!({"user": "gateway", "password": "shut"});
    let gateway = Gateway::begin(&config(&nats.url(), relay, ""));
    says(&gateway, "it refuses `relay.user` with `relay.password`").await;
}

#[tokio::test]
async fn it_ends_at_once_when_it_is_told_to_while_it_waits() {
    let mut nats = Nats::single();
    nats.signal(0, Signal::Kill);
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::begin(&config(&nats.url(), json!({}), ""));
        says(&gateway, "can't connect to NATS").await;
        gateway.signal(signal);
        assert_eq!(gateway.ended().await, Some(0), "by its own will, not by the signal's");
    }
}

#[tokio::test]
async fn the_admin_token_is_asked_for_while_it_waits_too() {
    let secrets = Secrets::default();
    let file = secrets.write("token", "first\n");
    let mut nats = Nats::single();
    nats.signal(0, Signal::Kill);
    let more = format!("admin: {{tokenFile: '{file}'}}");
    let mut gateway = Gateway::begin(&config(&nats.url(), json!({}), &more));
    let url = format!("{}/status", gateway.admin());
    let asked = |token: &'static str| send(request("GET", &url).bearer_auth(token));
    assert_eq!(get(&url).await.status, 401);
    assert_eq!(get(&format!("{}/livez", gateway.admin())).await.status, 200);
    assert_eq!(asked("first").await.json()["nats"]["connected"], false);
    secrets.write("token", "second\n");
    eventually("the new token", || async { asked("second").await.status == 200 }).await;
    assert_eq!(asked("first").await.status, 401);
    nats.restart(0);
    gateway.serves().await;
    gateway.ready().await;
    assert_eq!(asked("second").await.json()["nats"]["connected"], true);
    assert_eq!(get(&url).await.status, 401);
}

#[tokio::test]
async fn the_keys_of_the_api_change_with_their_file() {
    let secrets = Secrets::default();
    // printf %s first | sha256sum
    let first = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
    let second = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";
    let list = |hash| format!("- {{name: shop, sha256: {hash}, scopes: [publish]}}\n");
    let file = secrets.write("keys.yaml", &list(first));
    let gateway = Gateway::start(&format!("api: {{keysFile: '{file}'}}"));
    let publish = async |key| {
        let body = json!({"channel": "a", "data": 1});
        tests::api::call(&gateway, Some(key), "/v1/publish", &body).await.status
    };
    assert_eq!((publish("first").await, publish("second").await), (200, 401));
    let before = status(&gateway).await["configHash"].clone();
    secrets.write("keys.yaml", &list(second));
    eventually("the new key", || async { publish("second").await == 200 }).await;
    assert_eq!(publish("first").await, 401);
    assert_ne!(status(&gateway).await["configHash"], before, "who waits for it sees it");
}

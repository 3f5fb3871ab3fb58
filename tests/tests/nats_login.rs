//! How a gateway logs in to NATS, what it says when it may not, and what the
//! permissions of the documentation allow: on real nats-servers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use nkeys::KeyPair;
use serde_json::json;
use tests::Gateway;
use tests::api::{say, status};
use tests::nats::{Nats, Operator, Secrets};
use tests::patience::eventually;

#[path = "nats_login/permissions.rs"]
mod permissions;

/// A configuration with more keys under `relay`: a JSON object.
fn config(url: &str, mut relay: serde_json::Value) -> String {
    relay["url"] = url.into();
    let config = json!({
        "peer": {"secret": "a-secret-between-the-gateways-of-a-suite"},
        "relay": relay,
        "channels": [{"match": "kept.>", "history": {"maxMessages": 100, "maxAge": "1h"}}],
    });
    config.to_string()
}

async fn ready(config: &str) -> Gateway {
    let gateway = Gateway::start(config);
    gateway.ready().await;
    gateway
}

/// A gateway gets in, and stores a publication.
async fn works(url: &str, relay: serde_json::Value) {
    let gateway = ready(&config(url, relay)).await;
    assert!(say(&gateway, "kept.a", 1).await.is_some());
    assert_eq!(status(&gateway).await["nats"]["connected"], true);
}

/// A gateway doesn't get in, and says so in these words.
fn fails(url: &str, mut relay: serde_json::Value, words: &[&str]) {
    // It would wait for ever for a server that changes its mind.
    relay["startTimeout"] = "1ms".into();
    let Err(log) = Gateway::try_start(&config(url, relay)) else { panic!("it started") };
    let said = log.lines().find(|line| line.starts_with("push-gateway: ")).unwrap_or_default();
    println!("{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{log}");
    }
}

#[tokio::test]
async fn a_user_and_its_password() {
    let nats = Nats::start(1, "authorization: { user: gateway, password: open }\n");
    works(&nats.url(), json!({"user": "gateway", "password": "open"})).await;
    let wrong = json!({"user": "gateway", "password": "shut"});
    fails(&nats.url(), wrong, &["doesn't let the gateway in", "`relay.password`"]);
    fails(&nats.url(), json!({}), &["wants a login", "`relay.credentials`"]);
}

#[tokio::test]
async fn a_token() {
    let nats = Nats::start(1, "authorization: { token: open }\n");
    works(&nats.url(), json!({"token": "open"})).await;
    fails(&nats.url(), json!({"token": "shut"}), &["refuses `relay.token`"]);
}

#[tokio::test]
async fn an_nkey() {
    let secrets = Secrets::default();
    let key = KeyPair::new_user();
    let users = format!("authorization: {{ users: [ {{ nkey: {} }} ] }}\n", key.public_key());
    let nats = Nats::start(1, &users);
    // As `nk -gen user` writes it.
    let seed = secrets.write("right.nk", &format!("{}\n", key.seed().unwrap()));
    works(&nats.url(), json!({"nkey": seed})).await;
    let other = secrets.write("other.nk", &KeyPair::new_user().seed().unwrap());
    fails(&nats.url(), json!({"nkey": other}), &["doesn't know the nkey", "`relay.nkey`"]);
    let text = secrets.write("text.nk", "not a seed");
    fails(&nats.url(), json!({"nkey": text}), &["`relay.nkey` takes a seed"]);
    let nothing = secrets.path("nothing.nk");
    fails(&nats.url(), json!({"nkey": nothing}), &["can't read", "nothing.nk", "`relay.nkey`"]);
}

#[tokio::test]
async fn credentials_of_an_operators_account() {
    let secrets = Secrets::default();
    let operator = Operator::default();
    let nats = Nats::start(1, &operator.config());
    let file = secrets.write("gateway.creds", &operator.credentials());
    works(&nats.url(), json!({"credentials": file})).await;
    let stranger = secrets.write("stranger.creds", &Operator::default().credentials());
    fails(&nats.url(), json!({"credentials": stranger}), &["refuses", "`relay.credentials`"]);
    let text = secrets.write("text.creds", "nothing of the kind");
    fails(&nats.url(), json!({"credentials": text}), &["text.creds", "`relay.credentials`"]);
}

#[tokio::test]
async fn tls_with_an_authority_of_our_own() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let (cert, key) = authority.sign("server");
    let nats = Nats::start(1, &format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}\n"));
    works(&nats.url(), json!({"tls": {"ca": authority.certificate()}})).await;
    works(&nats.url().replace("nats:", "tls:"), json!({"tls": {"ca": authority.certificate()}}))
        .await;
    let other = secrets.authority("other").certificate();
    fails(&nats.url(), json!({"tls": {"ca": other}}), &["TLS", "set `relay.tls.ca`"]);
    // The server wants TLS, and nothing says whom to trust.
    fails(&nats.url(), json!({}), &["TLS", "set `relay.tls.ca`"]);
    let named = nats.url().replace("127.0.0.1", "localhost");
    let trusting = json!({"tls": {"ca": authority.certificate()}});
    fails(&named, trusting, &["TLS", "write the name", "`relay.url`"]);
    let nothing = secrets.path("nothing.crt");
    fails(&nats.url(), json!({"tls": {"ca": nothing}}), &["nothing.crt", "`relay.tls.ca`"]);
    let plain = Nats::single();
    let trusting = json!({"tls": {"ca": authority.certificate()}});
    fails(&plain.url(), trusting, &["doesn't speak TLS", "remove `relay.tls`"]);
}

#[tokio::test]
async fn mutual_tls() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let (cert, key) = authority.sign("server");
    let ca = authority.certificate();
    let nats = Nats::start(
        1,
        &format!(
            "tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true }}\n"
        ),
    );
    let (cert, key) = authority.sign("gateway");
    works(&nats.url(), json!({"tls": {"ca": ca, "cert": cert, "key": key}})).await;
    fails(
        &nats.url(),
        json!({"tls": {"ca": ca}}),
        &["TLS", "`relay.tls.cert` and `relay.tls.key`"],
    );
    let (cert, key) = secrets.authority("other").sign("stranger");
    let strange = json!({"tls": {"ca": ca, "cert": cert, "key": key}});
    fails(&nats.url(), strange, &["TLS", "doesn't take the gateway's certificate"]);
}

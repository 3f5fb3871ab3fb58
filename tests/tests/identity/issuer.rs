//! An issuer that publishes its keys, rotates them, and fails.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tests::api::say;
use tests::patience::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A key pair of the issuer.
struct Key {
    kid: &'static str,
    key: EncodingKey,
}

/// What it answers: a status and a body.
#[derive(Clone, Default)]
struct Issuer {
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<u32>>,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        Self { kid, key: EncodingKey::from_ed_der(pair.as_ref()) }
    }

    fn token(&self) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let claims = json!({
            "sub": "ann", "exp": now() + 3600,
            "channels": [{"match": "room", "can": ["subscribe"]}],
        });
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

impl Issuer {
    /// The address of its key set.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let issuer = self.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let _ = socket.read(&mut head).await;
                *issuer.asked.lock().unwrap() += 1;
                let (status, body) = issuer.answer.lock().unwrap().clone();
                let text = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(text.as_bytes()).await;
            }
        });
        url
    }

    /// Publishes these keys.
    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                let mut jwk = Jwk::from_encoding_key(&key.key, Algorithm::EdDSA).unwrap();
                jwk.common.key_id = Some(key.kid.to_owned());
                jwk
            })
            .collect();
        *self.answer.lock().unwrap() = (200, json!({"keys": keys}).to_string());
    }

    fn fail(&self) {
        *self.answer.lock().unwrap() = (500, "no".to_owned());
    }
}

#[tokio::test]
async fn keys_rotate_and_an_outage_keeps_the_known_ones_working() {
    let issuer = Issuer::default();
    let url = issuer.start().await;
    let [first, second, third] = ["first", "second", "third"].map(Key::new);
    issuer.publish(&[&first]);
    let gateway = Gateway::start(&format!("auth: {{jwt: {{jwksUrl: '{url}'}}}}\n"));
    let mut early = Client::connect(&gateway, Way::Websocket, &first.token()).await.unwrap();
    for way in WAYS {
        Client::connect(&gateway, way, &first.token()).await.unwrap();
    }
    assert_eq!(*issuer.asked.lock().unwrap(), 1, "kept, not asked for anew");
    // A new key works at once; the one that was withdrawn doesn't any more.
    issuer.publish(&[&second]);
    for way in WAYS {
        Client::connect(&gateway, way, &second.token()).await.unwrap();
    }
    // (It may have been asked for a new one just now: then first it says that
    // it can't know yet.)
    let url = format!("{}/sse?channel=room&token={}", gateway.client(), first.token());
    eventually("the withdrawn key to be refused", || async {
        let reply = Sse::open(&url, &ANYTHING).await.err().unwrap();
        matches!(reply.json()["code"].as_str(), Some("unauthorized"))
    })
    .await;
    // Who is in stays in.
    say(&gateway, "room", 1).await;
    assert_eq!(early.publication().await, 1);
    issuer.fail();
    for way in WAYS {
        Client::connect(&gateway, way, &second.token()).await.unwrap();
    }
    // Of a key that isn't known nobody can say anything now: the client is
    // to try again.
    let url = format!("{}/sse?channel=room&token={}", gateway.client(), third.token());
    let reply = Sse::open(&url, &ANYTHING).await.err().unwrap();
    assert_eq!((reply.status, reply.json()["code"].as_str()), (503, Some("unavailable")));
    assert_eq!(reply.json()["retry"], true);
}

#[tokio::test]
async fn without_any_key_nobody_is_let_in() {
    let issuer = Issuer::default();
    issuer.fail();
    let url = issuer.start().await;
    let key = Key::new("only");
    let gateway = Gateway::start(&format!("auth: {{jwt: {{jwksUrl: '{url}'}}}}\n"));
    let stream = format!("{}/sse?channel=room&token={}", gateway.client(), key.token());
    let reply = Sse::open(&stream, &ANYTHING).await.err().unwrap();
    assert_eq!((reply.status, reply.json()["code"].as_str()), (503, Some("unavailable")));
    issuer.publish(&[&key]);
    eventually("the keys are there", || async { Sse::open(&stream, &ANYTHING).await.is_ok() })
        .await;
}

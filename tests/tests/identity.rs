//! Who a client is, for how long, and what happens when that ends: tokens
//! that expire or are revoked, issuers whose keys change, over every
//! protocol.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use tests::Gateway;
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::sse::{ANYTHING, Sse};
use tests::token::{SECRET, mint, now};

#[path = "identity/callouts.rs"]
mod callouts;
#[path = "identity/expiry.rs"]
mod expiry;
#[path = "identity/issuer.rs"]
mod issuer;
#[path = "identity/logs.rs"]
mod logs;
#[path = "identity/revoked.rs"]
mod revoked;

/// The ways in which a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    SocketIo(Transport),
    Websocket,
    Sse,
}

/// A client that is connected.
enum Client {
    SocketIo(Box<Socket>),
    Websocket(Box<Plain>),
    Sse(Box<Sse>),
}

const WAYS: [Way; 4] = [
    Way::SocketIo(Transport::Polling),
    Way::SocketIo(Transport::WebSocket),
    Way::Websocket,
    Way::Sse,
];

/// A section `auth` in which `exp` is kept to the second.
fn exact() -> String {
    format!("auth: {{jwt: {{secret: {SECRET}, leeway: 0s}}}}\n")
}

/// A token of `ann` that may subscribe these, with more claims.
fn token(channels: &[&str], more: &Value) -> String {
    let grants: Vec<_> =
        channels.iter().map(|c| json!({"match": c, "can": ["subscribe", "publish"]})).collect();
    let mut claims = json!({"sub": "ann", "exp": now() + 3600, "channels": grants});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    mint(&claims)
}

impl Client {
    /// Connects with a token, subscribed to `room`; the error's code when it
    /// is refused.
    async fn connect(gateway: &Gateway, way: Way, token: &str) -> Result<Self, String> {
        let code = |error: &Value| error["code"].as_str().unwrap_or_default().to_owned();
        match way {
            Way::SocketIo(transport) => {
                let auth = json!({"token": token});
                match Socket::join(gateway, transport, "/", Some(&auth)).await {
                    Ok(mut socket) => {
                        socket.subscribe("room").await;
                        Ok(Self::SocketIo(Box::new(socket)))
                    }
                    Err(error) => Err(code(&error["data"])),
                }
            }
            Way::Websocket => {
                let mut plain = Plain::try_connect(gateway, None).await.unwrap();
                let connect = json!({"connect": {"token": token}}).to_string();
                plain.socket().send(&connect).await;
                let answer: Value = serde_json::from_str(&plain.socket().text().await).unwrap();
                if let Some(error) = answer.get("error") {
                    let end = plain.socket().closed().await.expect("a close frame");
                    assert_eq!(end, (4401, code(error)), "{answer}");
                    return Err(code(error));
                }
                plain.call("subscribe", &json!({"channel": "room"})).await.unwrap();
                Ok(Self::Websocket(Box::new(plain)))
            }
            Way::Sse => {
                let url = format!("{}/sse?channel=room&token={token}", gateway.client());
                match Sse::open(&url, &ANYTHING).await {
                    Ok(sse) => Ok(Self::Sse(Box::new(sse))),
                    Err(reply) => {
                        assert_eq!(reply.status, 401, "{}", reply.text());
                        Err(code(&reply.json()))
                    }
                }
            }
        }
    }

    /// The data of the next notice of this name.
    async fn notice(&mut self, name: &str) -> Value {
        match self {
            Self::SocketIo(socket) => socket.notice(name).await,
            Self::Websocket(plain) => plain.notice(name).await,
            Self::Sse(sse) => loop {
                let block = sse.event().await;
                if block.event.as_deref() == Some(name) {
                    return block.json();
                }
            },
        }
    }

    /// The data of the next publication.
    async fn publication(&mut self) -> Value {
        match self {
            Self::SocketIo(socket) => socket.app_event().await.args[0].clone(),
            Self::Websocket(plain) => plain.publication().await["data"].clone(),
            Self::Sse(sse) => loop {
                let block = sse.event().await;
                if !block.event.as_deref().unwrap_or_default().starts_with("push:") {
                    return block.json()["data"].clone();
                }
            },
        }
    }

    /// Waits for its end, which says this code where it can.
    async fn ended(&mut self, code: &str) {
        let told = self.notice("push:error").await;
        assert_eq!(told["code"], code, "{told}");
        assert_eq!(told["retry"], false, "{told}");
        match self {
            Self::SocketIo(socket) => socket.closed().await,
            Self::Websocket(plain) => {
                let end = plain.socket().closed().await;
                assert_eq!(end, Some((4401, code.to_owned())));
            }
            Self::Sse(sse) => while sse.block().await.is_some() {},
        }
    }
}

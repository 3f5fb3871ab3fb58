//! What the API says of, and does on, every gateway.

use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::token::{AUTH, grants};

use super::*;

/// Answers with status 200.
async fn done(gateway: &Gateway, call_: &str, body: &Value) -> Value {
    let answer = call(gateway, None, &format!("/v1/users/ann%7C1/{call_}"), body).await;
    assert_eq!(answer.status, 200, "{call_} {body}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_user_is_found_and_commanded_on_every_gateway() {
    let cluster = Cluster::start(AUTH).await;
    let [a, b, c] = &cluster.gateways[..] else { panic!("three gateways") };
    let token = grants("ann|1", &json!([{"match": "own.>", "can": ["subscribe"]}]));
    let auth = json!({ "token": token });
    let mut polling = Socket::join(a, Transport::Polling, "/", Some(&auth)).await.unwrap();
    let mut socket = Socket::join(b, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    let mut plain = Plain::try_connect(c, Some(&token)).await.unwrap();
    let other = json!({ "token": grants("bob", &json!([])) });
    let mut bob = Socket::join(b, Transport::WebSocket, "/", Some(&other)).await.unwrap();
    let found = read(a, None, "/v1/users/ann%7C1").await.json();
    let sessions = found["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3, "{found}");
    let mut ids = Vec::new();
    for gateway in [a, b, c] {
        ids.push(status(gateway).await["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    let gateways: Vec<_> =
        sessions.iter().map(|session| session["gateway"].as_str().unwrap()).collect();
    assert_eq!(gateways, ids);
    assert!(sessions.iter().any(|session| session["id"] == socket.sid()), "{found}");
    // Whatever the token grants.
    let channel = json!({"channel": "granted.by.api"});
    assert_eq!(done(b, "subscribe", &channel).await, json!({"sessions": 3}));
    assert_eq!(done(c, "subscribe", &channel).await, json!({"sessions": 0}), "nothing twice");
    let counted = read(c, None, "/v1/channels/granted.by.api").await.json();
    assert_eq!(counted["subscribers"], 3, "{counted}");
    let listed = read(a, None, "/v1/channels?match=granted.>").await.json();
    let expected = json!({"channels": [
        {"channel": "granted.by.api", "subscribers": 3, "history": false}
    ]});
    assert_eq!(listed, expected);
    say(a, "granted.by.api", 7).await;
    assert_eq!(polling.app_event().await.args[0], 7);
    assert_eq!(socket.app_event().await.args[0], 7);
    assert_eq!(plain.publication().await["data"], 7);
    assert_eq!(done(a, "unsubscribe", &channel).await, json!({"sessions": 3}));
    let told = socket.event().await;
    assert_eq!((&*told.name, &told.args[0]), ("push:unsubscribed", &channel));
    // For good: what a Socket.IO client must read to stay away.
    assert_eq!(done(c, "disconnect", &json!({"reconnect": false})).await, json!({"sessions": 3}));
    socket.closed().await;
    polling.closed().await;
    let (code, _) = plain.socket().closed().await.unwrap();
    assert_eq!(code, 4403);
    let credentials = socket.credentials();
    let mut again = json!({ "token": token });
    again["pid"] = credentials["pid"].clone();
    let fresh = Socket::join(a, Transport::WebSocket, "/", Some(&again)).await.unwrap();
    assert_ne!(fresh.sid(), socket.sid(), "nothing was kept");
    assert_eq!(done(c, "disconnect", &json!({})).await, json!({"sessions": 1}));
    // Others are not touched.
    say(c, "$user.bob", 1).await;
    assert_eq!(bob.app_event().await.args[0], 1);
}

#[tokio::test]
async fn who_does_not_answer_is_told() {
    let cluster = Cluster::start("").await;
    let [a, b, c] = &cluster.gateways[..] else { panic!("three gateways") };
    let id = status(c).await["id"].clone();
    let mut socket = Socket::connect(b, Transport::WebSocket).await;
    socket.subscribe("news").await;
    c.signal("STOP");
    let counted = read(a, None, "/v1/channels/news").await.json();
    c.signal("CONT");
    assert_eq!((&counted["subscribers"], &counted["missing"]), (&json!(1), &json!([id])));
}

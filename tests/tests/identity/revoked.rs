//! Tokens and users that an app sends away.

use tests::api::{call, metric};
use tests::nats::Nats;
use tests::patience::eventually;

use super::*;

const KEYS: &str = "
api:
  keys:
  - {name: admin, scopes: [admin, publish], sha256: \"ADMIN\"}
  - {name: narrow, scopes: [admin], channels: [\"$user.>\"], sha256: \"NARROW\"}
  - {name: publisher, scopes: [publish], sha256: \"PUBLISHER\"}
";

/// A gateway's configuration: history, keys, and more.
fn config(more: &str) -> String {
    let hash = tests::token::sha256;
    let keys = KEYS
        .replace("ADMIN", &hash("admin-key"))
        .replace("NARROW", &hash("narrow-key"))
        .replace("PUBLISHER", &hash("publisher-key"));
    format!(
        "{}{keys}channels: [{{match: '>', history: {{maxMessages: 10, maxAge: 1h}}}}]\n{more}",
        exact()
    )
}

/// What an admin's call answers, which must be 200.
async fn done(gateway: &Gateway, path: &str, body: &Value) -> u64 {
    let reply = call(gateway, Some("admin-key"), path, body).await;
    assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text());
    assert_eq!(reply.json().get("missing"), None, "{}", reply.text());
    reply.json()["sessions"].as_u64().unwrap()
}

async fn publish(gateway: &Gateway, data: u64) {
    let body = json!({"channel": "room", "event": "e", "data": data});
    let reply = call(gateway, Some("admin-key"), "/v1/publish", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A Socket.IO client whose session may come back.
async fn away(gateway: &Gateway, token: &str) -> (Value, String) {
    let auth = json!({"token": token});
    let mut socket = Socket::join(gateway, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    socket.subscribe("room").await;
    let (credentials, sid) = (socket.credentials(), socket.sid().to_owned());
    socket.close_engine().await;
    (credentials, sid)
}

/// Comes back with a token: the session's id, or the error's code.
async fn back(gateway: &Gateway, credentials: &Value, token: &str) -> Result<String, String> {
    let mut auth = credentials.clone();
    auth["token"] = json!(token);
    match Socket::join(gateway, Transport::WebSocket, "/", Some(&auth)).await {
        Ok(socket) => Ok(socket.sid().to_owned()),
        Err(error) => Err(error["data"]["code"].as_str().unwrap_or_default().to_owned()),
    }
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions_and_opens_none() {
    let gateway = Gateway::start(&config(""));
    let until = json!({"expires": now() + 3600});
    for (turn, way) in WAYS.into_iter().enumerate() {
        let id = format!("id/{turn}");
        let bad = token(&["room"], &json!({"jti": id}));
        let good = token(&["room"], &json!({"jti": "good"}));
        let mut client = Client::connect(&gateway, way, &bad).await.unwrap();
        let mut other = Client::connect(&gateway, way, &good).await.unwrap();
        let path = format!("/v1/tokens/id%2F{turn}/revoke");
        assert_eq!(done(&gateway, &path, &until).await, 1, "{way:?}");
        client.ended("token_revoked").await;
        let again = Client::connect(&gateway, way, &bad).await.err();
        assert_eq!(again.as_deref(), Some("token_revoked"), "{way:?}");
        publish(&gateway, 1).await;
        assert_eq!(other.publication().await, 1, "{way:?}: the user's other token is good");
        assert_eq!(done(&gateway, &path, &until).await, 0, "{way:?}: nothing twice");
    }
    assert_eq!(metric(&gateway, "push_revocations").await, Some(4.0));
    assert!(metric(&gateway, "push_api_key_uses_total").await.unwrap() >= 12.0);
}

#[tokio::test]
async fn a_session_that_is_away_comes_back_with_a_good_token_only() {
    let gateway = Gateway::start(&config(""));
    let bad = token(&["room"], &json!({"jti": "bad"}));
    let good = token(&["room"], &json!({"jti": "good"}));
    let (credentials, sid) = away(&gateway, &bad).await;
    done(&gateway, "/v1/tokens/bad/revoke", &json!({"expires": now() + 3600})).await;
    let refused = back(&gateway, &credentials, &bad).await;
    assert_eq!(refused, Err("token_revoked".to_owned()));
    assert_eq!(back(&gateway, &credentials, &good).await, Ok(sid));
    // A token that is revoked is no way to renew one either.
    let auth = json!({"token": good});
    let mut socket = Socket::join(&gateway, Transport::Polling, "/", Some(&auth)).await.unwrap();
    let answer = socket.call("push:refresh", &[json!(bad)]).await;
    assert_eq!(answer["error"]["code"], "token_revoked", "{answer}");
}

#[tokio::test]
async fn the_caller_chooses_whether_a_user_may_come_back() {
    let gateway = Gateway::start(&config(""));
    let path = "/v1/users/ann/disconnect";
    let old = token(&["room"], &json!({"iat": now() - 60}));
    // It comes back with the same token, also one that was away.
    let (credentials, sid) = away(&gateway, &old).await;
    assert_eq!(done(&gateway, path, &json!({})).await, 0);
    assert_eq!(back(&gateway, &credentials, &old).await, Ok(sid));
    // With the same token, but not as the same session.
    let (credentials, sid) = away(&gateway, &old).await;
    done(&gateway, path, &json!({"reconnect": false})).await;
    let fresh = back(&gateway, &credentials, &old).await.unwrap();
    assert_ne!(fresh, sid);
    // Sessions that begin later are not concerned.
    let (credentials, sid) = away(&gateway, &old).await;
    assert_eq!(back(&gateway, &credentials, &old).await, Ok(sid));
    // Not with the same token, nor with one that doesn't say how old it is.
    let bob = mint(&json!({
        "sub": "bob", "exp": now() + 60, "channels": [{"match": "room", "can": ["subscribe"]}],
    }));
    let mut clients = Vec::new();
    for way in WAYS {
        clients.push((way, Client::connect(&gateway, way, &old).await.unwrap()));
    }
    let mut other = Client::connect(&gateway, Way::Websocket, &bob).await.unwrap();
    let body = json!({"revokeUntil": now() + 3600});
    assert_eq!(done(&gateway, path, &body).await, 4);
    for (way, client) in &mut clients {
        client.ended("token_revoked").await;
        for refused in [&old, &token(&["room"], &json!({}))] {
            let again = Client::connect(&gateway, *way, refused).await.err();
            assert_eq!(again.as_deref(), Some("token_revoked"), "{way:?}");
        }
        // Issued after it was sent away.
        let new = token(&["room"], &json!({"iat": now() + 2}));
        assert!(Client::connect(&gateway, *way, &new).await.is_ok(), "{way:?}");
    }
    say_all(&gateway, &mut other).await;
    let both = json!({"reconnect": false, "revokeUntil": now() + 3600});
    let mut client =
        Client::connect(&gateway, WAYS[1], &token(&["room"], &json!({"iat": now() + 1})))
            .await
            .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    done(&gateway, path, &both).await;
    let Client::SocketIo(socket) = &mut client else { panic!("Socket.IO") };
    socket.closed().await;
}

async fn say_all(gateway: &Gateway, other: &mut Client) {
    publish(gateway, 7).await;
    assert_eq!(other.publication().await, 7, "another user is not concerned");
}

#[tokio::test]
async fn a_revocation_says_what_is_wrong_with_it() {
    let gateway = Gateway::start(&config("limits: {revocations: 2}\n"));
    let revoke = "/v1/tokens/t1/revoke";
    let disconnect = "/v1/users/ann/disconnect";
    let good = json!({"expires": now() + 60});
    let long = format!("/v1/tokens/{}/revoke", "x".repeat(257));
    let table = [
        (Some("admin-key"), revoke, json!({}), 400, "expires"),
        (Some("admin-key"), revoke, json!({"expires": "tomorrow"}), 400, "expires"),
        (Some("admin-key"), revoke, json!({"expires": now() - 3600}), 400, "expires"),
        (Some("admin-key"), revoke, json!({"expires": (now() + 60) * 1000}), 400, "expires"),
        (Some("admin-key"), revoke, json!({"expires": now() + 60, "jti": "t1"}), 400, "jti"),
        (Some("admin-key"), disconnect, json!({"revokeUntil": 1}), 400, "revokeUntil"),
        (Some("admin-key"), disconnect, json!({"revoke_until": now() + 60}), 400, "revoke_until"),
        (Some("admin-key"), long.as_str(), good.clone(), 400, "token"),
        (None, revoke, good.clone(), 401, ""),
        (Some("publisher-key"), revoke, good.clone(), 403, ""),
        // It may touch users, but a token is more than one user's channel.
        (Some("narrow-key"), revoke, good.clone(), 403, ""),
        (Some("narrow-key"), disconnect, json!({"reconnect": true}), 200, ""),
        (Some("admin-key"), revoke, good.clone(), 200, ""),
        (Some("admin-key"), "/v1/tokens/t2/revoke", good.clone(), 200, ""),
        (Some("admin-key"), "/v1/tokens/t3/revoke", good.clone(), 503, ""),
    ];
    for (key, path, body, status, word) in table {
        let reply = call(&gateway, key, path, &body).await;
        assert_eq!(reply.status, status, "{key:?} {path} {body}: {}", reply.text());
        assert!(reply.text().contains(word), "{path} {body}: {}", reply.text());
    }
}

#[tokio::test]
async fn every_gateway_follows_also_one_that_starts_later() {
    let nats = Nats::single();
    let peer = format!(
        "peer: {{listen: '127.0.0.1:0', secret: a-secret-between-the-gateways-of-a-suite}}\n\
         relay: {{url: '{}'}}\n",
        nats.url()
    );
    let config = config(&peer);
    let gateways = [Gateway::start(&config), Gateway::start(&config)];
    for gateway in &gateways {
        gateway.ready().await;
    }
    for gateway in &gateways {
        eventually("they know each other", || async {
            metric(gateway, "push_peers").await == Some(1.0)
        })
        .await;
    }
    let [one, two] = &gateways;
    let bad = token(&["room"], &json!({"jti": "bad"}));
    let old = token(&["room"], &json!({"jti": "old", "sub": "eve", "iat": now() - 60}));
    let mut clients = Vec::new();
    for way in WAYS {
        for gateway in [one, two] {
            clients.push(Client::connect(gateway, way, &bad).await.unwrap());
        }
    }
    let (credentials, _) = away(two, &old).await;
    let until = json!({"expires": now() + 3600});
    assert_eq!(done(one, "/v1/tokens/bad/revoke", &until).await, 8);
    for client in &mut clients {
        client.ended("token_revoked").await;
    }
    let body = json!({"reconnect": false, "revokeUntil": now() + 3600});
    done(one, "/v1/users/eve/disconnect", &body).await;
    let late = Gateway::start(&config);
    late.ready().await;
    for gateway in [one, two, &late] {
        for token in [&bad, &old] {
            let again = Client::connect(gateway, Way::Sse, token).await.err();
            assert_eq!(again.as_deref(), Some("token_revoked"));
        }
        assert_eq!(back(gateway, &credentials, &old).await, Err("token_revoked".to_owned()));
    }
    // NATS forgets it by itself when its time is over; until then it is there.
    let client = async_nats::connect(nats.url()).await.unwrap();
    let ask = json!({"subjects_filter": "$KV.PUSH_push_sessions.r.>"}).to_string();
    let subject = "$JS.API.STREAM.INFO.KV_PUSH_push_sessions";
    let info = client.request(subject, ask.into()).await.unwrap();
    let info: Value = serde_json::from_slice(&info.payload).unwrap();
    let keys = info["state"]["subjects"].as_object().unwrap();
    assert_eq!(keys.len(), 3, "{info}");
    assert!(keys.keys().all(|key| !key.contains("eve") && !key.contains("bad")), "{info}");
}

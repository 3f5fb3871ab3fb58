//! What is secret stands in no log and comes back in no error, whatever
//! clients and apps do; and one user's doings can be watched.

use std::sync::Mutex;

use tests::api::{call, read};
use tests::http::{get, raw, request, send};
use tests::nats::Nats;
use tests::patience::eventually;
use tests::websocket::{Frame, WebSocket};

use super::*;

/// In every text that must not show up again.
const MARK: &str = "s3cr3t-m4rk";

/// Everything that errors say, to be looked through.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Said {
    fn note(&self, what: &dyn std::fmt::Display) {
        self.0.lock().unwrap().push(what.to_string());
    }
}

/// A text that must not show up again.
fn mark(what: &str) -> String {
    format!("{MARK}-{what}")
}

fn config(nats: &Nats) -> String {
    let hash = tests::token::sha256(&mark("key"));
    format!(
        "log: {{level: debug}}\n\
         peer: {{secret: {MARK}-secret-between-the-gateways}}\n\
         relay: {{url: '{}', user: push, password: {MARK}-password}}\n\
         auth: {{jwt: {{secret: {MARK}-that-is-long-enough-for-hs256}}, callout: {{subscribe: [{{match: 'ask.>', timeout: 200ms}}]}}}}\n\
         api: {{keys: [{{name: shop, sha256: {hash}, scopes: [publish, read, admin]}}]}}\n\
         channels: [{{match: 'room.>', history: {{maxMessages: 10, maxAge: 1h}}}}]\n",
        nats.url()
    )
}

/// A token whose claims are secret, too.
fn marked(id: &str) -> String {
    let claims = json!({
        "sub": "ann", "exp": now() + 3600, "jti": id, "meta": {"note": mark("meta")},
        "channels": [{"match": "room.>", "can": ["subscribe", "publish", "history"]}],
    });
    let secret = format!("{MARK}-that-is-long-enough-for-hs256");
    tests::token::mint_with(&claims, &secret, jsonwebtoken::Algorithm::HS256)
}

#[tokio::test]
async fn no_token_key_or_payload_is_in_a_log_or_an_error() {
    let nats =
        Nats::start(1, &format!("authorization {{ user: push, password: {MARK}-password }}\n"));
    let gateway = Gateway::start(&config(&nats));
    gateway.ready().await;
    let key = mark("key");
    let said = Said::default();
    let watch = call(&gateway, Some(&key), "/v1/users/ann/debug", &json!({"seconds": 600})).await;
    assert_eq!(watch.status, 200, "{}", watch.text());
    let tokens: Vec<_> = (0..6).map(|number| marked(&format!("t{number}"))).collect();
    socketio(&gateway, &tokens, &said).await;
    websocket(&gateway, &tokens, &said).await;
    streams(&gateway, &tokens, &said).await;
    apps(&gateway, &key, &said).await;
    broken(&gateway, &tokens, &said).await;
    reloads(&gateway).await;
    let log = gateway.log();
    assert!(log.contains("DEBUG"), "it says much: {log}");
    for what in [
        "a watched user connects",
        "a watched user subscribes",
        "a watched user subscribes, and is refused",
        "a watched user publishes, and is refused",
        "a watched user refreshes its token",
        "a watched user is refused",
        "a watched user is disconnected",
        "code=\"forbidden\"",
        "token_revoked",
    ] {
        assert!(log.contains(what), "{what}: {log}");
    }
    let mut texts = said.0.into_inner().unwrap();
    assert!(texts.len() > 40, "{}", texts.len());
    texts.push(log);
    let parts: Vec<_> = tokens.iter().flat_map(|token| token.split('.').skip(1)).collect();
    texts.retain(|text| text.contains(MARK) || parts.iter().any(|part| text.contains(part)));
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}

async fn socketio(gateway: &Gateway, tokens: &[String], said: &Said) {
    for transport in Transport::ALL {
        for bad in [json!(mark("token")), json!([mark("token")]), json!({"a": mark("token")})] {
            let auth = json!({ "token": bad });
            said.note(&Socket::join(gateway, transport, "/", Some(&auth)).await.err().unwrap());
        }
        let query = format!("&token={}", mark("token"));
        said.note(&Socket::join_at(gateway, transport, "/", None, &query).await.err().unwrap());
        let query = format!("&token={}", tokens[0]);
        let mut socket = Socket::join_at(gateway, transport, "/", None, &query).await.unwrap();
        socket.subscribe("room.a").await;
        let data = json!({"channel": "room.a", "event": "e", "data": mark("payload")});
        assert_eq!(socket.call("push:publish", &[data]).await["ok"], true);
        assert_eq!(socket.app_event().await.args[0], mark("payload"));
        let wrong = [
            ("push:publish", json!({"channel": "other", "data": mark("payload")})),
            ("push:publish", json!({"channel": "room.a", "date": mark("payload")})),
            ("push:publish", json!(mark("payload"))),
            ("push:subscribe", json!("ask.app")),
            ("push:subscribe", json!({"channel": "room.a", "since": mark("not.an.offset")})),
            ("push:subscribe", json!({"channel": "room.a", "last": mark("number")})),
            ("push:subscribe", json!("other")),
            ("push:history", json!({"channel": "room.a", "order": mark("order")})),
            ("push:history", json!(mark("history"))),
            ("push:refresh", json!({"token": mark("token")})),
            ("push:refresh", json!(mark("token"))),
            ("push:refresh", json!(7)),
            ("app", json!({"password": mark("payload")})),
        ];
        for (event, argument) in wrong {
            let answer = socket.call(event, &[argument]).await;
            assert!(answer.get("error").is_some(), "{event}: {answer}");
            said.note(&answer);
        }
        let done = socket.call("push:refresh", &[json!(tokens[1])]).await;
        assert_eq!(done["ok"], true);
        socket.send_raw(&format!("9{}", mark("packet"))).await;
        socket.closed().await;
    }
}

async fn websocket(gateway: &Gateway, tokens: &[String], said: &Said) {
    let url = format!("{}/ws", gateway.client_ws());
    let bearer = format!("Bearer {}", mark("token"));
    let bad_query = format!("{url}?token={}", mark("token"));
    for (url, headers) in [(&url, vec![("authorization", &*bearer)]), (&bad_query, vec![])] {
        let mut socket = WebSocket::try_connect(url, &headers).await.unwrap();
        said.note(&socket.text().await);
        said.note(&format!("{:?}", socket.closed().await));
    }
    let good = format!("{url}?token={}", tokens[2]);
    let mut plain = Plain::over(WebSocket::connect(&good).await);
    let wrong = [
        ("refresh", json!(mark("token"))),
        ("refresh", json!([mark("token")])),
        ("refresh", json!({"token": [mark("token")]})),
        ("refresh", json!({"token": mark("token")})),
        ("connect", json!({"token": mark("token")})),
        ("publish", json!({"channel": "other", "data": mark("payload")})),
        ("publish", json!(mark("payload"))),
        ("subscribe", json!({"channel": "room.a", "since": mark("not.an.offset")})),
        ("subscribe", json!({"channel": "room.a", "last": mark("number")})),
        ("history", json!({"channel": "room.a", "order": mark("order")})),
    ];
    for (command, arguments) in wrong {
        said.note(&plain.call(command, &arguments).await.unwrap_err());
    }
    for text in [mark("frame"), format!("{{\"id\":1,\"subscribe\":{}", mark("frame"))] {
        plain.socket().send(&text).await;
        said.note(&plain.socket().text().await);
    }
    plain.socket().send_binary(mark("frame").as_bytes()).await;
    loop {
        let frame = plain.socket().next().await;
        said.note(&format!("{frame:?}"));
        if matches!(frame, Frame::Closed(_)) {
            break;
        }
    }
}

async fn streams(gateway: &Gateway, tokens: &[String], said: &Said) {
    let url = |query: &str| format!("{}/sse?channel=room.a&{query}", gateway.client());
    for query in [
        format!("token={}", mark("token")),
        format!("token={}&since={}", tokens[3], mark("not.an.offset")),
        format!("token={}&last={}", tokens[3], mark("number")),
        format!("token={}&channel=other", tokens[3]),
    ] {
        said.note(&Sse::open(&url(&query), &[]).await.err().unwrap().text());
    }
    drop(Sse::open(&url(&format!("token={}", tokens[3])), &[]).await.unwrap());
}

async fn apps(gateway: &Gateway, key: &str, said: &Said) {
    let wrong = mark("wrong-key");
    let publish = json!({"channel": "room.a", "event": "e", "data": mark("payload")});
    assert_eq!(call(gateway, Some(key), "/v1/publish", &publish).await.status, 200);
    said.note(&call(gateway, Some(&wrong), "/v1/publish", &publish).await.text());
    let header = request("GET", &format!("{}/v1/channels", gateway.api()));
    said.note(&send(header.header("x-api-key", &wrong)).await.text());
    let bodies = [
        json!(mark("payload")),
        json!({"channel": [mark("payload")]}),
        json!({"channel": "room.a", "data": 1, "args": mark("payload")}),
        json!({"channel": "room.a", "event": "connect", "data": mark("payload")}),
    ];
    for body in bodies {
        let reply = call(gateway, Some(key), "/v1/publish", &body).await;
        assert_ne!(reply.status, 200, "{body}");
        said.note(&reply.text());
    }
    let broken = request("POST", &format!("{}/v1/publish", gateway.api()))
        .bearer_auth(key)
        .header("content-type", "application/json")
        .body(format!("{{\"data\":\"{}", mark("payload")));
    said.note(&send(broken).await.text());
    // What is allowed to be read is read, and only there.
    let history = read(gateway, Some(key), "/v1/channels/room.a/history").await;
    assert!(history.text().contains(&mark("payload")));
    let revoke = json!({"expires": now() + 3600});
    assert_eq!(call(gateway, Some(key), "/v1/tokens/t4/revoke", &revoke).await.status, 200);
    let bad = json!({"expires": mark("time")});
    said.note(&call(gateway, Some(key), "/v1/tokens/t4/revoke", &bad).await.text());
    let disconnect = json!({"reconnect": mark("no")});
    said.note(&call(gateway, Some(key), "/v1/users/ann/disconnect", &disconnect).await.text());
}

async fn broken(gateway: &Gateway, tokens: &[String], said: &Said) {
    // Revoked by an app just now.
    said.note(&Client::connect(gateway, Way::Sse, &tokens[4]).await.err().unwrap());
    let client = gateway.client();
    said.note(&get(&format!("{client}/else?token={}", mark("token"))).await.text());
    said.note(&get(&format!("{client}/socket.io/?EIO=9&token={}", mark("token"))).await.text());
    let url = format!("{client}/socket.io/?EIO=4&transport=polling&sid={}", mark("sid"));
    said.note(&get(&url).await.text());
    said.note(&get(&format!("{}/else?token={}", gateway.admin(), mark("token"))).await.text());
    for bytes in [
        format!("GET /ws?token={} HTTP/1.1\r\nno header\r\n\r\n", mark("token")),
        format!("{} {}\r\n\r\n", mark("garbage"), mark("garbage")),
        format!("GET /sse HTTP/1.1\r\nauthorization: Bearer {}", "x".repeat(40_000)),
    ] {
        let answer = raw(gateway.client_address(), bytes.as_bytes(), true).await;
        said.note(&String::from_utf8_lossy(&answer));
    }
}

/// Configurations that are refused while it runs.
async fn reloads(gateway: &Gateway) {
    let file = gateway.config_file();
    let before = std::fs::read_to_string(file).unwrap();
    let wrong = [
        before.replace("password: ", "password: [1], passwort: "),
        before.replace("sha256: ", &format!("sha256: {MARK}")),
        format!("{before}auth: {{jwt: {{secret: [{MARK}]}}}}\n"),
    ];
    for (turn, text) in wrong.into_iter().enumerate() {
        std::fs::write(file, text).unwrap();
        eventually("the file to be refused", || async {
            gateway.log().matches("the new configuration is refused").count() > turn
        })
        .await;
    }
    std::fs::write(file, before).unwrap();
}

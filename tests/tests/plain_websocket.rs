//! `/ws`: the plain WebSocket protocol.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use tests::Gateway;
use tests::api::{publish, say};
use tests::http::get;
use tests::plain::Plain;
use tests::token::{AUTH, SECRET, grants, mint, mint_with, now};
use tests::websocket::{Frame, WebSocket};

const CONFIG: &str = "channels: [{match: \"log.>\", history: {maxMessages: 100, maxAge: 1h}}]";

#[tokio::test]
async fn what_is_published_arrives() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    let ok = client.call("subscribe", &json!({"channel": "news"})).await.unwrap();
    assert_eq!((ok.get("offset"), &ok["channel"]), (None, &json!("news")), "{ok}");
    publish(&gateway, &json!({"channel": "news", "event": "head", "data": {"a": 1}})).await;
    let expected = json!({"channel": "news", "event": "head", "data": {"a": 1}});
    assert_eq!(client.publication().await, expected);
}

#[tokio::test]
async fn history_channels_have_offsets() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    let ok = client.call("subscribe", &json!({"channel": "log.a"})).await.unwrap();
    assert!(ok["offset"].is_string(), "{ok}");
    let offset = say(&gateway, "log.a", "text").await.unwrap();
    let expected = json!({"channel": "log.a", "event": "e", "data": "text", "offset": offset});
    assert_eq!(client.publication().await, expected);
}

#[tokio::test]
async fn args_and_binary_data_have_their_forms() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    client.call("subscribe", &json!({"channel": "news"})).await.unwrap();
    publish(&gateway, &json!({"channel": "news", "event": "e", "args": [1, "b"]})).await;
    publish(&gateway, &json!({"channel": "news", "event": "e", "data": {"base64": "AQID"}})).await;
    assert_eq!(client.publication().await["args"], json!([1, "b"]));
    assert_eq!(client.publication().await["data"], json!({"base64": "AQID"}));
}

#[tokio::test]
async fn clients_publish_to_each_other() {
    let gateway = Gateway::start(CONFIG);
    let mut reader = Plain::connect(&gateway).await;
    let mut writer = Plain::connect(&gateway).await;
    reader.call("subscribe", &json!({"channel": "chat"})).await.unwrap();
    let message = json!({"channel": "chat", "event": "said", "data": "hello"});
    writer.call("publish", &message).await.unwrap();
    assert_eq!(reader.publication().await, message);
    let bytes = json!({"channel": "chat", "event": "said", "data": {"base64": "/w=="}});
    writer.call("publish", &bytes).await.unwrap();
    assert_eq!(reader.publication().await, bytes);
}

#[tokio::test]
async fn after_unsubscribe_nothing_arrives() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    for channel in ["news", "other"] {
        client.call("subscribe", &json!({"channel": channel})).await.unwrap();
    }
    client.call("unsubscribe", &json!({"channel": "news"})).await.unwrap();
    say(&gateway, "news", 1).await;
    say(&gateway, "other", 2).await;
    assert_eq!(client.publication().await["data"], 2);
}

#[tokio::test]
async fn a_resumed_subscription_gets_what_it_missed() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    client.call("subscribe", &json!({"channel": "log.a"})).await.unwrap();
    say(&gateway, "log.a", 1).await;
    let offset = client.publication().await["offset"].clone();
    drop(client);
    for number in 2..=4 {
        say(&gateway, "log.a", number).await;
    }
    let mut client = Plain::connect(&gateway).await;
    let ok = client.call("subscribe", &json!({"channel": "log.a", "since": offset})).await.unwrap();
    assert_eq!(ok["recovered"], true, "{ok}");
    say(&gateway, "log.a", 5).await;
    for number in 2..=5 {
        assert_eq!(client.publication().await["data"], number);
    }
}

#[tokio::test]
async fn every_offset_on_the_way_resumes_there() {
    let gateway = Gateway::start(CONFIG);
    for number in 0..6 {
        say(&gateway, if number % 2 == 0 { "log.a" } else { "log.b" }, number).await;
    }
    let mut client = Plain::connect(&gateway).await;
    let last = json!({"channel": "log.a", "last": 3});
    client.call("subscribe", &last).await.unwrap();
    for number in [0, 2, 4] {
        let publication = client.publication().await;
        assert_eq!(publication["data"], number);
        let mut other = Plain::connect(&gateway).await;
        let since = json!({"channel": "log.a", "since": publication["offset"]});
        let ok = other.call("subscribe", &since).await.unwrap();
        assert_eq!(ok["recovered"], true, "{publication} {ok}");
        for number in [0, 2, 4].into_iter().filter(|other| *other > number) {
            assert_eq!(other.publication().await["data"], number);
        }
    }
}

#[tokio::test]
async fn history_can_be_read() {
    let gateway = Gateway::start(CONFIG);
    for number in 1..=5 {
        say(&gateway, "log.h", number).await;
    }
    let mut client = Plain::connect(&gateway).await;
    let ok = client.call("history", &json!({"channel": "log.h", "limit": 2})).await.unwrap();
    assert_eq!(ok["publications"].as_array().map(Vec::len), Some(2), "{ok}");
    assert_eq!(ok["publications"][1]["data"], 2);
}

#[tokio::test]
async fn what_is_wrong_is_named_and_the_connection_stays() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    let cases = [
        ("subscribe", json!({"channel": ""}), "channel_invalid"),
        ("subscribe", json!({"channel": "x".repeat(201)}), "channel_invalid"),
        ("subscribe", json!({}), "bad_request"),
        ("subscribe", json!("news"), "bad_request"),
        ("subscribe", json!({"channel": "log.a", "since": "nonsense"}), "offset_invalid"),
        ("subscribe", json!({"channel": "$all"}), "forbidden"),
        ("publish", json!({"channel": "a", "event": "connect", "data": 1}), "event_reserved"),
        ("publish", json!({"channel": "$user.ann", "data": 1}), "forbidden"),
        ("publish", json!({"data": 1}), "bad_request"),
        ("history", json!({"channel": "log.a", "since": "nonsense"}), "offset_invalid"),
        ("presence", json!({"channel": "news"}), "unavailable"),
        ("nonsense", json!({}), "bad_request"),
    ];
    for (command, argument, code) in cases {
        let error = client.call(command, &argument).await.unwrap_err();
        assert_eq!(error["code"], code, "{command} {argument}: {error}");
        assert!(error["message"].as_str().is_some_and(|words| words.len() > 5), "{error}");
        assert!(error["retry"].is_boolean(), "{error}");
    }
    client.call("subscribe", &json!({"channel": "news"})).await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_gets_an_error_without_an_id() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
    for text in ["", "nonsense", "[]", "7", "{}", "{\"id\":{},\"subscribe\":{\"channel\":\"a\"}}"] {
        socket.send(text).await;
        let answer: Value = serde_json::from_str(&socket.text().await).unwrap();
        assert_eq!(answer["error"]["code"], "bad_request", "{text}: {answer}");
        assert_eq!(answer.get("id"), None, "{text}: {answer}");
    }
    socket.send("{\"id\":\"a-1\",\"subscribe\":{\"channel\":\"news\"}}").await;
    let answer: Value = serde_json::from_str(&socket.text().await).unwrap();
    assert_eq!(answer["id"], "a-1", "an id may be a string: {answer}");
}

#[tokio::test]
async fn a_request_without_an_id_is_answered_without_one() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
    socket.send("{\"subscribe\":{\"channel\":\"news\"}}").await;
    let answer: Value = serde_json::from_str(&socket.text().await).unwrap();
    assert_eq!((answer.get("id"), &answer["ok"]["channel"]), (None, &json!("news")), "{answer}");
    say(&gateway, "news", 1).await;
    let publication: Value = serde_json::from_str(&socket.text().await).unwrap();
    assert_eq!(publication["channel"], "news");
}

#[tokio::test]
async fn binary_messages_are_refused_with_a_close() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
    socket.send_binary(&[1, 2, 3]).await;
    // Either an error or RFC 6455's 1003 (a type of data that isn't accepted).
    match socket.next().await {
        Frame::Text(text) => assert!(text.contains("bad_request"), "{text}"),
        Frame::Closed(Some((code, _))) => assert_eq!(code, 1003),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_over_the_limit_closes() {
    let gateway = Gateway::start("socketio: {maxPayload: 1000}");
    let mut socket = WebSocket::connect(&format!("{}/ws", gateway.client_ws())).await;
    socket.send(&"x".repeat(2000)).await;
    assert_eq!(socket.closed().await.map(|(code, _)| code), Some(1009));
}

#[tokio::test]
async fn without_an_upgrade_it_is_refused() {
    let gateway = Gateway::plain();
    let status = get(&format!("{}/ws", gateway.client())).await.status;
    assert!([400, 405, 426].contains(&status), "{status}");
}

// === tokens ===

#[tokio::test]
async fn a_token_can_come_three_ways() {
    let gateway = Gateway::start(AUTH);
    let token = grants("ann", &json!([{"match": "ann.>", "can": ["subscribe"]}]));
    let url = format!("{}/ws", gateway.client_ws());
    let mut by_query = Plain::try_connect(&gateway, Some(&token)).await.unwrap();
    let header = format!("Bearer {token}");
    let socket = WebSocket::try_connect(&url, &[("authorization", &header)]).await.unwrap();
    let mut by_header = Plain::over(socket);
    let mut by_message = Plain::over(WebSocket::connect(&url).await);
    by_message.call("connect", &json!({"token": token})).await.unwrap();
    for client in [&mut by_query, &mut by_header, &mut by_message] {
        client.call("subscribe", &json!({"channel": "ann.x"})).await.unwrap();
        let error = client.call("subscribe", &json!({"channel": "bob.x"})).await.unwrap_err();
        assert_eq!(error["code"], "forbidden");
    }
    say(&gateway, "ann.x", 1).await;
    for client in [&mut by_query, &mut by_header, &mut by_message] {
        assert_eq!(client.publication().await["data"], 1);
    }
}

/// What a refused connection was told: an HTTP status, or an error and a close.
async fn refusal(gateway: &Gateway, token: &str) -> (u16, String) {
    let mut client = match Plain::try_connect(gateway, Some(token)).await {
        Err(refused) => return (refused.status, refused.body),
        Ok(client) => client,
    };
    let mut words = String::new();
    loop {
        match client.socket().next().await {
            Frame::Text(text) => words.push_str(&text),
            Frame::Binary(bytes) => panic!("{bytes:?}"),
            Frame::Closed(None) => return (0, words),
            Frame::Closed(Some((code, reason))) => return (code, words + &reason),
        }
    }
}

#[tokio::test]
async fn bad_tokens_are_refused() {
    let gateway = Gateway::start(AUTH);
    let valid = json!({"sub": "ann", "exp": now() + 60});
    let algorithm = jsonwebtoken::Algorithm::HS256;
    let cases = [
        ("nonsense", "nonsense".to_owned(), "unauthorized"),
        (
            "another secret",
            mint_with(&valid, "another-secret-altogether", algorithm),
            "unauthorized",
        ),
        ("expired", mint(&json!({"sub": "ann", "exp": now() - 3600})), "token_expired"),
        ("no signature", unsigned(&valid), "unauthorized"),
    ];
    for (what, token, code) in cases {
        let (status, words) = refusal(&gateway, &token).await;
        assert!(status == 401 || (4000..5000).contains(&status), "{what}: {status} {words}");
        assert!(words.contains(code), "{what}: {status} {words}");
        assert!(!words.contains(SECRET));
    }
}

/// A token that says it needs no signature.
fn unsigned(claims: &Value) -> String {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let head = engine.encode(r#"{"alg":"none","typ":"JWT"}"#);
    format!("{head}.{}.", engine.encode(claims.to_string()))
}

#[tokio::test]
async fn refresh_renews_and_never_changes_the_user() {
    let gateway = Gateway::start(AUTH);
    let token = grants("ann", &json!([{"match": "one", "can": ["subscribe"]}]));
    let mut client = Plain::try_connect(&gateway, Some(&token)).await.unwrap();
    let error = client.call("subscribe", &json!({"channel": "two"})).await.unwrap_err();
    assert_eq!(error["code"], "forbidden");
    let more = grants("ann", &json!([{"match": "*", "can": ["subscribe"]}]));
    client.call("refresh", &json!({"token": more})).await.unwrap();
    client.call("subscribe", &json!({"channel": "two"})).await.unwrap();
    let other = grants("bob", &json!([{"match": "*", "can": ["subscribe"]}]));
    let error = client.call("refresh", &json!({"token": other})).await.unwrap_err();
    assert!(error["code"].is_string(), "{error}");
    let error = client.call("refresh", &json!({"token": "nonsense"})).await.unwrap_err();
    assert_eq!(error["code"], "unauthorized");
}

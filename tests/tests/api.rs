//! The HTTP API and the admin listener from outside.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;
use tests::Gateway;
use tests::api::{call, metric, offset_in, publish, read, say, status};
use tests::http::{Reply, get, post, request, send};
use tests::patience::eventually;
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};

const CONFIG: &str = r#"
channels:
- {match: "log.>", history: {maxMessages: 100, maxAge: 1h}}
- {match: "tiny", maxPayload: 100}
"#;

/// Asserts a problem (RFC 9457) with this status and code.
fn assert_problem(reply: &Reply, status: u16, code: &str, what: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert_eq!(reply.header("content-type"), "application/problem+json", "{what}");
    let problem = reply.json();
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{what}");
    for field in ["type", "title", "detail"] {
        assert!(problem[field].as_str().is_some_and(|words| words.len() > 3), "{what}: {problem}");
    }
    assert!(problem["retry"].is_boolean(), "{what}: {problem}");
}

// === publish ===

#[tokio::test]
async fn publish_answers_with_the_offset() {
    let gateway = Gateway::start(CONFIG);
    let answer = publish(&gateway, &json!({"channel": "log.a", "data": 1})).await;
    assert!(answer["offset"].is_string(), "{answer}");
    let answer = publish(&gateway, &json!({"channel": "news", "data": 1})).await;
    assert_eq!(answer.get("offset"), None, "no history, no offset: {answer}");
    let answer = publish(&gateway, &json!({"channels": ["log.a", "news"], "data": 1})).await;
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{answer}");
    assert!(results[0]["channel"] == "log.a" && results[0]["offset"].is_string(), "{answer}");
    assert!(results[1]["channel"] == "news" && results[1].get("offset").is_none(), "{answer}");
}

#[tokio::test]
async fn the_same_id_is_published_once() {
    let gateway = Gateway::start(CONFIG);
    let body = json!({"channel": "log.a", "data": 1, "id": "order-1"});
    let first = publish(&gateway, &body).await;
    let again = publish(&gateway, &body).await;
    assert_eq!(offset_in(&first), offset_in(&again));
    assert_eq!(again["duplicate"], true, "{again}");
    // The id belongs to the channel.
    let other = publish(&gateway, &json!({"channel": "log.b", "data": 1, "id": "order-1"})).await;
    assert_ne!(offset_in(&first), offset_in(&other));
    // Without history nothing can be promised, and that is said.
    let body = json!({"channel": "news", "data": 1, "id": "order-1"});
    assert_eq!(publish(&gateway, &body).await["deduplicated"], false);
    let history = read(&gateway, None, "/v1/channels/log.a/history").await.json();
    assert_eq!(history["publications"].as_array().map(Vec::len), Some(1), "{history}");
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_delivered_only() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    client.call("subscribe", &json!({"channel": "log.a"})).await.unwrap();
    publish(&gateway, &json!({"channel": "log.a", "data": "typing", "store": false})).await;
    assert_eq!(client.publication().await["data"], "typing");
    say(&gateway, "log.a", "said").await;
    assert_eq!(client.publication().await["data"], "said");
    let history = read(&gateway, None, "/v1/channels/log.a/history").await.json();
    assert_eq!(history["publications"].as_array().map(Vec::len), Some(1), "{history}");
}

#[tokio::test]
async fn what_has_a_ttl_leaves_history() {
    let gateway = Gateway::start(CONFIG);
    publish(&gateway, &json!({"channel": "log.a", "data": "short", "ttl": 1})).await;
    publish(&gateway, &json!({"channel": "log.a", "data": "long"})).await;
    eventually("the end of a second", || async {
        let history = read(&gateway, None, "/v1/channels/log.a/history").await.json();
        let publications = history["publications"].as_array().unwrap();
        publications.len() == 1 && publications[0]["data"] == "long"
    })
    .await;
}

#[tokio::test]
async fn a_batch_has_a_result_for_each() {
    let gateway = Gateway::start(CONFIG);
    let body = json!({"publications": [
        {"channel": "log.a", "data": 1},
        {"channel": "", "data": 2},
        {"channel": "news", "data": 3},
        {"channel": "log.a"},
    ]});
    let reply = call(&gateway, None, "/v1/batch", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let results = reply.json()["results"].as_array().unwrap().clone();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(200), Some(400), Some(200), Some(400)], "{}", reply.text());
    assert!(results[0]["offset"].is_string());
    assert_eq!(results[1]["error"]["code"], "channel_invalid", "{}", reply.text());
    assert_eq!(results[3]["error"]["code"], "bad_request", "{}", reply.text());
    let history = read(&gateway, None, "/v1/channels/log.a/history").await.json();
    assert_eq!(history["publications"].as_array().map(Vec::len), Some(1), "{history}");
}

#[tokio::test]
async fn what_is_wrong_with_a_publish_is_named() {
    let gateway = Gateway::start(CONFIG);
    let long = "x".repeat(201);
    let cases = [
        (json!({}), "bad_request", None),
        (json!([]), "bad_request", None),
        (json!("text"), "bad_request", None),
        (json!({"data": 1}), "bad_request", None),
        (json!({"channel": "a"}), "bad_request", Some("data")),
        (json!({"channel": "a", "data": 1, "args": []}), "bad_request", Some("args")),
        (json!({"channel": "a", "channels": ["b"], "data": 1}), "bad_request", None),
        (json!({"channel": 7, "data": 1}), "bad_request", Some("channel")),
        (json!({"channel": "", "data": 1}), "channel_invalid", Some("channel")),
        (json!({"channel": long, "data": 1}), "channel_invalid", Some("channel")),
        (json!({"channel": "a\nb", "data": 1}), "channel_invalid", Some("channel")),
        (json!({"channels": ["a", ""], "data": 1}), "channel_invalid", Some("channels[1]")),
        (json!({"channels": [], "data": 1}), "bad_request", Some("channels")),
        (json!({"channel": "a", "event": "", "data": 1}), "event_invalid", Some("event")),
        (json!({"channel": "a", "event": "connect", "data": 1}), "event_reserved", Some("event")),
        (json!({"channel": "a", "event": "push:x", "data": 1}), "event_reserved", Some("event")),
        (json!({"channel": "a", "data": 1, "id": ""}), "bad_request", Some("id")),
        (json!({"channel": "a", "data": 1, "ttl": -1}), "bad_request", Some("ttl")),
        (json!({"channel": "a", "data": 1, "evnet": "x"}), "bad_request", Some("evnet")),
    ];
    for (body, code, field) in cases {
        let reply = call(&gateway, None, "/v1/publish", &body).await;
        assert_problem(&reply, 400, code, &body.to_string());
        if let Some(field) = field {
            assert_eq!(reply.json()["field"], field, "{body}: {}", reply.text());
        }
    }
    let body = json!({"channel": "tiny", "data": "x".repeat(200)});
    let reply = call(&gateway, None, "/v1/publish", &body).await;
    assert_problem(&reply, 413, "payload_too_large", "a rule's limit");
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let gateway = Gateway::start(CONFIG);
    let url = format!("{}/v1/publish", gateway.api());
    let json = |body: Vec<u8>| {
        send(request("POST", &url).header("content-type", "application/json").body(body))
    };
    for body in
        ["", "{", "{\"channel\":\"a\",\"data\":1}}", "{\"channel\":\"a\",\"data\":01}", "nul"]
    {
        let reply = json(body.into()).await;
        assert_problem(&reply, 400, "bad_request", body);
    }
    let reply = json(b"{\"channel\":\"a\",\"data\":\"\xff\"}".to_vec()).await;
    assert_problem(&reply, 400, "bad_request", "invalid UTF-8");
    let deep =
        format!("{{\"channel\":\"a\",\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let reply = json(deep.into()).await;
    assert!(reply.status == 200 || reply.status == 400, "deep JSON: {}", reply.status);
    let reply = json(vec![b' '; 20 << 20]).await;
    assert_problem(&reply, 413, "payload_too_large", "20 MiB");
    assert_eq!(publish(&gateway, &json!({"channel": "a", "data": 1})).await, json!({}));
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_problems() {
    let gateway = Gateway::start(CONFIG);
    let at = |path: &str| format!("{}{path}", gateway.api());
    assert_problem(&get(&at("/v1/nothing")).await, 404, "not_found", "path");
    let reply = get(&at("/v1/publish")).await;
    assert_problem(&reply, 405, "method_not_allowed", "method");
    assert!(reply.header("allow").contains("POST"), "{:?}", reply.headers);
    assert_problem(&post(&at("/v1/channels"), "").await, 405, "method_not_allowed", "method");
}

// === channels and history ===

#[tokio::test]
async fn channels_with_subscribers_are_listed() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    let mut client = Plain::connect(&gateway).await;
    for channel in ["log.a", "news", "ünï/x"] {
        socket.subscribe(channel).await;
    }
    client.call("subscribe", &json!({"channel": "news"})).await.unwrap();
    let list = read(&gateway, None, "/v1/channels?match=%3E").await.json();
    let counts: Vec<_> = list["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| (channel["channel"].clone(), channel["subscribers"].clone()))
        .collect();
    assert_eq!(
        counts,
        [(json!("log.a"), json!(1)), (json!("news"), json!(2)), (json!("ünï/x"), json!(1))]
    );
    let offset = say(&gateway, "log.a", 1).await;
    let detail = read(&gateway, None, "/v1/channels/log.a").await.json();
    assert_eq!((&detail["subscribers"], &detail["offset"]), (&json!(1), &json!(offset)));
    let detail = read(&gateway, None, "/v1/channels/%C3%BCn%C3%AF%2Fx").await.json();
    assert_eq!(detail["channel"], "ünï/x");
    // Who goes is no longer counted.
    drop(socket);
    eventually("the socket's end", || async {
        read(&gateway, None, "/v1/channels/news").await.json()["subscribers"] == 1
    })
    .await;
}

#[tokio::test]
async fn history_can_be_paged_both_ways() {
    let gateway = Gateway::start(CONFIG);
    for number in 0..10 {
        say(&gateway, "log.a", number).await;
        say(&gateway, "log.b", "other").await;
    }
    for (order, step, expected) in [
        ("oldest", "since", (0..10).collect::<Vec<_>>()),
        ("newest", "before", (0..10).rev().collect()),
    ] {
        let mut seen = Vec::new();
        let mut place = String::new();
        loop {
            let path = format!("/v1/channels/log.a/history?limit=3&order={order}{place}");
            let page = read(&gateway, None, &path).await.json();
            let publications = page["publications"].as_array().unwrap().clone();
            assert!(publications.len() <= 3, "{page}");
            seen.extend(publications.iter().map(|one| one["data"].as_i64().unwrap()));
            let Some(next) = page["next"].as_str() else { break };
            place = format!("&{step}={}", next.replace(';', "%3B").replace('$', "%24"));
        }
        assert_eq!(seen, expected, "{order}");
    }
}

#[tokio::test]
async fn history_keeps_what_was_published() {
    let gateway = Gateway::start(CONFIG);
    let bodies = [
        json!({"channel": "log.a", "event": "one", "data": {"big": 12_345_678_901_234_567_890_u64}}),
        json!({"channel": "log.a", "event": "two", "args": [1, null, "x"], "id": "id-2"}),
        json!({"channel": "log.a", "data": {"base64": "AQID"}}),
    ];
    for body in &bodies {
        publish(&gateway, body).await;
    }
    let history = read(&gateway, None, "/v1/channels/log.a/history").await.json();
    let stored = history["publications"].as_array().unwrap();
    for (stored, body) in stored.iter().zip(&bodies) {
        assert_eq!(stored["data"], body["data"], "{stored}");
        assert_eq!(stored.get("args"), body.get("args"), "{stored}");
        assert_eq!(stored.get("id"), body.get("id"), "{stored}");
        assert!(stored["time"].is_string() && stored["offset"].is_string(), "{stored}");
    }
    assert_eq!(stored[2]["event"], "message");
}

#[tokio::test]
async fn what_is_wrong_with_a_read_is_named() {
    let gateway = Gateway::start(CONFIG);
    let cases = [
        ("/v1/channels/log.a/history?since=nonsense", 400, "offset_invalid"),
        ("/v1/channels/log.a/history?limit=0", 400, "bad_request"),
        ("/v1/channels/log.a/history?limit=x", 400, "bad_request"),
        ("/v1/channels/log.a/history?order=up", 400, "bad_request"),
        ("/v1/channels/log.a/history?sinc=x", 400, "bad_request"),
        ("/v1/channels/a%07b/history", 400, "channel_invalid"),
        ("/v1/channels/a%FFb", 400, "channel_invalid"),
        ("/v1/channels?match=a..b", 400, "bad_request"),
    ];
    for (path, status, code) in cases {
        let reply = read(&gateway, None, path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        let found = reply.json()["code"].clone();
        assert!(found == code || found == "bad_request", "{path}: {}", reply.text());
    }
    let reply = read(&gateway, None, "/v1/channels/news/history").await;
    assert_problem(&reply, 404, "not_found", "no history");
    let reply = read(&gateway, None, "/v1/channels/news/presence").await;
    assert_problem(&reply, 503, "unavailable", "presence");
}

// === description, page, keys ===

#[tokio::test]
async fn the_description_names_every_call() {
    let gateway = Gateway::plain();
    let reply = get(&format!("{}/v1/openapi.json", gateway.api())).await;
    assert_eq!(reply.status, 200);
    let description = reply.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    for path in [
        "/v1/publish",
        "/v1/batch",
        "/v1/channels",
        "/v1/channels/{channel}",
        "/v1/channels/{channel}/history",
        "/v1/channels/{channel}/presence",
        "/v1/users/{user}",
        "/v1/gateways",
    ] {
        assert!(description["paths"].get(path).is_some(), "{path}");
    }
}

#[tokio::test]
async fn the_first_page_is_there() {
    let gateway = Gateway::plain();
    let reply = get(&format!("{}/", gateway.api())).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").starts_with("text/html"), "{:?}", reply.headers);
    assert!(reply.text().contains("<html"), "a page");
}

#[tokio::test]
async fn keys_come_by_either_header() {
    let config = format!(
        "api: {{keys: [{{name: shop, scopes: [publish], sha256: {}}}]}}",
        tests::token::sha256("shop-key")
    );
    let gateway = Gateway::start(&config);
    let url = format!("{}/v1/publish", gateway.api());
    let body = json!({"channel": "a", "data": 1});
    let ask = |name: &'static str, value: &'static str| {
        send(request("POST", &url).json(&body).header(name, value))
    };
    assert_eq!(ask("authorization", "Bearer shop-key").await.status, 200);
    assert_eq!(ask("x-api-key", "shop-key").await.status, 200);
    for (name, value) in [
        ("authorization", "Bearer shop-ke"),
        ("authorization", "Bearer "),
        ("authorization", "Basic shop-key"),
        ("authorization", "shop-key"),
        ("x-api-key", ""),
        ("x-nothing", "shop-key"),
    ] {
        let reply = ask(name, value).await;
        assert_problem(&reply, 401, "unauthorized", &format!("{name}: {value}"));
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{:?}", reply.headers);
    }
}

#[tokio::test]
async fn another_machines_page_cannot_use_a_keyless_api() {
    let gateway = Gateway::plain();
    let url = format!("{}/v1/publish", gateway.api());
    let body = json!({"channel": "a", "data": 1});
    // A name that points at loopback (DNS rebinding) has another Host.
    let reply = send(request("POST", &url).json(&body).header("host", "evil.example.com")).await;
    assert!([400, 403, 421].contains(&reply.status), "{} {}", reply.status, reply.text());
}

// === admin ===

#[tokio::test]
async fn the_admin_listener_says_how_it_is() {
    let gateway = Gateway::start(CONFIG);
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(&format!("{}{path}", gateway.admin())).await.status, 200, "{path}");
    }
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("log.a").await;
    let now = status(&gateway).await;
    assert_eq!((&now["connections"], &now["accepting"]), (&json!(1), &json!(true)), "{now}");
    for field in ["id", "version", "draining", "configHash", "nats", "lag"] {
        assert!(now.get(field).is_some(), "{field}: {now}");
    }
    let reply = get(&format!("{}/metrics", gateway.admin())).await;
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
    assert!(reply.text().ends_with("# EOF\n"));
    drop(socket);
    eventually("the connection's end", || async { status(&gateway).await["connections"] == 0 })
        .await;
}

#[tokio::test]
async fn deliveries_are_counted() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("news").await;
    let sum = async || {
        let reply = get(&format!("{}/metrics", gateway.admin())).await;
        reply
            .text()
            .lines()
            .filter(|line| line.starts_with("push_") && line.contains("deliver"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>()
    };
    let before = sum().await;
    for number in 0..10 {
        say(&gateway, "news", number).await;
        assert_eq!(socket.app_event().await.args[0], number);
    }
    eventually("ten deliveries more in /metrics", || async { sum().await >= before + 10.0 }).await;
    assert_eq!(metric(&gateway, "nothing_of_that_name").await, None);
}

#[tokio::test]
async fn every_value_is_passed_on_byte_for_byte() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    client.call("subscribe", &json!({"channel": "news"})).await.unwrap();
    // Numbers that a JSON library would change on the way.
    for text in ["1e2", "1.0", "0.10", "123456789012345678901234567890", "-0", "\"\\u00e9\""] {
        let body = format!("{{\"channel\":\"news\",\"event\":\"e\",\"data\":{text}}}");
        let request = request("POST", &format!("{}/v1/publish", gateway.api()))
            .header("content-type", "application/json");
        assert_eq!(send(request.body(body)).await.status, 200, "{text}");
        let frame = client.socket().text().await;
        assert!(frame.contains(&format!("\"data\":{text}")), "{text}: {frame}");
    }
}

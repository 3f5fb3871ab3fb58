//! The calls that read: channels, history, gateways; and those that are not
//! there yet.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::Rig;
use super::fake::position;
use crate::api::history::rfc3339;

#[tokio::test]
async fn history_comes_in_pages_in_both_orders() {
    let rig = Rig::new();
    for n in 1..=5 {
        let body = format!(r#"{{"channel": "orders.1", "data": {n}.0}}"#);
        assert_eq!(rig.post("/v1/publish", body).await.status, 200);
    }
    for (order, onward, expected) in
        [("oldest", "since", [1, 2, 3, 4, 5]), ("newest", "before", [5, 4, 3, 2, 1])]
    {
        let mut seen = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let from = next.map_or_else(String::new, |next| format!("&{onward}={next}"));
            let path = format!("/v1/channels/orders.1/history?limit=2&order={order}{from}");
            let answer = rig.get(&path).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            let json = answer.json();
            assert_eq!(json["complete"], true);
            assert_eq!(json["offset"], position(5).to_string());
            for publication in json["publications"].as_array().unwrap() {
                let number = publication["data"].as_f64().unwrap();
                assert!(text.contains(&format!(r#""data":{number}.0"#)), "{text}");
                seen.push(number);
            }
            next = json["next"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected.map(f64::from), "{order}");
    }
}

#[tokio::test]
async fn a_stored_publication_is_shown_whole() {
    let rig = Rig::new();
    let table = [
        (
            r#""data": {"base64": "AAH/"}, "id": "x""#,
            json!({"data": {"base64": "AAH/"}, "id": "x"}),
        ),
        (r#""args": ["a"]"#, json!({"args": ["a"]})),
        (r#""args": []"#, json!({"args": []})),
        (r#""data": null"#, json!({"data": null})),
    ];
    for (index, (said, mut expected)) in table.into_iter().enumerate() {
        let body = format!(r#"{{"channel": "orders.1", "event": "e", {said}}}"#);
        assert_eq!(rig.post("/v1/publish", body).await.status, 200);
        let position = position(index as u64 + 1);
        expected["channel"] = "orders.1".into();
        expected["event"] = "e".into();
        expected["offset"] = position.to_string().into();
        expected["time"] = format!("2026-01-02T03:04:05.{:03}Z", index + 1).into();
        let answer = rig.get("/v1/channels/orders.1/history?order=newest&limit=1").await;
        assert_eq!(answer.json()["publications"][0], expected);
    }
}

#[tokio::test]
async fn a_page_ends_early_when_it_would_be_too_large() {
    let limits = gateway_config::Limits { publication_bytes: 4 << 20, ..Default::default() };
    let rig = Rig::new().with_limits(limits);
    let rule = gateway_config::ChannelRule {
        matches: gateway_config::Pattern::new("orders.>").unwrap(),
        history: Some(crate::rules::USER_HISTORY),
        client_publish: None,
        anonymous: None,
        slow_consumer: gateway_config::SlowConsumer::default(),
        max_payload: None,
    };
    rig.state.rules.store(Arc::new(crate::rules::Rules::new(vec![rule], 4 << 20)));
    let big = "x".repeat(3 << 20);
    for _ in 0..3 {
        let body = format!(r#"{{"channel": "orders.1", "data": "{big}"}}"#);
        assert_eq!(rig.post("/v1/publish", body).await.status, 200);
    }
    let json = rig.get("/v1/channels/orders.1/history").await.json();
    assert_eq!(json["publications"].as_array().unwrap().len(), 2);
    assert_eq!(json["next"], position(2).to_string());
    let rest = format!("/v1/channels/orders.1/history?since={}", position(2));
    let json = rig.get(&rest).await.json();
    assert_eq!(json["publications"].as_array().unwrap().len(), 1);
    assert_eq!(json["next"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_wrong_question_is_refused_with_its_field() {
    let long = "x".repeat(201);
    let table = [
        ("/v1/channels/orders.1/history?limit=0", 400, "bad_request", "limit"),
        ("/v1/channels/orders.1/history?limit=1001", 400, "bad_request", "limit"),
        ("/v1/channels/orders.1/history?limit=x", 400, "bad_request", "limit"),
        ("/v1/channels/orders.1/history?order=up", 400, "bad_request", "order"),
        ("/v1/channels/orders.1/history?since=1", 400, "offset_invalid", "since"),
        ("/v1/channels/orders.1/history?before=1", 400, "offset_invalid", "before"),
        ("/v1/channels/orders.1/history?sinse=1", 400, "bad_request", "sinse"),
        ("/v1/channels/orders.1/history?limit=1&limit=2", 400, "bad_request", "limit"),
        ("/v1/channels/chat/history", 404, "not_found", ""),
        ("/v1/channels?match=a..b", 400, "bad_request", "match"),
        ("/v1/channels?cursor=!", 400, "bad_request", "cursor"),
        (&*format!("/v1/channels/{long}"), 400, "channel_invalid", "channel"),
        ("/v1/channels/%FF", 400, "channel_invalid", "channel"),
        ("/v1/channels/a%0Ab", 400, "channel_invalid", "channel"),
        ("/v1/users/%FF", 400, "bad_request", "user"),
        ("/v1/channels/a/b", 404, "not_found", ""),
        ("/v2", 404, "not_found", ""),
        ("/v1/channels/a/presence", 503, "unavailable", ""),
    ];
    let rig = Rig::new();
    for (path, status, code, field) in table {
        let answer = rig.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let (its_code, its_field, detail) = answer.problem();
        assert_eq!((&*its_code, &*its_field), (code, field), "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_users_calls_take_json_alone_and_say_what_is_wrong() {
    let rig = Rig::new();
    let expected = json!({"user": "ann", "sessions": []});
    assert_eq!(rig.get("/v1/users/ann").await.json(), expected);
    let table = [
        ("disconnect", "{}", 200, "", ""),
        ("disconnect", r#"{"reconnect": false}"#, 200, "", ""),
        ("disconnect", "", 400, "bad_request", ""),
        ("disconnect", r#"{"reconect": false}"#, 400, "bad_request", "reconect"),
        ("subscribe", r#"{"channel": "a"}"#, 200, "", ""),
        ("subscribe", r#"{"channel": ""}"#, 400, "channel_invalid", "channel"),
        ("subscribe", r#"{"channel": "$all"}"#, 403, "forbidden", "channel"),
        ("unsubscribe", r#"{"channel": "$user.ann"}"#, 403, "forbidden", "channel"),
        ("unsubscribe", r#"{"channel": "a"}"#, 200, "", ""),
    ];
    for (call, body, status, code, field) in table {
        let answer = rig.post(&format!("/v1/users/ann/{call}"), body).await;
        assert_eq!(answer.status, status, "{call} {body}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.json(), json!({"sessions": 0}));
        } else {
            let (its_code, its_field, detail) = answer.problem();
            assert_eq!((&*its_code, &*its_field), (code, field), "{call} {body}: {detail}");
        }
    }
    for call in ["disconnect", "subscribe", "unsubscribe"] {
        // What a web page can send to another origin without asking first.
        let request = Request::post(format!("/v1/users/ann/{call}"))
            .header("host", "127.0.0.1:8081")
            .header("content-type", "text/plain");
        let answer = rig.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.status, 415, "{call}");
    }
}

#[tokio::test]
async fn a_channel_is_told_with_its_history() {
    let rig = Rig::new();
    let kept = |offset: serde_json::Value| {
        let mut json = json!({"channel": "orders.1/a", "subscribers": 0, "history": true});
        if !offset.is_null() {
            json["offset"] = offset;
        }
        json
    };
    let path = "/v1/channels/orders.1%2Fa";
    assert_eq!(rig.get(path).await.json(), kept(json!(null)));
    rig.post("/v1/publish", r#"{"channel": "orders.1/a", "data": 1}"#).await;
    rig.post("/v1/publish", r#"{"channel": "orders.2", "data": 1}"#).await;
    assert_eq!(rig.get(path).await.json(), kept(json!(position(1).to_string())));
    let loose = json!({"channel": "ch\u{e4}t #1", "subscribers": 0, "history": false});
    assert_eq!(rig.get("/v1/channels/ch%C3%A4t%20%231").await.json(), loose);
    assert_eq!(rig.get("/v1/channels").await.json(), json!({"channels": []}));
}

#[tokio::test]
async fn the_gateway_lists_itself() {
    let expected = json!({"gateways": [{
        "id": "g1", "version": "0.1.0", "connections": 7, "draining": false, "uptime": 61, "lag": 0
    }]});
    assert_eq!(Rig::new().get("/v1/gateways").await.json(), expected);
}

#[test]
fn times_are_written_as_rfc_3339() {
    let table = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
        (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
        (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ];
    for (milliseconds, expected) in table {
        assert_eq!(rfc3339(milliseconds), expected);
    }
}

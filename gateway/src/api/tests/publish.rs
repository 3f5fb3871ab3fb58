//! `POST /v1/publish` and `POST /v1/batch`.

use bytes::Bytes;
use serde_json::json;

use super::Rig;
use super::fake::position;
use crate::channel::Channel;
use crate::publication::Value;

#[tokio::test]
async fn every_target_reaches_its_channel() {
    let table = [
        (r#""channel": "news""#, vec!["news"]),
        (r#""channels": ["b", "a"]"#, vec!["b", "a"]),
        (r#""user": "auth0|7.x""#, vec!["$user.auth0|7.x"]),
        (r#""users": ["ann", "bob"]"#, vec!["$user.ann", "$user.bob"]),
        (r#""all": true"#, vec!["$all"]),
        (r#""channel": "$ns.admin.room", "all": false"#, vec!["$ns.admin.room"]),
    ];
    for (target, expected) in table {
        let rig = Rig::new();
        let answer = rig.post("/v1/publish", format!(r#"{{{target}, "data": 1}}"#)).await;
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        let published = rig.relay.published.lock().unwrap();
        let mut channels: Vec<&str> = published.iter().map(|p| p.channel.as_str()).collect();
        let mut expected = expected.clone();
        channels.sort_unstable();
        expected.sort_unstable();
        assert_eq!(channels, expected, "{target}");
        assert!(published.iter().all(|p| &*p.event == "message" && p.store && p.id.is_none()));
    }
}

#[tokio::test]
async fn data_stays_byte_for_byte() {
    // Numbers beyond 64 bits, an escape where none is needed, inner spaces, a
    // key twice, null: all of it is the app's.
    let texts = [
        "123456789012345678901234567890.10",
        r#""\u0041\/""#,
        r#"{ "b" : 1,  "a":2, "b":3 }"#,
        "null",
        "[ ]",
        "\"\u{fc}\u{1f600}\"",
        r#"{"base64":"not base64"}"#,
        r#"{"base64":"YQ==","more":1}"#,
        r#"{"base64":"YR=="}"#,
        r#"{"base64":7}"#,
    ];
    for text in texts {
        let rig = Rig::new();
        let body = format!(r#"{{"channel": "c", "data":  {text} }}"#);
        let answer = rig.post("/v1/publish", body).await;
        assert_eq!(answer.status, 200, "{text}: {answer:?}");
        let published = rig.relay.published.lock().unwrap();
        let expected = Value::Json(Bytes::copy_from_slice(text.as_bytes()));
        assert_eq!(published[0].args.as_slice(), [expected], "{text}");
        assert!(!published[0].spread);
    }
}

#[tokio::test]
async fn base64_stands_for_bytes() {
    let rig = Rig::new();
    let body = r#"{"channel": "c", "args": [ {"base64": "AAH/"}, "x", {"base64":""} ]}"#;
    assert_eq!(rig.post("/v1/publish", body).await.status, 200);
    let published = rig.relay.published.lock().unwrap();
    let expected = [
        Value::Binary(Bytes::from_static(&[0, 1, 255])),
        Value::Json(Bytes::from_static(b"\"x\"")),
        Value::Binary(Bytes::new()),
    ];
    assert_eq!(published[0].args.as_slice(), expected);
    assert!(published[0].spread);
}

#[tokio::test]
async fn everything_said_reaches_the_relay() {
    let rig = Rig::new();
    let body = r#"{"channel": "orders.1", "event": "paid", "args": [], "id": "i-1",
        "ttl": "1m30s", "except": "s1", "store": false}"#;
    assert_eq!(rig.post("/v1/publish", body).await.status, 200);
    let body = r#"{"channel": "orders.1", "data": 1, "ttl": 10, "except": ["s1", "s2"]}"#;
    assert_eq!(rig.post("/v1/publish", body).await.status, 200);
    let published = rig.relay.published.lock().unwrap();
    let first = &published[0];
    assert_eq!((&*first.event, first.args.len(), first.spread), ("paid", 0, true));
    assert_eq!((first.id.as_deref(), first.ttl, first.store), (Some("i-1"), Some(90_000), false));
    assert_eq!(first.except, [Box::<str>::from("s1")]);
    assert_eq!(published[1].ttl, Some(10_000));
    assert_eq!(published[1].except, [Box::<str>::from("s1"), "s2".into()]);
}

#[tokio::test]
async fn the_answer_tells_offset_duplicate_and_what_is_not_deduplicated() {
    let rig = Rig::new();
    let kept = r#"{"channel": "orders.1", "data": 1, "id": "a"}"#;
    let offset = position(1).to_string();
    assert_eq!(rig.post("/v1/publish", kept).await.json(), json!({"offset": offset}));
    let again = rig.post("/v1/publish", kept).await.json();
    assert_eq!(again, json!({"offset": offset, "duplicate": true}));
    let loose = r#"{"channel": "chat", "data": 1, "id": "a"}"#;
    assert_eq!(rig.post("/v1/publish", loose).await.json(), json!({"deduplicated": false}));
    let plain = r#"{"channel": "chat", "data": 1}"#;
    assert_eq!(rig.post("/v1/publish", plain).await.json(), json!({}));
    let several = r#"{"channels": ["chat", "orders.2"], "data": 1}"#;
    let offset = position(2).to_string();
    assert_eq!(
        rig.post("/v1/publish", several).await.json(),
        json!({"results": [{"channel": "chat"}, {"channel": "orders.2", "offset": offset}]})
    );
    let users = rig.post("/v1/publish", r#"{"users": ["ann"], "data": 1}"#).await.json();
    assert_eq!(users, json!({"results": [{"user": "ann"}]}));
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_field_and_nothing_is_published() {
    let long = "x".repeat(201);
    let big = "x".repeat(10_000);
    let args = [r#"{"base64":"YQ=="}"#; 11].join(",");
    let table = [
        (400, "bad_request", "", r#"{"data": 1}"#.to_owned()),
        (400, "bad_request", "", r#"{"all": false, "data": 1}"#.into()),
        (400, "bad_request", "", r#"{"channel": "a", "user": "b", "data": 1}"#.into()),
        (400, "bad_request", "data", r#"{"channel": "a"}"#.into()),
        (400, "bad_request", "args", r#"{"channel": "a", "data": null, "args": []}"#.into()),
        (400, "bad_request", "args", format!(r#"{{"channel": "a", "args": [{args}]}}"#)),
        (400, "bad_request", "chanel", r#"{"chanel": "a", "data": 1}"#.into()),
        (400, "bad_request", "channel", r#"{"channel": 5, "data": 1}"#.into()),
        (400, "bad_request", "channels[1]", r#"{"channels": ["a", 5], "data": 1}"#.into()),
        (400, "bad_request", "channels", r#"{"channels": [], "data": 1}"#.into()),
        (400, "bad_request", "channels", r#"{"channels": ["a", "a"], "data": 1}"#.into()),
        (400, "bad_request", "users", r#"{"users": ["1","2","3","4","5","6"], "data": 1}"#.into()),
        (400, "channel_invalid", "channel", r#"{"channel": "", "data": 1}"#.into()),
        (400, "channel_invalid", "channel", format!(r#"{{"channel": "{long}", "data": 1}}"#)),
        (400, "channel_invalid", "channels[1]", r#"{"channels": ["a", "b\n"], "data": 1}"#.into()),
        (400, "bad_request", "user", r#"{"user": "", "data": 1}"#.into()),
        (400, "bad_request", "users[1]", format!(r#"{{"users": ["a", "{long}"], "data": 1}}"#)),
        (400, "event_invalid", "event", r#"{"channel": "a", "event": "", "data": 1}"#.into()),
        (
            400,
            "event_reserved",
            "event",
            r#"{"channel": "a", "event": "connect", "data": 1}"#.into(),
        ),
        (
            400,
            "event_reserved",
            "event",
            r#"{"channel": "a", "event": "push:x", "data": 1}"#.into(),
        ),
        (400, "bad_request", "id", r#"{"channel": "a", "data": 1, "id": ""}"#.into()),
        (400, "bad_request", "ttl", r#"{"channel": "a", "data": 1, "ttl": 0}"#.into()),
        (400, "bad_request", "ttl", r#"{"channel": "a", "data": 1, "ttl": -1}"#.into()),
        (400, "bad_request", "ttl", r#"{"channel": "a", "data": 1, "ttl": "500ms"}"#.into()),
        (400, "bad_request", "ttl", r#"{"channel": "a", "data": 1, "ttl": "soon"}"#.into()),
        (
            400,
            "bad_request",
            "ttl",
            r#"{"channel": "a", "data": 1, "ttl": 18446744073709551615}"#.into(),
        ),
        (400, "bad_request", "except", r#"{"channel": "a", "data": 1, "except": [""]}"#.into()),
        (400, "bad_request", "except", r#"{"channel": "a", "data": 1, "except": 5}"#.into()),
        (400, "bad_request", "store", r#"{"channel": "a", "data": 1, "store": "no"}"#.into()),
        (413, "payload_too_large", "data", format!(r#"{{"channel": "a", "data": "{big}"}}"#)),
        (
            413,
            "payload_too_large",
            "data",
            format!(r#"{{"channels": ["a", "small.b"], "data": "{long}"}}"#),
        ),
        (
            413,
            "payload_too_large",
            "",
            format!(r#"{{"channel": "a", "data": "{}"}}"#, big.repeat(9)),
        ),
        (400, "bad_request", "", "[]".into()),
        (400, "bad_request", "", "null".into()),
        (400, "bad_request", "", String::new()),
        (400, "bad_request", "", r#"{"channel": "a", "data": 1"#.into()),
        (400, "bad_request", "", r#"{"channel": "a", "data": 1} x"#.into()),
        (400, "bad_request", "", "{\"channel\": \"a\",\n \"data\": nul}".into()),
    ];
    for (status, code, field, body) in table {
        let rig = Rig::new();
        let shown: String = body.chars().take(100).collect();
        let answer = rig.post("/v1/publish", body).await;
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        let (its_code, its_field, _) = answer.problem();
        assert_eq!((&*its_code, &*its_field), (code, field), "{shown}: {answer:?}");
        assert!(rig.relay.published.lock().unwrap().is_empty(), "{shown}");
        let label = crate::metrics::RefusedLabel {
            source: crate::metrics::Source::api,
            code: crate::error::ErrorCode::ALL
                .into_iter()
                .map(crate::error::ErrorCode::as_str)
                .find(|name| *name == code)
                .unwrap(),
        };
        let refused = rig.state.metrics.publications_refused.get_or_create(&label).get();
        assert_eq!(refused, 1, "{shown}");
    }
}

#[tokio::test]
async fn malformed_json_names_line_and_column() {
    let rig = Rig::new();
    let answer = rig.post("/v1/publish", "{\"channel\": \"a\",\n \"data\": nul}").await;
    let (_, _, detail) = answer.problem();
    assert!(detail.contains("line 2 column"), "{detail}");
    let answer = rig.post("/v1/publish", "{\"channel\": \"a\",\n \"daten\": 1}").await;
    let (_, field, detail) = answer.problem();
    assert!(detail.contains("unknown field `daten`") && detail.contains("line 2"), "{detail}");
    assert_eq!(field, "daten");
}

#[tokio::test]
async fn with_a_list_one_failure_is_told_and_all_failing_is_an_error() {
    let rig = Rig::new();
    rig.relay.broken.lock().unwrap().insert(Channel::new("b").unwrap());
    let answer = rig.post("/v1/publish", r#"{"channels": ["a", "b"], "data": 1}"#).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(json["results"][0], json!({"channel": "a"}));
    assert_eq!(json["results"][1]["channel"], "b");
    assert_eq!(json["results"][1]["error"]["code"], "unavailable");
    assert_eq!(json["results"][1]["error"]["retry"], true);
    for body in [r#"{"channels": ["b"], "data": 1}"#, r#"{"channel": "b", "data": 1}"#] {
        let answer = rig.post("/v1/publish", body).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.problem().0, "unavailable");
    }
}

#[tokio::test]
async fn each_of_a_batch_has_its_own_result_in_order() {
    let rig = Rig::new();
    rig.relay.broken.lock().unwrap().insert(Channel::new("dead").unwrap());
    let body = r#"{"publications": [
        {"channel": "orders.1", "data": 1},
        {"channel": "orders.1", "dta": 1},
        {"channels": ["a", "dead"], "data": 2},
        {"channel": "dead", "data": 3},
        {"channel": "orders.1", "data": 4}
    ]}"#;
    let answer = rig.post("/v1/batch", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    assert_eq!(results[0], json!({"status": 200, "offset": position(1).to_string()}));
    assert_eq!(results[1]["status"], 400);
    assert_eq!(results[1]["error"]["field"], "dta");
    assert_eq!(results[2]["status"], 200);
    assert_eq!(results[2]["results"][0], json!({"channel": "a"}));
    assert_eq!(results[2]["results"][1]["error"]["code"], "unavailable");
    assert_eq!(results[3]["status"], 503);
    assert!(results[3]["error"]["detail"].as_str().unwrap().starts_with("not tried"));
    assert_eq!(results[4], json!({"status": 200, "offset": position(2).to_string()}));
    let published = rig.relay.published.lock().unwrap();
    let data: Vec<_> = published
        .iter()
        .filter(|p| p.channel.as_str() == "orders.1")
        .map(|p| p.args[0].clone())
        .collect();
    assert_eq!(data, [Value::Json("1".into()), Value::Json("4".into())]);
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused() {
    let six = [r#"{"channel": "a", "data": 1}"#; 6].join(",");
    let table = [
        (413, "publications", format!(r#"{{"publications": [{six}]}}"#)),
        (400, "", "{}".to_owned()),
        (400, "publications", r#"{"publications": {}}"#.to_owned()),
        (400, "", r#"{"publications": [{"channel": "a", "data": x}]}"#.to_owned()),
        (400, "publication", r#"{"publication": []}"#.to_owned()),
    ];
    for (status, field, body) in table {
        let rig = Rig::new();
        let answer = rig.post("/v1/batch", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert_eq!(answer.problem().1, field, "{body}");
        assert!(rig.relay.published.lock().unwrap().is_empty());
    }
    let empty = Rig::new().post("/v1/batch", r#"{"publications": []}"#).await;
    assert_eq!((empty.status.as_u16(), empty.json()), (200, json!({"results": []})));
}

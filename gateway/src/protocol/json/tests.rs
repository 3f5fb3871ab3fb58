#![allow(clippy::unwrap_used, clippy::expect_used)]
// The tables read better with the options written by the functions that make them.
#![allow(clippy::unnecessary_wraps)]

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::channel::Channel;
use crate::publication::{Publication, Value};

fn id(text: &str) -> Option<RequestId> {
    Some(RequestId(text.into()))
}

fn value(text: &'static str) -> Value {
    Value::Json(Bytes::from_static(text.as_bytes()))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_command_is_read() {
    let channel = || "a".to_owned();
    let publish = |args: &[Value], spread| Command::Publish {
        channel: channel(),
        event: None,
        args: args.iter().cloned().collect(),
        spread,
        id: None,
    };
    let bytes = Value::Binary(Bytes::from_static(&[1, 2, 3]));
    let table: &[(&str, Option<RequestId>, Command)] = &[
        (r#"{"connect":{}}"#, None, Command::Connect { token: None }),
        (r#"{"connect":{"token":null}}"#, None, Command::Connect { token: None }),
        (r#"{"id":1,"connect":{"token":"t"}}"#, id("1"), Command::Connect { token: some("t") }),
        (
            r#"{"id":1,"subscribe":{"channel":"a"}}"#,
            id("1"),
            Command::Subscribe { channel: channel(), since: None, last: None },
        ),
        (
            r#" { "subscribe" : {"since":"x-y-z","last":10,"channel":"\u0061"}, "id" : "q\"1" } "#,
            id(r#""q\"1""#),
            Command::Subscribe { channel: channel(), since: some("x-y-z"), last: Some(10) },
        ),
        (
            r#"{"id":-1.5e3,"unsubscribe":{"channel":"a"}}"#,
            id("-1.5e3"),
            Command::Unsubscribe { channel: channel() },
        ),
        (
            r#"{"publish":{"channel":"a","data":{"n": 1}}}"#,
            None,
            publish(&[value(r#"{"n": 1}"#)], false),
        ),
        (r#"{"publish":{"channel":"a","data":null}}"#, None, publish(&[value("null")], false)),
        (
            r#"{"publish":{"channel":"a","data":{"base64":"AQID"}}}"#,
            None,
            publish(std::slice::from_ref(&bytes), false),
        ),
        (r#"{"publish":{"channel":"a","args":[]}}"#, None, publish(&[], true)),
        (
            r#"{"publish":{"channel":"a","args":[1, {"base64":"AQID"}]}}"#,
            None,
            publish(&[value("1"), bytes], true),
        ),
        (
            r#"{"id":2,"publish":{"channel":"a","event":"e","id":"i","data":"d"}}"#,
            id("2"),
            Command::Publish {
                channel: channel(),
                event: some("e"),
                args: Args::from_iter([value("\"d\"")]),
                spread: false,
                id: some("i"),
            },
        ),
        (r#"{"presence":{"channel":"a"}}"#, None, Command::Presence { channel: channel() }),
        (
            r#"{"history":{"channel":"a"}}"#,
            None,
            Command::History {
                channel: channel(),
                since: None,
                before: None,
                limit: None,
                order: None,
            },
        ),
        (
            r#"{"history":{"channel":"a","since":"s","before":"b","limit":5,"order":"desc"}}"#,
            None,
            Command::History {
                channel: channel(),
                since: some("s"),
                before: some("b"),
                limit: Some(5),
                order: Some(Order::Descending),
            },
        ),
        (r#"{"refresh":{"token":"t"}}"#, None, Command::Refresh { token: "t".into() }),
    ];
    for (text, id, command) in table {
        let request = Request { id: id.clone(), command: command.clone() };
        assert_eq!(parse(text.as_bytes()).as_ref(), Ok(&request), "{text}");
    }
}

#[test]
fn an_error_names_its_field_and_carries_the_id() {
    // Text, id, field, a word of the message.
    let table: &[(&str, Option<&str>, Option<&str>, &str)] = &[
        ("", None, None, "one JSON object"),
        ("nonsense", None, None, "one JSON object"),
        ("[]", None, None, "one JSON object"),
        ("1", None, None, "one JSON object"),
        (r#"{"id":1,"subscribe":{"channel":"a"}"#, None, None, "one JSON object"),
        (r#"{"id":1}{}"#, None, None, "one JSON object"),
        ("{}", None, None, "no command"),
        (r#"{"id":1}"#, Some("1"), None, "no command"),
        (r#"{"id":null,"presence":{"channel":"a"}}"#, None, Some("id"), "number or a string"),
        (r#"{"id":{},"presence":{"channel":"a"}}"#, None, Some("id"), "number or a string"),
        (r#"{"id":1,"id":2}"#, None, Some("id"), "twice"),
        (
            r#"{"id":7,"subscibe":{"channel":"a"}}"#,
            Some("7"),
            Some("subscibe"),
            "known are connect",
        ),
        (
            r#"{"id":7,"subscribe":{"channel":"a"},"publish":{}}"#,
            Some("7"),
            Some("publish"),
            "`subscribe` and `publish`",
        ),
        (r#"{"id":7,"subscribe":"a"}"#, Some("7"), Some("subscribe"), "one JSON object"),
        (r#"{"id":7,"subscribe":{}}"#, Some("7"), Some("subscribe.channel"), "missing"),
        (r#"{"subscribe":{"channel":null}}"#, None, Some("subscribe.channel"), "missing"),
        (r#"{"subscribe":{"channel":1}}"#, None, Some("subscribe.channel"), "a string"),
        (r#"{"subscribe":{"channel":"\ud800"}}"#, None, Some("subscribe.channel"), "a string"),
        (
            r#"{"subscribe":{"channel":"a","last":-1}}"#,
            None,
            Some("subscribe.last"),
            "whole number",
        ),
        (
            r#"{"subscribe":{"channel":"a","last":1.5}}"#,
            None,
            Some("subscribe.last"),
            "whole number",
        ),
        (
            r#"{"subscribe":{"channel":"a","last":"1"}}"#,
            None,
            Some("subscribe.last"),
            "whole number",
        ),
        (
            r#"{"subscribe":{"channel":"a","offset":"x"}}"#,
            None,
            Some("subscribe.offset"),
            "known are channel, since, last",
        ),
        (
            r#"{"subscribe":{"channel":"a","channel":"b"}}"#,
            None,
            Some("subscribe.channel"),
            "twice",
        ),
        (r#"{"publish":{"channel":"a"}}"#, None, Some("publish.data"), "missing"),
        (
            r#"{"publish":{"channel":"a","data":1,"args":[]}}"#,
            None,
            Some("publish.args"),
            "one of them",
        ),
        (r#"{"publish":{"channel":"a","args":{}}}"#, None, Some("publish.args"), "an array"),
        (r#"{"publish":{"data":1}}"#, None, Some("publish.channel"), "missing"),
        (r#"{"history":{"channel":"a","order":"up"}}"#, None, Some("history.order"), "asc"),
        (r#"{"refresh":{}}"#, None, Some("refresh.token"), "missing"),
        (r#"{"connect":{"token":5}}"#, None, Some("connect.token"), "a string"),
    ];
    for &(text, id, field, word) in table {
        let (found_id, error) = parse(text.as_bytes()).expect_err(text);
        assert_eq!(found_id.as_ref().map(RequestId::as_json), id, "{text}");
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert_eq!(error.field.as_deref(), field, "{text}: {error}");
        assert!(error.message.contains(word), "{text}: {error}");
    }
    assert!(parse(b"{\"id\":1,\"connect\":{\"token\":\"\xff\"}}").is_err());
    // What a client sent is not echoed at any length.
    let long = format!(r#"{{"id":1,"{}":1}}"#, "é".repeat(5000));
    assert!(parse(long.as_bytes()).unwrap_err().1.message.len() < 400);
    let many: Vec<String> = (0..100).map(|n| format!(",\"{n}\":0")).collect();
    let many = many.concat();
    let error = parse(format!("{{\"id\":1{many}}}").as_bytes()).unwrap_err().1;
    assert!(error.message.contains("too many fields"), "{error}");
    let long_id = format!(r#"{{"id":"{}","connect":{{}}}}"#, "a".repeat(199));
    assert_eq!(parse(long_id.as_bytes()).unwrap_err().1.field.as_deref(), Some("id"));
}

#[test]
fn only_one_key_with_valid_base64_is_bytes() {
    let bytes = |bytes: &'static [u8]| Value::Binary(Bytes::from_static(bytes));
    let table = [
        (r#"{"base64":"AQID"}"#, bytes(&[1, 2, 3])),
        (r#" {"base64":"AQID"}"#, value(r#" {"base64":"AQID"}"#)),
        ("{ \"base64\" :\n\"AQ==\" }", bytes(&[1])),
        (r#"{"base64":""}"#, bytes(&[])),
        (r#"{"b\u0061se64":"AQ\u003d="}"#, bytes(&[1])),
    ];
    for (text, expected) in table {
        assert_eq!(parse_value(text), expected, "{text}");
    }
    for text in [
        r#"{"base64":"*"}"#,
        r#"{"base64":"AQI"}"#,
        r#"{"base64":"-_-_"}"#,
        r#"{"base64":1}"#,
        r#"{"base64":"AQID","a":1}"#,
        r#"{"base64":"AQID","base64":"AQID"}"#,
        r#"["base64","AQID"]"#,
        r#"{"Base64":"AQID"}"#,
        r#"{"a":{"base64":"AQID"}}"#,
        "{}",
        "1",
        "\"base64\"",
    ] {
        assert_eq!(parse_value(text), value(text), "{text}");
    }
}

fn made(args: &[Value], spread: bool, id: Option<&str>) -> Publication {
    Publication {
        channel: Channel::new("a\"b").unwrap(),
        event: "e".into(),
        args: args.iter().cloned().collect(),
        spread,
        id: id.map(Into::into),
        time: 0,
        position: None,
        except: Vec::new(),
    }
}

#[test]
fn answers_and_publications_are_written() {
    let (one, bytes) = (value("1"), Value::Binary(Bytes::from_static(&[1, 2, 3, 4])));
    let failure = Error::new(ErrorCode::RateLimited, "wait");
    let table = [
        (ok(id("1").as_ref(), &json!({"channel": "a"})), r#"{"id":1,"ok":{"channel":"a"}}"#),
        (ok(id("\"x\"").as_ref(), &json!({})), r#"{"id":"x","ok":{}}"#),
        (ok(None, &json!({})), r#"{"ok":{}}"#),
        (
            error(id("1").as_ref(), &failure),
            r#"{"id":1,"error":{"code":"rate_limited","message":"wait","retry":true}}"#,
        ),
        (
            error(None, &failure),
            r#"{"error":{"code":"rate_limited","message":"wait","retry":true}}"#,
        ),
        (
            publication(&made(std::slice::from_ref(&one), false, None), None),
            r#"{"channel":"a\"b","event":"e","data":1}"#,
        ),
        (
            publication(&made(std::slice::from_ref(&one), false, Some("i")), Some("x-y-z")),
            r#"{"channel":"a\"b","event":"e","data":1,"offset":"x-y-z","id":"i"}"#,
        ),
        (
            publication(&made(std::slice::from_ref(&one), true, None), Some("o")),
            r#"{"channel":"a\"b","event":"e","args":[1],"offset":"o"}"#,
        ),
        (
            publication(&made(&[one, bytes.clone()], false, None), None),
            r#"{"channel":"a\"b","event":"e","args":[1,{"base64":"AQIDBA=="}]}"#,
        ),
        (publication(&made(&[], false, None), None), r#"{"channel":"a\"b","event":"e","args":[]}"#),
        (
            publication(&made(&[bytes], false, None), None),
            r#"{"channel":"a\"b","event":"e","data":{"base64":"AQIDBA=="}}"#,
        ),
        (offset_notice("x-y-z"), r#"{"offset":"x-y-z"}"#),
    ];
    for (wire, text) in table {
        assert_eq!(std::str::from_utf8(wire.payload()), Ok(text));
        assert!(!wire.is_binary());
        let value = serde_json::from_slice::<serde_json::Value>(wire.payload());
        assert!(value.is_ok(), "{text}");
    }
}

proptest! {
    #[test]
    fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let wire = publication(&made(&[Value::Binary(bytes.clone().into())], false, None), None);
        let written: serde_json::Value = serde_json::from_slice(wire.payload()).unwrap();
        prop_assert_eq!(parse_value(&written["data"].to_string()), Value::Binary(bytes.into()));
    }

    #[test]
    fn no_bytes_panic(
        tokens in prop::collection::vec(
            prop_oneof![
                1 => any::<u8>().prop_map(|byte| vec![byte]),
                5 => prop::sample::select(&[
                    "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "1", "null", "\"a\"",
                    "{\"id\":1,", "\"subscribe\":{", "\"publish\":{", "\"channel\":\"a\"", "\"data\":",
                    "\"args\":[", "{\"base64\":\"AQID\"}", "\"history\":{", "\"order\":\"asc\"",
                ][..]).prop_map(|token| token.as_bytes().to_vec()),
            ],
            0..25,
        ),
    ) {
        let text = tokens.concat();
        match parse(&text) {
            // Nothing is read that isn't JSON.
            Ok(_) => prop_assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok()),
            Err((_, error)) => prop_assert_eq!(error.code, ErrorCode::BadRequest),
        }
        if let Ok(text) = std::str::from_utf8(&text) {
            let _ = parse_value(text);
        }
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[test]
fn data_is_json_if_it_parses_and_text_if_it_does_not() {
    for (text, json) in [
        (r#"{"a": 1.10}"#, r#"{"a": 1.10}"#),
        ("12345678901234567890123", "12345678901234567890123"),
        ("true", "true"),
        ("hello", r#""hello""#),
        ("", r#""""#),
        (r#"{"a": "#, r#""{\"a\": ""#),
    ] {
        assert_eq!(data_of_text(text).unwrap().get(), json, "{text}");
    }
}

#[test]
fn stdin_loses_its_last_line_break_and_keeps_bytes() {
    assert_eq!(data_of_bytes(b"hello\n").unwrap().get(), r#""hello""#);
    assert_eq!(data_of_bytes(b"a\nb\n\n").unwrap().get(), r#""a\nb\n""#);
    assert_eq!(data_of_bytes(b"[1]\n").unwrap().get(), "[1]");
    assert_eq!(data_of_bytes(b"\xff\x00").unwrap().get(), r#"{"base64":"/wA="}"#);
}

#[test]
fn an_answer_becomes_an_offset_or_words() {
    let receipt = read_answer(200, br#"{"offset":"1-2-3"}"#).unwrap();
    assert_eq!((receipt.offset.as_deref(), remark(&receipt)), (Some("1-2-3"), None));
    let receipt = read_answer(200, b"{}").unwrap();
    assert_eq!(
        remark(&receipt),
        Some("published; the channel has no history, so there is no offset")
    );
    let receipt = read_answer(200, br#"{"offset":"1-2-3","duplicate":true}"#).unwrap();
    assert!(remark(&receipt).unwrap().contains("already"));

    for (status, body, expected) in [
        (
            400,
            r#"{"detail":"a channel's name is 201 bytes long; 200 at most","code":"channel_invalid","field":"channel","retry":false}"#,
            Failure::Refused(
                "channel: a channel's name is 201 bytes long; 200 at most (channel_invalid)".to_owned(),
            ),
        ),
        (
            401,
            r#"{"detail":"this API needs a key","code":"unauthorized"}"#,
            Failure::Refused(
                "this API needs a key; pass a key with --api-key or PUSHCLUSTER_API_KEY (unauthorized)"
                    .to_owned(),
            ),
        ),
        (
            503,
            r#"{"detail":"the gateway is stopping","code":"unavailable","retry":true}"#,
            Failure::Unreachable("the gateway is stopping (unavailable)".to_owned()),
        ),
        (
            404,
            "<html>",
            Failure::Refused(
                "the answer is HTTP 404 without a reason; is --api-url that of a gateway's HTTP API?"
                    .to_owned(),
            ),
        ),
    ] {
        assert_eq!(read_answer(status, body.as_bytes()), Err(expected));
    }
    assert!(read_answer(200, b"<html>").is_err());
}

#[test]
fn the_api_url_is_checked() {
    assert_eq!(
        endpoint("https://push.example.com/").unwrap().as_str(),
        "https://push.example.com/v1/publish"
    );
    for bad in ["127.0.0.1:8081", "ws://127.0.0.1:8081", "", "http://"] {
        assert!(endpoint(bad).is_err(), "{bad}");
    }
    for (url, loopback) in [
        ("http://127.0.0.1:1", true),
        ("http://[::1]:1", true),
        ("http://localhost", true),
        ("http://push.example.com", false),
    ] {
        assert_eq!(is_loopback(&endpoint(url).unwrap()), loopback, "{url}");
    }
}

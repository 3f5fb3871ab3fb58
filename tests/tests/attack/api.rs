//! The HTTP API: keys that are none, keys that may not, and requests that are
//! not the call's.

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::config;

fn call(method: &str, path: &str, headers: &str, body: &str) -> Attack {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
    };
    Attack::Api(
        format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{length}{headers}\r\n{body}"
        )
        .into(),
    )
}

#[allow(clippy::too_many_lines)] // It is one table.
pub fn group() -> Group {
    const NOBODY: Answer = Answer::Says(401, "unauthorized");
    const FORBIDDEN: Answer = Answer::Says(403, "forbidden");
    const BAD: Answer = Answer::Says(400, "bad_request");
    let hash = tests::token::sha256("publisher");
    let publish = r#"{"channel":"public.a","data":1}"#;
    let key = |key: &str| format!("authorization: Bearer {key}\r\n");
    let send = |headers: &str, body: &str| call("POST", "/v1/publish", headers, body);
    let read = |key_name: &str, path: &str| call("GET", path, &key(key_name), "");
    let many = format!(r#"{{"channels":[{}],"data":1}}"#, vec!["\"a\""; 100_000].join(","));
    let deep = format!(
        r#"{{"channel":"public.a","data":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let rows: Vec<Row> = vec![
        // Keys.
        row("no key", send("", publish), NOBODY),
        row("an empty key", send("authorization: Bearer \r\n", publish), NOBODY),
        row("a key that is none", send(&key("nothing"), publish), NOBODY),
        row("the key's hash", send(&key(&hash), publish), NOBODY),
        row("a key's beginning", send(&key("publishe"), publish), NOBODY),
        row("a key and more", send(&key("publisher1"), publish), NOBODY),
        row("a key in capitals", send(&key("PUBLISHER"), publish), NOBODY),
        row("a key as Basic", send("authorization: Basic cHVibGlzaGVyOg==\r\n", publish), NOBODY),
        row(
            "a key in the query",
            call("POST", "/v1/publish?token=publisher&key=publisher", "", publish),
            NOBODY,
        ),
        row("a key in a cookie", send("cookie: key=publisher\r\n", publish), NOBODY),
        row("a client's token", send(&key(&crate::world::bob()), publish), NOBODY),
        row("a key of 10,000 bytes", send(&key(&"x".repeat(10_000)), publish), NOBODY),
        row(
            "two keys that differ",
            send(&(key("nothing") + "x-api-key: publisher\r\n"), publish),
            Answer::Status(&[200, 401]),
        ),
        row(
            "two headers with a key each",
            send(&(key("nothing") + &key("publisher")), publish),
            Answer::Status(&[400, 401]),
        ),
        // Scopes and channels.
        row("a reader publishes", send(&key("reader"), publish), FORBIDDEN),
        row("a publisher reads", read("publisher", "/v1/channels/ann.box/history"), FORBIDDEN),
        row("a publisher lists the gateways", read("publisher", "/v1/gateways"), FORBIDDEN),
        row(
            "a publisher disconnects a user",
            call("POST", "/v1/users/ann/disconnect", &key("publisher"), "{}"),
            FORBIDDEN,
        ),
        row(
            "a reader subscribes a user",
            call("POST", "/v1/users/ann/subscribe", &key("reader"), r#"{"channel":"a"}"#),
            FORBIDDEN,
        ),
        row("orders publishes elsewhere", send(&key("orders"), publish), FORBIDDEN),
        row(
            "orders publishes to one of its own and elsewhere",
            send(&key("orders"), r#"{"channels":["orders.1","public.a"],"data":1}"#),
            FORBIDDEN,
        ),
        row(
            "orders publishes to `orders`",
            send(&key("orders"), r#"{"channel":"orders","data":1}"#),
            FORBIDDEN,
        ),
        row(
            "orders publishes to a name with a wildcard",
            send(&key("orders"), r#"{"channel":"*.1","data":1}"#),
            FORBIDDEN,
        ),
        row(
            "orders publishes to a user",
            send(&key("orders"), r#"{"user":"ann","data":1}"#),
            FORBIDDEN,
        ),
        row("orders publishes to all", send(&key("orders"), r#"{"all":true,"data":1}"#), FORBIDDEN),
        row("orders reads elsewhere", read("orders", "/v1/channels/ann.box/history"), FORBIDDEN),
        row(
            "orders reads elsewhere, escaped",
            read("orders", "/v1/channels/%61nn.box/history"),
            FORBIDDEN,
        ),
        row(
            "orders reads by a path that climbs",
            read("orders", "/v1/channels/orders.1%2F..%2Fann.box/history"),
            Answer::Status(&[200, 403, 404]),
        ),
        row(
            "orders lists channels of others",
            read("orders", "/v1/channels"),
            Answer::Says(200, "\"channels\":["),
        ),
        row(
            "orders reads a user's channel",
            read("orders", "/v1/channels/%24user.ann/history"),
            FORBIDDEN,
        ),
        // Requests.
        row(
            "another type",
            Attack::Api(
                format!(
                    "POST /v1/publish HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\
                     content-type: text/plain\r\ncontent-length: {}\r\n\r\n{publish}",
                    key("publisher"),
                    publish.len()
                )
                .into(),
            ),
            Answer::Says(415, "bad_request"),
        ),
        row("no JSON", send(&key("publisher"), "{"), BAD),
        row("a list", send(&key("publisher"), "[]"), BAD),
        row("two values", send(&key("publisher"), &format!("{publish}{publish}")), BAD),
        row(
            "a key twice",
            send(&key("publisher"), r#"{"channel":"public.a","channel":"ann.box","data":1}"#),
            BAD,
        ),
        row(
            "an unknown key",
            send(&key("publisher"), r#"{"channel":"public.a","data":1,"admin":true}"#),
            BAD,
        ),
        row("no target", send(&key("publisher"), r#"{"data":1}"#), BAD),
        row(
            "two targets",
            send(&key("publisher"), r#"{"channel":"a","user":"ann","data":1}"#),
            BAD,
        ),
        row(
            "a channel with a line's end",
            send(&key("publisher"), r#"{"channel":"a\r\nPUB x","data":1}"#),
            Answer::Says(400, "channel_invalid"),
        ),
        row(
            "a channel with a zero",
            send(&key("publisher"), r#"{"channel":"a\u0000","data":1}"#),
            Answer::Says(400, "channel_invalid"),
        ),
        row(
            "a channel of 201 bytes",
            send(&key("publisher"), &format!(r#"{{"channel":"{}","data":1}}"#, "x".repeat(201))),
            Answer::Says(400, "channel_invalid"),
        ),
        row(
            "a system channel without a name",
            send(&key("publisher"), r#"{"channel":"$user.","data":1}"#),
            Answer::Says(400, "channel_invalid"),
        ),
        row(
            "a namespace without a name",
            send(&key("publisher"), r#"{"channel":"$ns..room","data":1}"#),
            Answer::Says(400, "channel_invalid"),
        ),
        row(
            "an event with a line's end",
            send(&key("publisher"), r#"{"channel":"a","event":"e\ndata: x","data":1}"#),
            Answer::Says(400, "event_invalid"),
        ),
        row(
            "a reserved event",
            send(&key("publisher"), r#"{"channel":"a","event":"connect_error","data":1}"#),
            Answer::Says(400, "event_reserved"),
        ),
        row(
            "a notice of the gateway's own",
            send(&key("publisher"), r#"{"channel":"a","event":"push:offset","data":1}"#),
            Answer::Says(400, "event_reserved"),
        ),
        row(
            "bytes beside what looks like a placeholder",
            send(
                &key("publisher"),
                r#"{"channel":"a","args":[{"base64":"AAAA"},{"_placeholder":true,"num":0}]}"#,
            ),
            BAD,
        ),
        row(
            "eleven times bytes",
            send(
                &key("publisher"),
                &format!(
                    r#"{{"channel":"a","args":[{}]}}"#,
                    [r#"{"base64":"AA=="}"#; 11].join(",")
                ),
            ),
            BAD,
        ),
        row("100,000 channels", send(&key("publisher"), &many), BAD),
        row("100,000 levels", send(&key("publisher"), &deep), Answer::Status(&[200, 400])),
        row(
            "a ttl below zero",
            send(&key("publisher"), r#"{"channel":"a","data":1,"ttl":-1}"#),
            BAD,
        ),
        row(
            "a ttl beyond 64 bits",
            send(&key("publisher"), r#"{"channel":"a","data":1,"ttl":99999999999999999999}"#),
            BAD,
        ),
        row(
            "an id with a line's end",
            send(&key("publisher"), r#"{"channel":"a","data":1,"id":"a\r\nb"}"#),
            BAD,
        ),
        row(
            "a body that announces 100 MB",
            call(
                "POST",
                "/v1/publish",
                &format!(
                    "{}content-type: application/json\r\ncontent-length: 100000000\r\n",
                    key("publisher")
                ),
                "",
            ),
            Answer::Status(&[0, 400, 408, 413]),
        ),
        row(
            "a limit beyond 64 bits",
            read("reader", "/v1/channels/public.a/history?limit=99999999999999999999"),
            BAD,
        ),
        row("a limit of nothing", read("reader", "/v1/channels/public.a/history?limit=0"), BAD),
        row(
            "a parameter twice",
            read("reader", "/v1/channels/public.a/history?limit=1&limit=2"),
            BAD,
        ),
        row(
            "an offset that is none",
            read("reader", "/v1/channels/public.a/history?since=x"),
            Answer::Says(400, "offset_invalid"),
        ),
        row("a user's name that is no UTF-8", read("reader", "/v1/users/%ff"), BAD),
        row(
            "a method that is not the call's",
            call("DELETE", "/v1/publish", &key("publisher"), ""),
            Answer::Says(405, "method_not_allowed"),
        ),
        row(
            "a path that is none",
            call("GET", "/v1/secrets", &key("publisher"), ""),
            Answer::Says(404, "not_found"),
        ),
        row(
            "the admin's page at the API",
            call("GET", "/metrics", &key("publisher"), ""),
            Answer::Status(&[404]),
        ),
        row(
            "a web page asks to publish",
            call(
                "OPTIONS",
                "/v1/publish",
                "origin: https://evil.example\r\naccess-control-request-method: POST\r\n",
                "",
            ),
            Answer::Status(&[401, 403, 404, 405]),
        ),
    ];
    Group { name: "api", config: config(), rows }
}

//! HTTP that two programs could read in two ways, and HTTP that isn't.

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::{config, upgrade};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

/// A request without a body; the connection is to be closed.
fn get(path: &str, headers: &str) -> Attack {
    let text = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    Attack::Client(text.into_bytes())
}

/// A request as it stands.
fn raw(text: impl Into<Vec<u8>>) -> Attack {
    Attack::Client(text.into())
}

/// To the API, with a key that may publish.
fn publish(headers: &str, body: &str) -> Attack {
    let text = format!(
        "POST /v1/publish HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer publisher\r\ncontent-type: application/json\r\n{headers}\r\n{body}"
    );
    Attack::Api(text.into_bytes())
}

/// The same on a connection that could go on, with a request behind it.
fn both(headers: &str, body: &str) -> Attack {
    let text = format!(
        "POST /v1/publish HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer publisher\r\n\
         content-type: application/json\r\n{headers}\r\n{body}\
         GET /v1/gateways HTTP/1.1\r\nhost: localhost\r\n\r\n"
    );
    Attack::Api(text.into_bytes())
}

/// To the admin listener, without a body.
fn admin(line: &str, headers: &str) -> Attack {
    let text = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n"
    );
    Attack::Admin(text.into_bytes())
}

#[allow(clippy::too_many_lines)] // It is one table.
pub fn group() -> Group {
    const BAD: Answer = Answer::Status(&[400]);
    let body = r#"{"channel":"public.a","data":1}"#;
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let smuggled = "GET /nothing-here HTTP/1.1\r\nhost: a\r\n\r\n";
    let huge = "x".repeat(200_000);
    let rows: Vec<Row> = vec![
        // --- where does a request end? ---
        row(
            "a length and chunks, and a request behind them",
            both(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"), &chunked),
            Answer::Last(200),
        ),
        row(
            "chunks and a length, and a request behind them",
            both(&format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &chunked),
            Answer::Last(200),
        ),
        row(
            "a length and chunks, to clients, and a request behind them",
            raw(format!(
                "POST {POLL} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\
                 transfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            )),
            Answer::Last(400),
        ),
        row(
            "two lengths that differ",
            publish("content-length: 3\r\ncontent-length: 40\r\n", body),
            BAD,
        ),
        row("two lengths in one header", publish("content-length: 3, 40\r\n", body), BAD),
        row("a length below zero", publish("content-length: -1\r\n", body), BAD),
        row("a length with a plus", publish(&format!("content-length: +{length}\r\n"), body), BAD),
        row("a length in hexadecimal", publish("content-length: 0x1f\r\n", body), BAD),
        row(
            "a length beyond 64 bits",
            publish("content-length: 99999999999999999999999\r\n", body),
            BAD,
        ),
        row(
            "a length of all 64 bits",
            publish("content-length: 18446744073709551615\r\n", body),
            Answer::Status(&[0, 400, 413, 431]),
        ),
        row(
            "an encoding that is not chunked",
            publish("transfer-encoding: identity\r\n", body),
            BAD,
        ),
        row(
            "chunked and then something",
            publish("transfer-encoding: chunked, gzip\r\n", &chunked),
            BAD,
        ),
        row(
            "chunked behind a vertical tab",
            publish("transfer-encoding: \x0bchunked\r\n", &chunked),
            BAD,
        ),
        row(
            "a chunk's size that is none",
            publish("transfer-encoding: chunked\r\n", "zz\r\n"),
            BAD,
        ),
        row(
            "a chunk's size of all 64 bits",
            publish("transfer-encoding: chunked\r\n", "ffffffffffffffff\r\nabc"),
            Answer::Status(&[0, 400, 413]),
        ),
        row(
            "a chunk's size beyond 64 bits",
            publish("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nabc"),
            Answer::Status(&[400, 413]),
        ),
        row(
            "a chunk's extension without end",
            publish("transfer-encoding: chunked\r\n", &format!("1;{huge}")),
            BAD,
        ),
        row(
            "a body behind a GET is no second request",
            raw(format!(
                "GET /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\nconnection: close\r\n\r\n\
                 {smuggled}",
                smuggled.len()
            )),
            Answer::Says(404, "not_found"),
        ),
        // --- what is a header? ---
        row("a folded header", get(POLL, "x-a: b\r\n c\r\n"), BAD),
        row("a space before the colon", get(POLL, "x-a : b\r\n"), BAD),
        row("a header without a colon", get(POLL, "x-a\r\n"), BAD),
        row("a header without a name", get(POLL, ": a\r\n"), BAD),
        row("a zero byte in a header", get(POLL, "x-a: b\0c\r\n"), BAD),
        row("a lone carriage return in a header", get(POLL, "x-a: b\rc\r\n"), BAD),
        row("a name with a control character", get(POLL, "x\x01a: b\r\n"), BAD),
        row("a name with a letter beyond ASCII", get(POLL, "x-é: b\r\n"), BAD),
        row(
            "a header of 200,000 bytes",
            get(POLL, &format!("x-a: {huge}\r\n")),
            Answer::Status(&[400, 431]),
        ),
        row(
            "a name of 200,000 bytes",
            get(POLL, &format!("{huge}: a\r\n")),
            Answer::Status(&[400, 431]),
        ),
        row("2,000 headers", get(POLL, &"x-a: b\r\n".repeat(2000)), Answer::Status(&[400, 431])),
        row(
            "a path of 200,000 bytes",
            get(&format!("/{huge}"), ""),
            Answer::Status(&[400, 414, 431]),
        ),
        row(
            "a query of 200,000 bytes",
            get(&format!("{POLL}&x={huge}"), ""),
            Answer::Status(&[400, 414, 431]),
        ),
        row("no host", raw(format!("GET {POLL} HTTP/1.1\r\nconnection: close\r\n\r\n")), BAD),
        row("two hosts", get(POLL, "host: b\r\n"), BAD),
        row(
            "two hosts, to the API",
            publish(&format!("host: localhost\r\ncontent-length: {length}\r\n"), body),
            BAD,
        ),
        // --- what is a request? ---
        row("a method that is none", raw(format!("G\0T {POLL} HTTP/1.1\r\nhost: a\r\n\r\n")), BAD),
        row("HTTP/0.9", raw("GET /\r\n"), Answer::Status(&[0, 400])),
        row("HTTP/9.9", raw("GET / HTTP/9.9\r\nhost: a\r\n\r\n"), BAD),
        row(
            "the preface of HTTP/2",
            raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            Answer::Status(&[0, 400, 505]),
        ),
        row(
            "an upgrade to HTTP/2",
            get("/nothing", "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"),
            Answer::Says(404, "not_found"),
        ),
        row(
            "a TLS handshake",
            raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
            Answer::Status(&[0, 400]),
        ),
        row(
            "CONNECT to somewhere else",
            raw("CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: a\r\n\r\n"),
            Answer::Status(&[400, 404, 405]),
        ),
        row(
            "a whole URL of somewhere else",
            raw(
                "GET http://127.0.0.1:9/v1/gateways HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            ),
            Answer::Says(404, "not_found"),
        ),
        row(
            "a path that climbs",
            get("/socket.io/../../etc/passwd", ""),
            Answer::Status(&[400, 404]),
        ),
        row(
            "the API's path on the client listener",
            get("/v1/gateways", ""),
            Answer::Says(404, "not_found"),
        ),
        row(
            "the admin's path on the client listener",
            get("/metrics", ""),
            Answer::Says(404, "not_found"),
        ),
        row(
            "the drain's path on the client listener",
            raw(
                "POST /drain HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            ),
            Answer::Says(404, "not_found"),
        ),
        row(
            "the peers' path on the client listener",
            get("/peer/poll?sid=a", "push-peer: a\r\npush-digest: a\r\n"),
            Answer::Says(404, "not_found"),
        ),
        row(
            "TRACE sends nothing back",
            raw("TRACE /ws HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncookie: secret\r\n\r\n"),
            Answer::Status(&[400, 405]),
        ),
        row("a request within a header", get("/nothing", "x-a: b\nGET /metrics HTTP/1.1\n"), BAD),
        // --- the admin listener ---
        row(
            "a web page starts a drain",
            admin("POST /drain", "origin: https://evil.example\r\n"),
            Answer::Status(&[403]),
        ),
        row("a drain by GET", admin("GET /drain", ""), Answer::Status(&[405])),
        row(
            "a path that climbs to the drain",
            admin("POST /livez/../drain", ""),
            Answer::Status(&[404]),
        ),
        row(
            "a header of 200,000 bytes, to the admin listener",
            admin("GET /status", &format!("x-a: {huge}\r\n")),
            Answer::Status(&[0, 400, 431]),
        ),
        // --- WebSocket handshakes ---
        row("an upgrade in HTTP/1.0", raw(upgrade("/ws", "").replace("HTTP/1.1", "HTTP/1.0")), BAD),
        row(
            "an upgrade by POST",
            raw(upgrade("/ws", "content-length: 0\r\n").replacen("GET", "POST", 1)),
            BAD,
        ),
        row("version 8", raw(upgrade("/ws", "").replace(": 13", ": 8")), BAD),
        row("version 14", raw(upgrade("/ws", "").replace(": 13", ": 14")), BAD),
        row("no key", raw(upgrade("/ws", "").replace("sec-websocket-key", "x-key")), BAD),
        row("a short key", raw(upgrade("/ws", "").replace("dGhl", "")), BAD),
        row("a long key", raw(upgrade("/ws", "").replace("dGhl", "dGhldGhl")), BAD),
        row(
            "two keys",
            raw(upgrade("/ws", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")),
            BAD,
        ),
        row(
            "a key that is no base64",
            raw(upgrade("/ws", "").replace("dGhlIHNhbXBs", "!!!!!!!!!!!!")),
            BAD,
        ),
        row(
            "an upgrade to something else",
            raw(upgrade("/ws", "").replace(": websocket", ": tls")),
            BAD,
        ),
        row("an upgrade with a body", raw(upgrade("/ws", "content-length: 100000\r\n")), BAD),
        row(
            "an upgrade of the page",
            Attack::Api(upgrade("/", "").into_bytes()),
            Answer::Status(&[200, 400, 403]),
        ),
    ];
    Group { name: "http", config: config(), rows }
}

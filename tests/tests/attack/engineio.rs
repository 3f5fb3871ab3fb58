//! Engine.IO: packets, payloads and requests that are not the protocol's.

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::{config, frame};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLL: &str = "/socket.io/?EIO=4&transport=polling";

fn socket(texts: &[&str]) -> Attack {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    Attack::Socket { path: SOCKET.into(), texts, bytes: Vec::new() }
}

fn posts(bodies: &[&[u8]]) -> Attack {
    let posts = bodies.iter().map(|body| body.to_vec()).collect();
    Attack::Polling { query: String::new(), posts }
}

fn request(method: &str, path: &str, more: &str) -> Attack {
    Attack::Client(
        format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n").into(),
    )
}

#[allow(clippy::too_many_lines)] // It is one table.
pub fn group() -> Group {
    const ENDED: Answer = Answer::Closed(&[1000, 1002, 1003, 1006, 1007]);
    let large = vec![b'4'; 1_000_001];
    let many = b"6\x1e".repeat(400_000);
    let rows: Vec<Row> = vec![
        // Handshakes.
        row(
            "no transport",
            request("GET", "/socket.io/?EIO=4", ""),
            Answer::Says(400, "\"code\":0"),
        ),
        row(
            "a transport that is none",
            request("GET", "/socket.io/?EIO=4&transport=__proto__", ""),
            Answer::Says(400, "\"code\":0"),
        ),
        row(
            "version 3",
            request("GET", "/socket.io/?EIO=3&transport=polling", ""),
            Answer::Says(400, "\"code\":5"),
        ),
        row(
            "no version",
            request("GET", "/socket.io/?transport=polling", ""),
            Answer::Says(400, "\"code\":5"),
        ),
        row(
            "version 4 and then something",
            request("GET", "/socket.io/?EIO=4%00&transport=polling", ""),
            Answer::Says(400, "\"code\":5"),
        ),
        row(
            "a handshake by POST",
            request("POST", POLL, "content-length: 0\r\n"),
            Answer::Says(400, "\"code\":2"),
        ),
        row("a handshake by DELETE", request("DELETE", POLL, ""), Answer::Says(400, "\"code\":2")),
        row(
            "a WebSocket's transport without an upgrade",
            request("GET", SOCKET, ""),
            Answer::Says(400, "\"code\":3"),
        ),
        row(
            "an upgrade with the transport of polling",
            Attack::Client(crate::world::upgrade(POLL, "").into()),
            Answer::Status(&[400]),
        ),
        // Packets over a WebSocket.
        row("an empty packet", socket(&[""]), ENDED),
        row("a type that is none", socket(&["7"]), ENDED),
        row("a letter as a type", socket(&["x"]), ENDED),
        row("a client that says hello as a server", socket(&["0{\"sid\":\"x\"}"]), Answer::Lives),
        row("a ping from a client", socket(&["2"]), ENDED),
        row("base64 that is none", socket(&["40", "b!!!!"]), ENDED),
        row(
            "text that is no UTF-8",
            Attack::Socket { path: SOCKET.into(), texts: vec![], bytes: frame(0x81, b"4\xff") },
            ENDED,
        ),
        row("an upgrade packet where there is none", socket(&["5"]), Answer::Lives),
        row("a pong that nobody asked for", socket(&["3"]), Answer::Lives),
        row(
            "bytes that nobody announced",
            Attack::Socket {
                path: SOCKET.into(),
                texts: vec!["40".into()],
                bytes: frame(0x82, b"abc"),
            },
            ENDED,
        ),
        row(
            "a message above maxPayload",
            Attack::Socket { path: SOCKET.into(), texts: vec![], bytes: frame(0x81, &large) },
            Answer::Closed(&[1009, 1006]),
        ),
        // Payloads.
        row("an empty body", posts(&[b""]), Answer::Words("code\":1")),
        row("only separators", posts(&[b"\x1e\x1e\x1e"]), Answer::Words("code\":1")),
        row("a good packet and a bad one", posts(&[b"40\x1ex"]), Answer::Words("code\":1")),
        row("a body that is no UTF-8", posts(&[b"4\xff\xfe"]), Answer::Words("code\":1")),
        row("a body above maxPayload", posts(&[&large]), Answer::Words("POST 413")),
        row("400,000 packets in one body", posts(&[b"40", &many]), Answer::Words("code\":1")),
        row("payloads as revision 3 wrote them", posts(&[b"2:40"]), Answer::Words("code\":1")),
        row("a close and then a packet", posts(&[b"1\x1e40"]), Answer::Words("code\":1")),
        // Requests of no session.
        row(
            "a poll of nothing",
            request("GET", &format!("{POLL}&sid=nothing"), ""),
            Answer::Says(400, "\"code\":1"),
        ),
        row(
            "data for nothing",
            request("POST", &format!("{POLL}&sid=nothing"), "content-length: 1\r\n\r\n6"),
            Answer::Says(400, "\"code\":1"),
        ),
        row(
            "DELETE of nothing",
            request("DELETE", &format!("{POLL}&sid=nothing"), ""),
            Answer::Says(400, "\"code\":1"),
        ),
        row(
            "two sids: the last one counts",
            request("GET", &format!("{POLL}&sid=a&sid=nothing"), ""),
            Answer::Says(400, "\"code\":1"),
        ),
        row(
            "a sid as a list",
            request("GET", &format!("{POLL}&sid[]=a"), ""),
            Answer::Words("0{\"sid\""),
        ),
        row(
            "JSONP is not spoken",
            request("GET", &format!("{POLL}&j=alert(1)"), ""),
            Answer::Words("\r\n\r\n0{\"sid\""),
        ),
    ];
    Group { name: "engineio", config: config(), rows }
}

//! Ids and offsets that no gateway gave: session ids, private ids, places in
//! history.

use gateway::session::sid::{GatewayId, SidKey, SidParts};
use serde_json::json;

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::{bob, config};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

pub fn group() -> Group {
    let mut rows: Vec<Row> = Vec::new();
    let issued = SidKey::new(b"another cluster's secret")
        .issue(SidParts { gateway: GatewayId(7), shard: 0 })
        .unwrap();
    let sids = [
        ("another cluster's", issued.to_string()),
        ("with an address", "127.0.0.1:9".into()),
        ("with a URL", "http%3A%2F%2F127.0.0.1%3A9".into()),
        ("with a path", "..%2F..%2Fpeer%2Fpoll".into()),
        ("of zeros", "A".repeat(40)),
        ("too short", issued[..39].to_owned()),
        ("too long", format!("{issued}A")),
        ("of 10,000 letters", "A".repeat(10_000)),
        ("with a line's end", "a%0D%0Ahost%3A%20b".into()),
        ("that is no UTF-8", "%ff%fe".into()),
    ];
    for (name, sid) in &sids {
        let head =
            |path: String| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        rows.push(row(
            format!("a session id {name}, polled"),
            Attack::Client(head(format!("{POLL}&sid={sid}")).into()),
            Answer::Says(400, "\"code\":1"),
        ));
        rows.push(row(
            format!("a session id {name}, upgraded"),
            Attack::Client(crate::world::upgrade(&format!("{SOCKET}&sid={sid}"), "").into()),
            Answer::Says(400, "Session ID unknown"),
        ));
    }
    // A private id that is not one's own makes a new session.
    let pids = [
        ("made up", json!("AAAAAAAAAAAAAAAAAAAAAAAA")),
        ("that is empty", json!("")),
        ("that is a list", json!(["a"])),
        ("of 100,000 letters", json!("A".repeat(100_000))),
        ("with wildcards", json!("*.>")),
        ("with a line's end", json!("a\r\nPUB b")),
    ];
    for (name, pid) in pids {
        let auth = json!({"token": bob(), "pid": pid, "offset": "0-0-0"});
        rows.push(row(
            format!("a private id {name}"),
            Attack::Socket {
                path: SOCKET.into(),
                texts: vec![format!("40{auth}")],
                bytes: Vec::new(),
            },
            Answer::Words("40{\"pid\""),
        ));
    }
    let offsets = [
        "x",
        "0",
        "0-0",
        "0-0-0-0",
        "-1-0-0",
        "0-0-0;",
        "0-0-0;ann.box",
        "0-0-0;ann.box:",
        "zzzzzzzzzzzzzz-0-0",
        "00-0-0",
        "A-0-0",
        "0-0-0;%zz:1",
        "0 0 0",
    ];
    for offset in offsets {
        let subscribe = json!({"id": 1, "subscribe": {"channel": "bob.a", "since": offset}});
        rows.push(row(
            format!("an offset `{offset}`"),
            Attack::Socket {
                path: format!("/ws?token={}", bob()),
                texts: vec![subscribe.to_string()],
                bytes: Vec::new(),
            },
            Answer::Words("offset_invalid"),
        ));
    }
    // Well formed, of a life that never was: told, and nothing comes.
    for offset in ["1-1-1", "0-0-0;ann.box:0", "3w5e11264sgsf-3w5e11264sgsf-3w5e11264sgsf"] {
        let subscribe = json!({"id": 1, "subscribe": {"channel": "bob.a", "since": offset}});
        rows.push(row(
            format!("an offset of no stream: `{offset}`"),
            Attack::Socket {
                path: format!("/ws?token={}", bob()),
                texts: vec![subscribe.to_string()],
                bytes: Vec::new(),
            },
            Answer::Words("\"recovered\":false"),
        ));
        let stream = format!(
            "GET /sse?channel=bob.a&token={} HTTP/1.1\r\nhost: a\r\nlast-event-id: {offset}\r\n\r\n",
            bob()
        );
        rows.push(row(
            format!("a last event of no stream: `{offset}`"),
            Attack::Client(stream.into()),
            Answer::Status(&[200]),
        ));
    }
    Group { name: "ids", config: config(), rows }
}

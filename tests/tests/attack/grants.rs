//! What is Ann's is nobody else's: by every protocol, every action, and every
//! way to spell it.

use serde_json::{Value, json};

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::{bob, config};

/// Who tries.
#[derive(Clone, Copy, Debug)]
enum Who {
    Bob,
    Guest,
}

/// By which protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    SocketIo,
    Polling,
    Plain,
    Sse,
}

const WAYS: [Way; 4] = [Way::SocketIo, Way::Polling, Way::Plain, Way::Sse];

/// Ann's channel, the system's, and names that look like either.
const CHANNELS: [&str; 12] = [
    "ann.box",
    "ann.>",
    "*.box",
    ">",
    "ann.box ",
    "ann%2Ebox",
    "$user.ann",
    "$user.bob",
    "$all",
    "$sid.x",
    "$ns.admin.room",
    "$tick",
];

impl Who {
    fn token(self) -> Option<String> {
        match self {
            Self::Bob => Some(bob()),
            Self::Guest => None,
        }
    }
}

fn attack(way: Way, who: Who, command: &str, argument: &Value) -> Attack {
    let token = who.token();
    let auth = token.as_ref().map(|token| json!({"token": token}).to_string()).unwrap_or_default();
    let query = token.map(|token| format!("token={token}")).unwrap_or_default();
    let event = format!("420{}", json!([format!("push:{command}"), argument]));
    match way {
        Way::SocketIo => Attack::Socket {
            path: "/socket.io/?EIO=4&transport=websocket".into(),
            texts: vec![format!("40{auth}"), event],
            bytes: Vec::new(),
        },
        Way::Polling => Attack::Polling {
            query: String::new(),
            posts: vec![format!("40{auth}").into_bytes(), event.into_bytes()],
        },
        Way::Plain => Attack::Socket {
            path: format!("/ws?{query}"),
            texts: vec![json!({"id": 1, command: argument}).to_string()],
            bytes: Vec::new(),
        },
        Way::Sse => {
            let channel = escaped(argument["channel"].as_str().unwrap());
            let since = argument["since"].as_str().map(|since| format!("&since={since}"));
            let last = argument["last"].as_u64().map(|last| format!("&last={last}"));
            let path = format!(
                "/sse?channel={channel}&{query}{}{}",
                since.unwrap_or_default(),
                last.unwrap_or_default()
            );
            Attack::Client(
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").into(),
            )
        }
    }
}

fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

pub fn group() -> Group {
    let mut rows: Vec<Row> = Vec::new();
    let mut forbidden = |way: Way, who: Who, command: &str, argument: Value| {
        let name = format!("{who:?} by {way:?}: {command} {argument}");
        rows.push(row(name, attack(way, who, command, &argument), Answer::Words("\"forbidden\"")));
    };
    for way in WAYS {
        for channel in CHANNELS {
            forbidden(way, Who::Bob, "subscribe", json!({"channel": channel}));
        }
        forbidden(way, Who::Guest, "subscribe", json!({"channel": "ann.box"}));
        // A resume is a way to read, too.
        forbidden(way, Who::Bob, "subscribe", json!({"channel": "ann.box", "last": 10}));
        forbidden(way, Who::Bob, "subscribe", json!({"channel": "ann.box", "since": "0-0-0"}));
        if way == Way::Sse {
            continue;
        }
        for channel in ["ann.box", "public.a", "$user.ann", "$all"] {
            forbidden(way, Who::Bob, "publish", json!({"channel": channel, "data": "x"}));
        }
        for channel in ["ann.box", "public.a", "$user.bob"] {
            forbidden(way, Who::Bob, "history", json!({"channel": channel}));
        }
        forbidden(way, Who::Guest, "publish", json!({"channel": "public.a", "data": "x"}));
        forbidden(way, Who::Guest, "history", json!({"channel": "ann.box"}));
    }
    // One channel that is allowed opens the door for none that isn't.
    let both = format!(
        "GET /sse?channel=bob.a&channel=ann.box&token={} HTTP/1.1\r\nhost: a\r\n\r\n",
        bob()
    );
    rows.push(row(
        "Bob by Sse: his and hers",
        Attack::Client(both.into()),
        Answer::Says(403, "forbidden"),
    ));
    Group { name: "grants", config: config(), rows }
}

//! Web pages that were not let in.

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::{config, upgrade};

pub fn group() -> Group {
    const PAGE: &str = "https://app.example.com";
    let origins = [
        "https://evil.example",
        "null",
        "",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "https://app.example.com:444",
        "https://app.example.com@evil.example",
        "https://app.example.com/",
        "https://app.example.com, https://evil.example",
        "app.example.com",
        "file://",
    ];
    let mut rows: Vec<Row> = Vec::new();
    for origin in origins {
        let header = format!("origin: {origin}\r\n");
        let get = |path: &str| {
            let text =
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n");
            Attack::Client(text.into_bytes())
        };
        rows.push(row(
            format!("`{origin}` polls"),
            get("/socket.io/?EIO=4&transport=polling"),
            Answer::Says(403, "\"code\":4"),
        ));
        rows.push(row(
            format!("`{origin}` opens a stream"),
            get("/sse?channel=public.a"),
            Answer::Says(403, "forbidden"),
        ));
        rows.push(row(
            format!("`{origin}` opens a WebSocket"),
            Attack::Client(upgrade("/ws", &header).into()),
            Answer::Says(403, "forbidden"),
        ));
    }
    let two = format!("origin: {PAGE}\r\norigin: https://evil.example\r\n");
    rows.push(row(
        "two origins",
        Attack::Client(upgrade("/ws", &two).into()),
        Answer::Status(&[400, 403]),
    ));
    rows.push(row(
        "the page itself is let in",
        Attack::Client(upgrade("/ws", &format!("origin: {PAGE}\r\n")).into()),
        Answer::Status(&[101]),
    ));
    let config = config() + &format!("client: {{allowedOrigins: [\"{PAGE}\"]}}\n");
    Group { name: "origins", config, rows }
}

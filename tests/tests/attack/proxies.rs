//! The PROXY protocol: what stands before a connection's first byte, from
//! proxies and from strangers.

use crate::addresses::pair;
use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::config;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const ASKED: &[u8] =
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
/// 198.18.0.1 and 10.0.0.1, ports 1 and 2.
const FOUR: &[u8] = &[198, 18, 0, 1, 10, 0, 0, 1, 0, 1, 0, 2];

/// A header of version 2: version and command, family, length, the rest.
fn second(command: u8, family: u8, length: usize, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(length).expect("16 bits");
    [SIGNATURE, &[command, family], &length.to_be_bytes(), rest].concat()
}

/// The same, of the length that it has.
fn whole(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    second(command, family, rest.len(), rest)
}

/// An extension (TLV): its kind, its length, its value.
fn extension(kind: u8, length: u16, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes(), value].concat()
}

/// From a proxy: a header and a request.
fn proxy(name: &str, header: impl AsRef<[u8]>, answer: Answer) -> Row {
    row(name, Attack::From("127.1", [header.as_ref(), ASKED].concat()), answer)
}

/// From somebody who is none.
fn stranger(name: &str, header: impl AsRef<[u8]>) -> Row {
    row(name, Attack::From("127.2", [header.as_ref(), ASKED].concat()), Answer::Cut)
}

#[allow(clippy::too_many_lines)] // It is one table.
pub fn group() -> Group {
    const GOOD: Answer = Answer::Status(&[200]);
    let line = "PROXY TCP4 198.18.0.1 10.0.0.1 1 2\r\n";
    let with = |extensions: &[u8]| whole(0x21, 0x11, &[FOUR, extensions].concat());
    let long = vec![b'x'; 3000];
    let rows: Vec<Row> = vec![
        // --- none ---
        proxy("no header", "", Answer::Cut),
        proxy("a line that is something else", "HELLO WORLD, HOW ARE YOU\r\n", Answer::Cut),
        proxy("zeros", [0; 64], Answer::Cut),
        proxy("the word in small letters", line.replace("PROXY", "proxy"), Answer::Cut),
        proxy("a space before it", format!(" {line}"), Answer::Cut),
        row("nothing at all", Attack::From("127.1", Vec::new()), Answer::Cut),
        row("the word alone", Attack::From("127.1", b"PROXY".to_vec()), Answer::Cut),
        row("half a line", Attack::From("127.1", line.as_bytes()[..20].to_vec()), Answer::Cut),
        row("half a signature", Attack::From("127.1", SIGNATURE[..7].to_vec()), Answer::Cut),
        row(
            "a head without the rest",
            Attack::From("127.1", second(0x21, 0x11, 12, &FOUR[..5])),
            Answer::Cut,
        ),
        // --- version 1 ---
        proxy("version 1", line, GOOD),
        proxy("version 1, who knows who", "PROXY UNKNOWN\r\n", GOOD),
        proxy("version 1, unknown and more", "PROXY UNKNOWN ffff::1 ::1 9 9\r\n", GOOD),
        proxy("a line feed alone", line.replace("\r\n", "\n"), Answer::Cut),
        proxy("a line of 200 bytes", format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)), Answer::Cut),
        proxy("a line without end", format!("PROXY TCP4 {}", "1".repeat(100_000)), Answer::Cut),
        proxy("addresses of the other family", "PROXY TCP4 ::1 ::1 1 2\r\n", Answer::Cut),
        proxy("one address", "PROXY TCP4 198.18.0.1 1 2\r\n", Answer::Cut),
        proxy("no ports", "PROXY TCP4 198.18.0.1 10.0.0.1\r\n", Answer::Cut),
        proxy("a port beyond 65535", line.replace(" 2\r", " 65536\r"), Answer::Cut),
        proxy("a port with a sign", line.replace(" 2\r", " +2\r"), Answer::Cut),
        proxy("a word too many", line.replace(" 2\r", " 2 3\r"), Answer::Cut),
        proxy("two spaces", line.replace(" 2\r", "  2\r"), Answer::Cut),
        proxy("a zero byte", line.replace(" 2\r", " 2\0\r"), Answer::Cut),
        proxy("UDP", line.replace("TCP4", "UDP4"), Answer::Cut),
        proxy("octal numbers", line.replace("198.18.0.1", "0306.18.0.1"), Answer::Cut),
        proxy("a name", line.replace("198.18.0.1", "localhost"), Answer::Cut),
        proxy("two headers", format!("{line}{line}"), Answer::Status(&[400])),
        // --- version 2 ---
        proxy("version 2", whole(0x21, 0x11, FOUR), GOOD),
        proxy("LOCAL", whole(0x20, 0x00, b""), GOOD),
        proxy("LOCAL, with an address that doesn't count", whole(0x20, 0x11, FOUR), GOOD),
        proxy("LOCAL, with anything", whole(0x20, 0xff, &long), GOOD),
        proxy("nothing known", whole(0x21, 0x00, b"whatever"), GOOD),
        proxy("a Unix socket", whole(0x21, 0x31, &[b'/'; 216]), GOOD),
        proxy("half a Unix socket", whole(0x21, 0x31, &[b'/'; 100]), Answer::Cut),
        proxy("version 3", whole(0x31, 0x11, FOUR), Answer::Cut),
        proxy("version 1 in bytes", whole(0x11, 0x11, FOUR), Answer::Cut),
        proxy("a command that is none", whole(0x22, 0x11, FOUR), Answer::Cut),
        proxy("a family that is none", whole(0x21, 0x41, FOUR), Answer::Cut),
        proxy("IPv6 in the place of IPv4", whole(0x21, 0x21, FOUR), Answer::Cut),
        proxy("addresses of no bytes", whole(0x21, 0x11, b""), Answer::Cut),
        proxy("an address too short", whole(0x21, 0x11, &FOUR[..11]), Answer::Cut),
        proxy(
            "two headers of version 2",
            whole(0x21, 0x11, FOUR).repeat(2),
            Answer::Status(&[400]),
        ),
        // --- extensions ---
        proxy(
            "extensions",
            with(&[extension(2, 5, b"a.org"), extension(4, 3, b"abc")].concat()),
            GOOD,
        ),
        proxy(
            "an extension that is longer than the header",
            with(&extension(2, 60_000, b"abc")),
            GOOD,
        ),
        proxy("half an extension", with(&[2, 0]), GOOD),
        proxy("an extension of 3,000 bytes", with(&extension(0xe0, 3000, &long)), GOOD),
        proxy("4,097 bytes", whole(0x21, 0x11, &vec![1; 4097]), Answer::Cut),
        proxy("65,535 bytes", whole(0x21, 0x11, &vec![1; 65_535]), Answer::Cut),
        row(
            "65,535 bytes that don't come",
            Attack::From("127.1", second(0x20, 0x00, 65_535, b"")),
            Answer::Cut,
        ),
        // --- whose word counts ---
        stranger("a stranger, version 1", line),
        stranger("a stranger, version 2", whole(0x21, 0x11, FOUR)),
        stranger("a stranger, LOCAL", whole(0x20, 0x00, b"")),
        stranger("a stranger without a header", ""),
    ];
    Group { name: "proxies", config: behind("handshakeTimeout: 1s"), rows }
}

/// Whom the gateway takes for the client, of both: see [`crate::addresses`].
pub fn with_headers() -> Group {
    let rows: Vec<Row> = vec![
        row(
            "who the header names may not name another",
            Attack::From(
                "127.1",
                [
                    b"PROXY TCP4 %A 10.0.0.1 1 2\r\n".to_vec(),
                    pair("", "x-forwarded-for: %B\r\nforwarded: for=%B\r\n"),
                ]
                .concat(),
            ),
            Answer::Words("connectionsPerAddress"),
        ),
        row(
            "unless it is a proxy itself",
            Attack::From(
                "127.1",
                [
                    b"PROXY TCP4 127.1.0.1 10.0.0.1 1 2\r\n".to_vec(),
                    pair("x-forwarded-for: %A\r\n", "x-forwarded-for: %B\r\n"),
                ]
                .concat(),
            ),
            Answer::Served(2),
        ),
    ];
    Group { name: "proxies and headers", config: behind("connectionsPerAddress: 1"), rows }
}

fn behind(limits: &str) -> String {
    format!(
        "{}client: {{proxyProtocol: true, trustedProxies: [127.1.0.0/16]}}\n\
         limits: {{{limits}}}\n",
        config()
    )
}

//! WebSocket frames against RFC 6455.

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::{config, frame};

/// Behind an open `/ws`.
fn send(bytes: impl Into<Vec<u8>>) -> Attack {
    Attack::Socket { path: "/ws".into(), texts: Vec::new(), bytes: bytes.into() }
}

/// A header as it stands, a mask of zeros, and a payload.
fn header(head: &[u8], payload: &[u8]) -> Attack {
    send([head, &[0; 4], payload].concat())
}

#[allow(clippy::too_many_lines)] // It is one table.
pub fn group() -> Group {
    const WRONG: Answer = Answer::Closed(&[1002]);
    const TOO_LARGE: Answer = Answer::Closed(&[1009]);
    let fragments = |parts: &[(u8, &[u8])]| {
        send(parts.iter().flat_map(|(first, data)| frame(*first, data)).collect::<Vec<u8>>())
    };
    let request = br#"{"id":1,"unsubscribe":{"channel":"a"}}"#;
    let (start, end) = request.split_at(10);
    let mut rows: Vec<Row> = vec![
        row("no mask", send([&[0x81, 2][..], b"{}"].concat()), WRONG),
        row(
            "the first reserved bit: compression nobody agreed on",
            send(frame(0xc1, b"{}")),
            WRONG,
        ),
        row("the second reserved bit", send(frame(0xa1, b"{}")), WRONG),
        row("the third reserved bit", send(frame(0x91, b"{}")), WRONG),
        row("a compressed ping", send(frame(0xc9, b"a")), WRONG),
        row("a compressed continuation", fragments(&[(0x01, start), (0xc0, end)]), WRONG),
        row(
            "compression is offered and not taken",
            Attack::Client(
                crate::world::upgrade(
                    "/ws",
                    "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n",
                )
                .into_bytes(),
            ),
            Answer::Says(101, "sec-websocket-accept"),
        ),
        // Control frames.
        row("a ping in fragments", send(frame(0x09, b"a")), WRONG),
        row("a close in fragments", send(frame(0x08, b"")), WRONG),
        row("a ping of 126 bytes", send(frame(0x89, &[b'a'; 126])), WRONG),
        row("a pong of 70,000 bytes", send(frame(0x8a, &[b'a'; 70_000])), WRONG),
        row("a close of 126 bytes", send(frame(0x88, &[0x03; 126])), WRONG),
        row("a ping of 125 bytes", send(frame(0x89, &[b'a'; 125])), Answer::Lives),
        row("a pong that nobody asked for", send(frame(0x8a, b"a")), Answer::Lives),
        row("a close with half a code", send(frame(0x88, b"\x03")), WRONG),
        row("a close without a code", send(frame(0x88, b"")), Answer::Closed(&[1000, 1006])),
        row(
            "a close reason that is no UTF-8",
            send(frame(0x88, b"\x03\xe8\xff")),
            Answer::Closed(&[1007]),
        ),
        row(
            "a ping behind a close is not answered",
            send([frame(0x88, b"\x03\xe8"), frame(0x89, b"x")].concat()),
            Answer::Closed(&[1000]),
        ),
        // Fragments.
        row(
            "a message in fragments",
            fragments(&[(0x01, start), (0x80, end)]),
            Answer::Words("\"id\":1"),
        ),
        row(
            "a ping between fragments",
            fragments(&[(0x01, start), (0x89, b"a"), (0x80, end)]),
            Answer::Words("\"id\":1"),
        ),
        row("a continuation of nothing", fragments(&[(0x80, start)]), WRONG),
        row("a message within a message", fragments(&[(0x01, start), (0x81, end)]), WRONG),
        row(
            "a second message begins within the first",
            fragments(&[(0x01, start), (0x02, end)]),
            WRONG,
        ),
        row(
            "a close within a message",
            fragments(&[(0x01, start), (0x88, b"\x03\xe8")]),
            Answer::Closed(&[1000]),
        ),
        row(
            "100,000 empty fragments",
            send([frame(0x01, b""), frame(0x00, b"").repeat(100_000)].concat()),
            Answer::Lives,
        ),
        row(
            "fragments that are too long together",
            send([frame(0x01, &[b'a'; 60_000]), frame(0x00, &[b'a'; 60_000]).repeat(20)].concat()),
            TOO_LARGE,
        ),
        row("half a letter", send(frame(0x81, b"\xc3")), Answer::Closed(&[1007])),
        row(
            "a letter in two fragments",
            fragments(&[(0x01, b"\"\xc3"), (0x80, b"\xa9\"")]),
            Answer::Words("bad_request"),
        ),
        row("a surrogate as UTF-8", send(frame(0x81, b"\xed\xa0\x80")), Answer::Closed(&[1007])),
        // Lengths.
        row(
            "a length that says 2^63",
            header(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], b"a"),
            WRONG,
        ),
        row(
            "a length of 2^63 - 1",
            header(&[0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255], b"a"),
            TOO_LARGE,
        ),
        row("a length of 4 GiB", header(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], b"a"), TOO_LARGE),
        row(
            "a length one above the limit",
            header(&[0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x41], b"a"),
            TOO_LARGE,
        ),
        row(
            "a length at the limit is waited for",
            header(&[0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40], b"a"),
            Answer::Waits,
        ),
        row("a length in too many bytes", header(&[0x81, 0xfe, 0, 2], b"{}"), WRONG),
        row(
            "a length in far too many bytes",
            header(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2], b"{}"),
            WRONG,
        ),
        row("half a header is waited for", send([0x81]), Answer::Waits),
        row("bytes that are no frame", send(*b"GET / HTTP/1.1\r\n\r\n"), WRONG),
        // What `/ws` makes of whole messages.
        row("bytes where JSON is due", send(frame(0x82, b"{}")), Answer::Closed(&[1003])),
        row("no JSON", send(frame(0x81, b"hello")), Answer::Words("bad_request")),
        row("an empty message", send(frame(0x81, b"")), Answer::Words("bad_request")),
        row(
            "JSON of 100,000 levels",
            send(frame(0x81, &[b'['; 100_000])),
            Answer::Words("bad_request"),
        ),
        row(
            "a field twice",
            send(frame(0x81, br#"{"id":1,"id":2,"subscribe":{"channel":"a"}}"#)),
            Answer::Words("bad_request"),
        ),
        row(
            "two commands at once",
            send(frame(
                0x81,
                br#"{"id":1,"subscribe":{"channel":"bob.a"},"unsubscribe":{"channel":"a"}}"#,
            )),
            Answer::Words("bad_request"),
        ),
        row(
            "a key written with escapes",
            send(frame(
                0x81,
                br#"{"id":1,"subscribe":{"channel":"ann.box","\u0063hannel":"public.a"}}"#,
            )),
            Answer::Words("bad_request"),
        ),
        row(
            "an unknown command",
            send(frame(0x81, br#"{"id":1,"eval":{"channel":"a"}}"#)),
            Answer::Words("bad_request"),
        ),
        row(
            "an id of 100,000 bytes",
            send(frame(
                0x81,
                format!(r#"{{"id":"{}","subscribe":{{"channel":"a"}}}}"#, "x".repeat(100_000))
                    .as_bytes(),
            )),
            Answer::Words("bad_request"),
        ),
        row(
            "a count below zero",
            send(frame(0x81, br#"{"id":1,"subscribe":{"channel":"public.a","last":-1}}"#)),
            Answer::Words("bad_request"),
        ),
        row(
            "a count beyond 64 bits",
            send(frame(0x81, br#"{"id":1,"subscribe":{"channel":"public.a","last":1e30}}"#)),
            Answer::Words("bad_request"),
        ),
        row(
            "who one is, said twice",
            send(
                [
                    frame(0x81, br#"{"id":1,"connect":{}}"#),
                    frame(0x81, br#"{"id":2,"connect":{}}"#),
                ]
                .concat(),
            ),
            Answer::Words("\"id\":2,\"error\""),
        ),
    ];
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        let close = frame(0x88, &code.to_be_bytes());
        rows.push(row(format!("a close with code {code}"), send(close), WRONG));
    }
    for opcode in [3_u8, 7, 11, 15] {
        rows.push(row(format!("opcode {opcode}"), send(frame(0x80 | opcode, b"{}")), WRONG));
    }
    Group { name: "frames", config: config(), rows }
}

//! Socket.IO: packets, attachments, placeholders and namespaces that are not
//! the protocol's.

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::{config, frame};

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

fn packets(texts: &[&str]) -> Attack {
    with_bytes(texts, Vec::new())
}

fn with_bytes(texts: &[&str], bytes: Vec<u8>) -> Attack {
    let texts = texts.iter().map(|text| format!("4{text}")).collect();
    Attack::Socket { path: PATH.into(), texts, bytes }
}

#[allow(clippy::too_many_lines)] // It is one table.
pub fn group() -> Group {
    const ENDED: Answer = Answer::Closed(&[1000, 1002, 1003, 1006, 1007]);
    let attachment = frame(0x82, b"abc");
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let long = "x".repeat(900_000);
    let rows: Vec<Row> = vec![
        // Before CONNECT, and about it.
        row("an event before CONNECT", packets(&["2[\"a\"]"]), ENDED),
        row("a command before CONNECT", packets(&["20[\"push:subscribe\",\"public.a\"]"]), ENDED),
        row("an ack before CONNECT", packets(&["30[]"]), ENDED),
        row("a CONNECT with a list", packets(&["0[]"]), ENDED),
        row("a CONNECT with a text", packets(&["0\"a\""]), ENDED),
        row("a CONNECT that is no JSON", packets(&["0{"]), ENDED),
        row(
            "a CONNECT with a key twice",
            packets(&["0{\"token\":\"\",\"token\":\"x\"}"]),
            Answer::Words("40{"),
        ),
        row("CONNECT twice", packets(&["0", "0"]), ENDED),
        row(
            "a namespace that is none",
            packets(&["0/nothing,"]),
            Answer::Words("Invalid namespace"),
        ),
        row(
            "a namespace that climbs",
            packets(&["0/../admin,"]),
            Answer::Words("Invalid namespace"),
        ),
        row(
            "a namespace of 900,000 bytes",
            packets(&[&format!("0/{long},")]),
            Answer::Words("Invalid namespace"),
        ),
        row(
            "an event for a namespace that was not joined",
            packets(&["0", "2/admin,[\"a\"]"]),
            ENDED,
        ),
        row("a client that sends a CONNECT_ERROR", packets(&["0", "4{\"message\":\"x\"}"]), ENDED),
        // Events.
        row("an event that is an object", packets(&["0", "2{}"]), ENDED),
        row("an event without a name", packets(&["0", "2[]"]), ENDED),
        row("an event whose name is an object", packets(&["0", "2[{}]"]), ENDED),
        row("an event whose name is null", packets(&["0", "2[null]"]), ENDED),
        row("an event without data", packets(&["0", "2"]), ENDED),
        row("an event that is no JSON", packets(&["0", "2[\"a\""]), ENDED),
        row("two texts in one", packets(&["0", "2[\"a\"][\"b\"]"]), ENDED),
        row("the event `connect`", packets(&["0", "2[\"connect\"]"]), ENDED),
        row(
            "the event `disconnect`, with escapes",
            packets(&["0", "2[\"disc\\u006fnnect\"]"]),
            ENDED,
        ),
        row("the event `newListener`", packets(&["0", "2[\"newListener\"]"]), ENDED),
        row("an ack id beyond 64 bits", packets(&["0", "299999999999999999999[\"a\"]"]), ENDED),
        row("an ack that nobody asked for", packets(&["0", "37[1]"]), Answer::Lives),
        row(
            "100,000 levels",
            packets(&["0", &format!("21[\"a\",{deep}]")]),
            Answer::Words("no_handler"),
        ),
        row(
            "100,000 levels in a command",
            packets(&["0", &format!("21[\"push:subscribe\",{deep}]")]),
            Answer::Words("bad_request"),
        ),
        row(
            "an unknown command",
            packets(&["0", "21[\"push:eval\",\"a\"]"]),
            Answer::Words("bad_request"),
        ),
        row(
            "a command without an argument",
            packets(&["0", "21[\"push:subscribe\"]"]),
            Answer::Words("bad_request"),
        ),
        row(
            "a command with a number",
            packets(&["0", "21[\"push:subscribe\",7]"]),
            Answer::Words("bad_request"),
        ),
        row(
            "a command with a key too many",
            packets(&["0", "21[\"push:subscribe\",{\"channel\":\"public.a\",\"as\":\"ann\"}]"]),
            Answer::Words("bad_request"),
        ),
        row(
            "a command with a prototype",
            packets(&[
                "0",
                "21[\"push:subscribe\",{\"channel\":\"ann.box\",\"__proto__\":{\"user\":\"ann\"}}]",
            ]),
            Answer::Words("error"),
        ),
        row(
            "a notice of the gateway's own",
            packets(&["0", "21[\"push:offset\",\"a\"]"]),
            Answer::Words("bad_request"),
        ),
        row(
            "an unknown event with an ack",
            packets(&["0", "21[\"anything\"]"]),
            Answer::Words("no_handler"),
        ),
        row(
            "a reserved name is not published",
            packets(&[
                "0",
                "21[\"push:publish\",{\"channel\":\"bob.a\",\"event\":\"disconnect\",\"data\":1}]",
            ]),
            Answer::Words("error"),
        ),
        // Attachments.
        row("attachments without a number", packets(&["0", "5-[\"a\"]"]), ENDED),
        row("no attachments", packets(&["0", "50-[\"a\"]"]), ENDED),
        row("eleven attachments", packets(&["0", "511-[\"a\"]"]), ENDED),
        row("10^30 attachments", packets(&["0", &format!("51{}-[\"a\"]", "0".repeat(30))]), ENDED),
        row("attachments below zero", packets(&["0", "5-1-[\"a\"]"]), ENDED),
        row("attachments in hexadecimal", packets(&["0", "50x1-[\"a\"]"]), ENDED),
        row(
            "a text before the attachments are there",
            packets(&["0", "51-[\"a\",{\"_placeholder\":true,\"num\":0}]", "2[\"b\"]"]),
            ENDED,
        ),
        row(
            "an attachment is waited for",
            packets(&["0", "51-[\"a\",{\"_placeholder\":true,\"num\":0}]"]),
            Answer::Lives,
        ),
        row(
            "a placeholder for nothing",
            with_bytes(&["0", "51-[\"a\",{\"_placeholder\":true,\"num\":1}]"], attachment.clone()),
            ENDED,
        ),
        row(
            "a placeholder below zero",
            with_bytes(&["0", "51-[\"a\",{\"_placeholder\":true,\"num\":-1}]"], attachment.clone()),
            ENDED,
        ),
        row(
            "a placeholder of half",
            with_bytes(
                &["0", "51-[\"a\",{\"_placeholder\":true,\"num\":0.5}]"],
                attachment.clone(),
            ),
            ENDED,
        ),
        row(
            "a placeholder by a text",
            with_bytes(
                &["0", "51-[\"a\",{\"_placeholder\":true,\"num\":\"0\"}]"],
                attachment.clone(),
            ),
            ENDED,
        ),
        row(
            "a placeholder by `length`",
            with_bytes(
                &["0", "51-[\"a\",{\"_placeholder\":true,\"num\":\"length\"}]"],
                attachment.clone(),
            ),
            ENDED,
        ),
        row(
            "one attachment for two placeholders",
            with_bytes(
                &[
                    "0",
                    "51-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]",
                ],
                attachment.clone(),
            ),
            ENDED,
        ),
        row(
            "a placeholder 1,000 levels down",
            with_bytes(
                &[
                    "0",
                    &format!(
                        "51-[\"a\",{}{{\"_placeholder\":true,\"num\":0}}{}]",
                        "[".repeat(1000),
                        "]".repeat(1000)
                    ),
                ],
                attachment.clone(),
            ),
            ENDED,
        ),
        row(
            "a placeholder as a command's channel",
            with_bytes(
                &["0", "51-1[\"push:subscribe\",{\"_placeholder\":true,\"num\":0}]"],
                attachment.clone(),
            ),
            Answer::Words("bad_request"),
        ),
        row(
            "a placeholder within a command",
            with_bytes(
                &["0", "51-1[\"push:subscribe\",{\"channel\":{\"_placeholder\":true,\"num\":0}}]"],
                attachment.clone(),
            ),
            Answer::Words("error"),
        ),
        row(
            "what looks like a placeholder is data",
            packets(&["0", "21[\"a\",{\"_placeholder\":true,\"num\":0}]"]),
            Answer::Words("no_handler"),
        ),
        row("a namespace's end that ends nothing", packets(&["0", "1/nothing,"]), ENDED),
    ];
    let config = config() + "socketio: {namespaces: [\"/\", \"/admin\"]}\n";
    Group { name: "socketio", config, rows }
}

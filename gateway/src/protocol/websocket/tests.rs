#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1000;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// The bit that says that a frame is a message's last.
const FIN: u8 = 0x80;

type Fed = (Vec<Message>, Result<(), Violation>);

/// A client's frame. The mask is done byte by byte, as RFC 6455, 5.3 has it.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=65_535 => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 0x7f);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    frame
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

/// Feeds chunks of the given sizes, over and over, until all is read.
fn feed(input: &[u8], sizes: &[usize]) -> Fed {
    let mut reader = Reader::new(LIMIT);
    let mut messages = Vec::new();
    let (mut rest, mut sizes) = (input, sizes.iter().copied().cycle());
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let mut chunk = rest[..size].to_vec();
        rest = &rest[size..];
        if let Err(violation) = reader.feed(&mut chunk, &mut messages) {
            return (messages, Err(violation));
        }
    }
    (messages, Ok(()))
}

/// Feeds all at once and byte by byte; both say the same.
fn read(input: &[u8]) -> Fed {
    let whole = feed(input, &[]);
    assert_eq!(feed(input, &[1]), whole, "byte by byte: {input:02x?}");
    whole
}

fn text(text: &'static str) -> Message {
    Message::Text(Bytes::from_static(text.as_bytes()))
}

#[test]
fn the_rfcs_examples() {
    // Section 5.7, those that a client sends.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&hello), (vec![text("Hello")], Ok(())));
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&pong), (vec![Message::Pong(Bytes::from_static(b"Hello"))], Ok(())));
    // Section 1.3.
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn whole_messages_of_every_kind() {
    let table: Vec<(Vec<u8>, Vec<Message>)> = vec![
        (masked(TEXT, b""), vec![text("")]),
        (masked(TEXT, "4€".as_bytes()), vec![text("4€")]),
        (masked(BINARY, &[0, 255]), vec![Message::Binary(Bytes::from_static(&[0, 255]))]),
        (masked(PING, b"hi"), vec![Message::Ping(Bytes::from_static(b"hi"))]),
        (masked(PING, &[7; 125]), vec![Message::Ping(Bytes::from_static(&[7; 125]))]),
        (masked(PONG, b""), vec![Message::Pong(Bytes::new())]),
        (masked(CLOSE, b""), vec![Message::Close(None)]),
        (masked(CLOSE, b"\x03\xe8bye"), vec![Message::Close(Some(1000))]),
        ([masked(TEXT, b"a"), masked(TEXT, b"b")].concat(), vec![text("a"), text("b")]),
        (masked(BINARY, &[1; 126]), vec![Message::Binary(Bytes::from_static(&[1; 126]))]),
        (masked(BINARY, &[1; LIMIT]), vec![Message::Binary(Bytes::from_static(&[1; LIMIT]))]),
    ];
    for (input, messages) in table {
        assert_eq!(read(&input), (messages, Ok(())), "{input:02x?}");
    }
}

#[test]
fn fragments_become_one_message_and_control_frames_pass_between() {
    // The euro sign is cut in two.
    let input = [
        masked(TEXT & !FIN, b"a\xe2"),
        masked(PING, b"now"),
        masked(0x00, b"\x82"),
        masked(0x00, b""),
        masked(PONG, b""),
        masked(FIN, b"\xacz"),
        masked(BINARY & !FIN, b""),
        masked(FIN, b""),
        masked(TEXT, b"next"),
    ]
    .concat();
    let messages = vec![
        Message::Ping(Bytes::from_static(b"now")),
        Message::Pong(Bytes::new()),
        text("a€z"),
        Message::Binary(Bytes::new()),
        text("next"),
    ];
    assert_eq!(read(&input), (messages, Ok(())));
}

#[test]
fn nothing_is_read_after_a_close() {
    let input = [masked(CLOSE, b"\x03\xe8"), masked(TEXT, b"late"), vec![0xff; 9]].concat();
    assert_eq!(read(&input), (vec![Message::Close(Some(1000))], Ok(())));
    // Also when the close came inside a fragmented message.
    let input = [masked(TEXT & !FIN, b"a"), masked(CLOSE, b""), masked(FIN, b"b")].concat();
    assert_eq!(read(&input), (vec![Message::Close(None)], Ok(())));
}

#[test]
fn the_rules_of_section_5() {
    let mut unmasked = masked(TEXT, b"a");
    unmasked[1] &= !0x80;
    let violation = |input: &[u8]| match read(input) {
        (messages, Err(violation)) if messages.is_empty() => violation.code(),
        other => panic!("{other:?} of {input:02x?}"),
    };
    let protocol: Vec<(&str, Vec<u8>)> = vec![
        ("no mask", unmasked),
        ("RSV1", masked(TEXT | 0x40, b"a")),
        ("RSV2", masked(TEXT | 0x20, b"a")),
        ("RSV3", masked(TEXT | 0x10, b"a")),
        ("opcode 3", masked(0x83, b"a")),
        ("opcode 7", masked(0x87, b"a")),
        ("opcode 11", masked(0x8b, b"a")),
        ("opcode 15", masked(0x8f, b"a")),
        ("fragmented ping", masked(PING & !FIN, b"a")),
        ("fragmented close", masked(CLOSE & !FIN, b"")),
        ("ping of 126 bytes", masked(PING, &[0; 126])),
        ("close of 126 bytes", masked(CLOSE, &[3; 126])),
        ("close of 1 byte", masked(CLOSE, b"\x03")),
        ("continuation of nothing", masked(FIN, b"a")),
        ("unfinished continuation of nothing", masked(0x00, b"a")),
        ("text in a text", [masked(TEXT & !FIN, b"a"), masked(TEXT, b"b")].concat()),
        ("binary in a text", [masked(TEXT & !FIN, b"a"), masked(BINARY & !FIN, b"b")].concat()),
        ("16 bits for 125", vec![TEXT, 0x80 | 0x7e, 0, 125, 0, 0, 0, 0]),
        ("64 bits for 65535", vec![TEXT, 0x80 | 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]),
        ("negative length", [&[TEXT, 0x80 | 0x7f, 0x80][..], &[0; 11]].concat()),
    ];
    for (what, input) in protocol {
        assert_eq!(violation(&input), 1002, "{what}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, u16::MAX] {
        assert_eq!(violation(&masked(CLOSE, &code.to_be_bytes())), 1002, "close {code}");
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999]
    {
        let found = read(&masked(CLOSE, &u16::to_be_bytes(code)));
        assert_eq!(found, (vec![Message::Close(Some(code))], Ok(())));
    }
    let not_utf8: Vec<Vec<u8>> = vec![
        masked(TEXT, b"\xff"),
        masked(TEXT, b"cut \xe2\x82"),
        masked(TEXT, b"surrogate \xed\xa0\x80"),
        masked(CLOSE, b"\x03\xe8\xff"),
        [masked(TEXT & !FIN, b"\xe2"), masked(FIN, b"\x28")].concat(),
    ];
    for input in not_utf8 {
        assert_eq!(violation(&input), 1007);
    }
}

#[test]
fn what_came_before_a_violation_is_kept() {
    let input = [masked(TEXT, b"a"), masked(TEXT, b"\xff"), masked(TEXT, b"b")].concat();
    assert_eq!(read(&input), (vec![text("a")], Err(Violation::NotUtf8)));
    let mut reader = Reader::new(LIMIT);
    let mut sink = Vec::new();
    assert!(reader.feed(&mut input.clone(), &mut sink).is_err());
    assert_eq!(reader.feed(&mut masked(TEXT, b"late"), &mut sink), Ok(()));
    assert_eq!(sink, [text("a")]);
}

#[test]
fn a_message_too_large_is_refused_by_its_header() {
    let too_large = Err(Violation::TooLarge);
    assert_eq!(Violation::TooLarge.code(), 1009);
    // Only headers: no byte of payload follows.
    let giant = [&[BINARY, 0x80 | 0x7f, 0x7f][..], &[0xff; 7], &[0; 4]].concat();
    assert_eq!(read(&giant), (vec![], too_large));
    let one_more = &masked(BINARY, &[0; LIMIT + 1])[..8];
    assert_eq!(read(one_more), (vec![], too_large));
    // The sum counts, not the frame.
    let first = masked(BINARY & !FIN, &[0; LIMIT - 1]);
    let second = masked(FIN, &[0; 2]);
    assert_eq!(read(&[&first[..], &second[..6]].concat()), (vec![], too_large));
    let fits = [first, masked(PING, &[0; 100]), masked(FIN, &[0; 1])].concat();
    assert_eq!(read(&fits).0.len(), 2);
}

#[test]
fn memory_follows_what_arrives() {
    assert!(size_of::<Reader>() <= 64, "{}", size_of::<Reader>());
    let mut reader = Reader::new(1 << 30);
    let mut sink = Vec::new();
    let mut header = vec![BINARY, 0x80 | 0x7f, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0];
    header.extend_from_slice(&[1; 100]);
    reader.feed(&mut header, &mut sink).unwrap();
    let kept = reader.partial.as_ref().unwrap().data.capacity();
    assert!(kept <= 4096, "{kept} bytes kept of 100");

    // An idle connection owns nothing, however its last message was cut.
    let mut reader = Reader::new(LIMIT);
    for size in [1, 3, 7, 50] {
        let input =
            [masked(TEXT & !FIN, &[b'a'; 100]), masked(PING, b"b"), masked(FIN, b"c")].concat();
        for chunk in input.chunks(size) {
            reader.feed(&mut chunk.to_vec(), &mut sink).unwrap();
        }
        assert!(!reader.is_partial());
    }
    // Nor does its last message hold more than its bytes.
    let input = masked(BINARY, &[9; 900]);
    for chunk in input.chunks(100) {
        reader.feed(&mut chunk.to_vec(), &mut sink).unwrap();
    }
    let Some(Message::Binary(payload)) = sink.pop() else { panic!() };
    assert_eq!(Vec::from(payload).capacity(), 900);
}

#[test]
fn what_is_to_come_of_a_frame_is_known() {
    let (mut reader, mut sink) = (Reader::new(100_000), Vec::new());
    assert_eq!(reader.remaining(), 0);
    let large = masked(0x82, &vec![7; 50_000]);
    // Its header alone: 8 bytes.
    reader.feed(&mut large[..8].to_vec(), &mut sink).unwrap();
    assert_eq!(reader.remaining(), 50_000);
    reader.feed(&mut large[8..20_008].to_vec(), &mut sink).unwrap();
    assert_eq!(reader.remaining(), 30_000);
    reader.feed(&mut large[20_008..].to_vec(), &mut sink).unwrap();
    assert_eq!((reader.remaining(), sink.len()), (0, 1));
    // A frame that is whole leaves nothing to wait for.
    reader.feed(&mut masked(0x81, b"a"), &mut sink).unwrap();
    assert_eq!((reader.remaining(), sink.len()), (0, 2));
}

#[test]
fn the_servers_control_frames() {
    assert_eq!(ping(), &b"\x89\x00"[..]);
    assert_eq!(pong(b"hi"), &b"\x8a\x02hi"[..]);
    assert_eq!(close(1000, ""), &b"\x88\x02\x03\xe8"[..]);
    assert_eq!(close(1009, "too large"), &b"\x88\x0b\x03\xf1too large"[..]);
    // A reason is cut at a character: 41 of three bytes fit into 123.
    let long = close(1008, &"€".repeat(100));
    assert_eq!(long[1], 125);
    assert_eq!(std::str::from_utf8(&long[4..]).unwrap(), "€".repeat(41));
    assert_eq!(pong(&[0; 200]).len(), 127);
}

#[test]
fn unmasking_is_exact_at_every_length() {
    let mask = [0x12, 0x34, 0x56, 0x78];
    for length in 0..40 {
        for start in 0..4 {
            let mut bytes = vec![0xa5; start + length];
            unmask(&mut bytes[start..], mask);
            for (index, byte) in bytes[start..].iter().enumerate() {
                assert_eq!(byte ^ 0xa5, mask[index % 4]);
            }
        }
    }
}

/// A message as a client sends it, in fragments, pings between them.
fn sent() -> impl Strategy<Value = (Vec<u8>, Vec<Message>)> {
    let fragments =
        prop::collection::vec((any::<bool>(), "[a-z€💬]{0,60}", any::<[u8; 4]>()), 1..4);
    (any::<bool>(), fragments).prop_map(|(is_text, fragments)| {
        let (mut wire, mut messages, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let last = fragments.len() - 1;
        for (index, (ping, part, mask)) in fragments.into_iter().enumerate() {
            let opcode = if index > 0 {
                0
            } else if is_text {
                1
            } else {
                2
            };
            let fin = if index == last { FIN } else { 0 };
            wire.extend(frame(fin | opcode, part.as_bytes(), mask));
            whole.extend_from_slice(part.as_bytes());
            if ping && index < last {
                wire.extend(frame(PING, b"p", mask));
                messages.push(Message::Ping(Bytes::from_static(b"p")));
            }
        }
        let whole = Bytes::from(whole);
        messages.push(if is_text { Message::Text(whole) } else { Message::Binary(whole) });
        (wire, messages)
    })
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_messages(
        sent in prop::collection::vec(sent(), 1..5),
        sizes in prop::collection::vec(1_usize..90, 1..6),
    ) {
        let (wires, messages): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        let expected = (messages.concat(), Ok(()));
        prop_assert_eq!(&feed(&wires.concat(), &sizes), &expected);
        prop_assert_eq!(&feed(&wires.concat(), &[]), &expected);
    }

    #[test]
    fn any_bytes_in_any_chunking_give_the_same_and_never_panic(
        // Beginnings that are frames, so that more than the first byte counts.
        frames in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..140)),
            0..4,
        ),
        kinds in prop::collection::vec(
            prop::sample::select(&[0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a][..]),
            4,
        ),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        sizes in prop::collection::vec(1_usize..50, 1..6),
    ) {
        let mut input = Vec::new();
        for ((odd, payload), kind) in frames.iter().zip(kinds) {
            input.extend(masked(if *odd < 8 { *odd } else { kind }, payload));
        }
        input.extend(noise);
        prop_assert_eq!(feed(&input, &sizes), feed(&input, &[]));
    }
}

//! WebSocket frames, whole and in pieces, beside a second reader that knows
//! nothing of pieces.

use gateway::protocol::websocket::{Message, Reader, Violation};

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target = Target {
    name: "websocket",
    planted: "a binary message in fragments that comes in pieces loses its last byte",
    check,
};

type Outcome = (Vec<Message>, Option<u16>);

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let max = if input.byte() & 1 == 0 { 100 } else { 100_000 };
    let mut pieces = u32::from(input.byte());
    let bytes = input.rest();

    let whole = feed(max, [bytes]);
    let expected = model(bytes, max);
    assert_eq!(whole, expected, "the simple reader");
    let size: usize = whole.0.iter().map(|message| payload(message).len()).sum();
    assert!(size <= bytes.len(), "no more than has arrived");

    let mut rest = bytes;
    let cut = std::iter::from_fn(|| {
        // Small and large pieces, a byte more often than not.
        pieces = pieces.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let most = if pieces & 0x1_0000 == 0 { 1 } else { (pieces >> 20) as usize % 40 + 1 };
        let (piece, after) = rest.split_at_checked(most).unwrap_or((rest, &[]));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    let mut in_pieces = feed(max, cut);
    if planted && bytes.len() > 1 && bytes.first().is_some_and(|head| head & 0x8f == 0x02) {
        for message in &mut in_pieces.0 {
            if let Message::Binary(data) = message {
                data.truncate(data.len().saturating_sub(1));
            }
        }
    }
    assert_eq!(in_pieces, whole, "in pieces");
}

fn feed<'a>(max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = Reader::new(max);
    let mut messages = Vec::new();
    let mut violation = None;
    for piece in pieces {
        // It unmasks in place.
        let mut piece = piece.to_vec();
        if let Err(found) = reader.feed(&mut piece, &mut messages) {
            assert_eq!(violation, None, "nothing is read after a violation");
            violation = Some(found.code());
        }
    }
    if violation.is_some() || matches!(messages.last(), Some(Message::Close(_))) {
        assert!(!reader.is_partial(), "nothing is kept after the end");
    }
    (messages, violation)
}

fn payload(message: &Message) -> &[u8] {
    match message {
        Message::Text(data) | Message::Binary(data) | Message::Ping(data) | Message::Pong(data) => {
            data
        }
        Message::Close(_) => &[],
    }
}

/// RFC 6455 in the shortest words: all bytes at hand, everything copied.
fn model(mut bytes: &[u8], max: usize) -> Outcome {
    let mut messages = Vec::new();
    let mut open: Option<(u8, Vec<u8>)> = None;
    let protocol = Violation::Protocol("").code();
    loop {
        let Some(&first) = bytes.first() else { return (messages, None) };
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        let control = opcode >= 8;
        if first & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10) || (control && !last) {
            return (messages, Some(protocol));
        }
        let Some(&second) = bytes.get(1) else { return (messages, None) };
        let short = second & 0x7f;
        if second & 0x80 == 0 || (control && short > 125) {
            return (messages, Some(protocol));
        }
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = bytes.get(2..2 + wide) else { return (messages, None) };
        let length = length.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let length = if wide == 0 { u64::from(short) } else { length };
        let wasteful = (wide == 2 && length < 126) || (wide == 8 && length < 0x1_0000);
        if wasteful || length >= 1 << 63 {
            return (messages, Some(protocol));
        }
        // The mask is part of the header: without it, nothing is judged.
        let Some(mask) = bytes.get(2 + wide..6 + wide) else { return (messages, None) };
        if !control {
            if (opcode == 0) != open.is_some() {
                return (messages, Some(protocol));
            }
            let gathered = open.as_ref().map_or(0, |(_, data)| data.len());
            if length > (max - gathered) as u64 {
                return (messages, Some(Violation::TooLarge.code()));
            }
        }
        let length = usize::try_from(length).unwrap();
        let Some(masked) = bytes.get(6 + wide..6 + wide + length) else { return (messages, None) };
        let data: Vec<u8> =
            masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        bytes = &bytes[6 + wide + length..];
        let (kind, data) = if control {
            (opcode, data)
        } else {
            let (kind, mut gathered) = open.take().unwrap_or((opcode, Vec::new()));
            gathered.extend_from_slice(&data);
            if !last {
                open = Some((kind, gathered));
                continue;
            }
            (kind, gathered)
        };
        let utf8 = |data: &[u8]| std::str::from_utf8(data).is_ok();
        match kind {
            1 if !utf8(&data) => return (messages, Some(Violation::NotUtf8.code())),
            1 => messages.push(Message::Text(data.into())),
            2 => messages.push(Message::Binary(data.into())),
            9 => messages.push(Message::Ping(data.into())),
            10 => messages.push(Message::Pong(data.into())),
            _ => {
                let code = match *data {
                    [] => None,
                    [_] => return (messages, Some(protocol)),
                    [high, low, ..] => Some(u16::from_be_bytes([high, low])),
                };
                let sendable = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                if code.is_some_and(|code| !sendable(code)) {
                    return (messages, Some(protocol));
                }
                if !utf8(data.get(2..).unwrap_or_default()) {
                    return (messages, Some(Violation::NotUtf8.code()));
                }
                messages.push(Message::Close(code));
                return (messages, None);
            }
        }
    }
}

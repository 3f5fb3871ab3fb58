//! Session ids: nobody makes one up, and nobody changes one.

use std::sync::OnceLock;

use gateway::session::sid::{GatewayId, SidKey, SidParts};

use super::Target;
use crate::input::{Input, edited};

pub(super) const TARGET: Target =
    Target { name: "sid", planted: "the last byte of the MAC is not compared", check };

struct Keys {
    ours: SidKey,
    theirs: SidKey,
    parts: SidParts,
    issued: Box<str>,
}

fn check(data: &[u8], planted: bool) {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let ours = SidKey::new(b"0123456789abcdef0123456789abcdef");
        let parts = SidParts { gateway: GatewayId(0x0123_4567_89ab_cdef), shard: 3 };
        let issued = ours.issue(parts).unwrap();
        Keys { ours, theirs: SidKey::new(b"another cluster's"), parts, issued }
    });
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        let text = std::str::from_utf8(input.rest()).unwrap_or_default();
        // The engine reads what bytes are compared with, and so comes by the
        // true one.
        let known = text == &*keys.issued;
        assert_eq!(keys.ours.read(text).is_some(), known, "made up");
        return;
    }
    let text = edited(&keys.issued, input);
    let expected = (*text == *keys.issued).then_some(keys.parts);
    assert_eq!(read(keys, &text, planted), expected, "changed");
    assert_eq!(keys.theirs.read(&text), None, "another cluster's");
}

fn read(keys: &Keys, text: &str, planted: bool) -> Option<SidParts> {
    // 40 characters of base64: the last one ends the last byte.
    if planted && text.len() == 40 && text[..39] == keys.issued[..39] {
        return Some(keys.parts);
    }
    keys.ours.read(text)
}

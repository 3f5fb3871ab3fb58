#![allow(clippy::expect_used)]

use super::{Frame, masked, text};

#[test]
fn a_frame_is_read_as_it_was_built_whatever_its_length() {
    for size in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = vec![b'x'; size];
        let bytes = text(&payload);
        let frame = Frame::first(&bytes).expect("it is whole");
        assert_eq!((frame.opcode, frame.payload, frame.length), (1, &payload[..], bytes.len()));
        assert_eq!(Frame::first(&bytes[..bytes.len() - 1]), None, "{size} bytes, cut");
    }
}

#[test]
fn what_follows_is_left() {
    let bytes = [text(b"one"), text(b"two")].concat();
    let first = Frame::first(&bytes).expect("it is whole");
    let second = Frame::first(&bytes[first.length..]).expect("it is whole");
    assert_eq!((first.payload, second.payload), (&b"one"[..], &b"two"[..]));
}

#[test]
fn a_clients_frame_is_masked_with_zeros() {
    assert_eq!(masked(1, b"3"), [0x81, 0x81, 0, 0, 0, 0, b'3']);
}

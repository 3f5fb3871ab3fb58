//! Engine.IO packets and polling payloads.

use bytes::Bytes;
use gateway::protocol::engineio::{
    DecodeError, Packet, SEPARATOR, Wire, decode_payload, decode_text, encode_payload,
};

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "engineio",
    planted: "bytes that come right after an upgrade packet lose their last one",
    check,
};

fn check(data: &[u8], planted: bool) {
    let body = Bytes::copy_from_slice(data);
    let found = decoded(body.clone(), planted);
    // Part by part it is the same, up to the first error.
    let mut parts = data.split(|&byte| byte == SEPARATOR);
    for (index, packet) in found.iter().enumerate() {
        let part = parts.next().expect("not more packets than parts");
        assert_eq!(packet, &decode_text(Bytes::copy_from_slice(part)), "packet {index}");
        if packet.is_err() {
            assert_eq!(index + 1, found.len(), "nothing is read after an error");
        }
    }
    let failed = found.last().is_some_and(Result::is_err);
    assert!(failed || parts.next().is_none(), "every part is read");

    let good: Vec<Packet> = found.into_iter().filter_map(Result::ok).collect();
    for packet in &good {
        if let Packet::Text(text) | Packet::Ping(text) | Packet::Open(text) = packet {
            assert!(std::str::from_utf8(text).is_ok(), "text is UTF-8");
        }
    }
    // Written again, it reads the same.
    let wires: Vec<Wire> = good.iter().map(wire).collect();
    let again = encode_payload(wires.iter());
    assert!(again.len() <= data.len().max(1) * 4 + 4, "no more than base64 and padding");
    if !good.is_empty() {
        let again: Vec<Packet> = decode_payload(again).into_iter().map(Result::unwrap).collect();
        assert_eq!(again, good);
    }
}

fn wire(packet: &Packet) -> Wire {
    match packet {
        Packet::Open(data) => Wire::text(&[b"0", data]),
        Packet::Close => Wire::text(&[b"1"]),
        Packet::Ping(data) => Wire::text(&[b"2", data]),
        Packet::Pong(data) => Wire::text(&[b"3", data]),
        Packet::Text(data) => Wire::text(&[b"4", data]),
        Packet::Binary(data) => Wire::binary(data),
        Packet::Upgrade => Wire::text(&[b"5"]),
        Packet::Noop => Wire::text(&[b"6"]),
    }
}

fn decoded(body: Bytes, planted: bool) -> Vec<Result<Packet, DecodeError>> {
    let mut packets = decode_payload(body);
    if planted {
        let upgrade = packets.iter().position(|packet| *packet == Ok(Packet::Upgrade));
        let after = upgrade.and_then(|index| packets.get_mut(index + 1));
        if let Some(Ok(Packet::Binary(data))) = after
            && data.len() > 1
        {
            data.truncate(data.len() - 1);
        }
    }
    packets
}

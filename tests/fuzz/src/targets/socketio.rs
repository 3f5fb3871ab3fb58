//! Socket.IO packets with their attachments: what is read can be sent on and
//! is read the same.

use bytes::Bytes;
use gateway::protocol::engineio::Message;
use gateway::protocol::socketio::{
    Decoder, Kind, Packet, ack, event, event_raw, parse_args, parse_event,
};
use gateway::publication::{Args, Value};

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "socketio", planted: "an ack id over 32 bits loses its upper half", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let text = Bytes::copy_from_slice(input.piece());
    let mut decoder = Decoder::new();
    let Ok(mut packet) = decoder.text(text.clone()) else {
        assert!(!decoder.is_waiting(), "an error leaves nothing behind");
        return;
    };
    while packet.is_none() {
        assert!(decoder.is_waiting());
        if input.is_empty() {
            // Text before all attachments are there is refused.
            assert!(decoder.text(text).is_err());
            return;
        }
        packet = decoder.binary(Bytes::copy_from_slice(input.piece())).unwrap();
    }
    assert!(!decoder.is_waiting());
    assert!(decoder.binary(Bytes::new()).is_err(), "bytes that nobody announced");
    let Some(packet) = packet else { return };
    assert!(packet.attachments.len() <= 10);
    match packet.kind {
        Kind::Event => same_event(&packet, planted),
        Kind::Ack => same_ack(&packet),
        _ => assert!(packet.attachments.is_empty()),
    }
}

fn same_event(packet: &Packet, planted: bool) {
    let data = packet.data.as_ref().expect("an event has data");
    let Ok(read) = parse_event(data, &packet.attachments) else {
        assert!(!packet.attachments.is_empty(), "only placeholders can still be wrong");
        return;
    };
    let id = if planted { packet.id.map(|id| id & 0xffff_ffff) } else { packet.id };
    let sent = event_raw(&packet.namespace, &read.name, &read.raw, &read.attachments, id);
    let again = reread(&sent);
    assert_eq!(again.kind, Kind::Event);
    assert_eq!(again.namespace, packet.namespace);
    assert_eq!(again.id, packet.id);
    let reread_event = parse_event(again.data.as_ref().unwrap(), &again.attachments).unwrap();
    assert_eq!(reread_event, read);
    if !read.nested && read.name.len() <= 200 {
        let encoded = reread(&event(&packet.namespace, &read.name, &read.args, packet.id));
        let (data, attachments) = (encoded.data.as_ref().unwrap(), &encoded.attachments);
        if let Some(args) = taken(&read.args, packet.attachments.len()) {
            assert_eq!(parse_event(data, attachments).unwrap().args, args);
        }
    }
}

fn same_ack(packet: &Packet) {
    let Some(data) = &packet.data else { return };
    let Ok(args) = parse_args(data, &packet.attachments) else {
        assert!(!packet.attachments.is_empty(), "only placeholders can still be wrong");
        return;
    };
    let Some(args) = taken(&args, packet.attachments.len()) else { return };
    let again = reread(&ack(&packet.namespace, packet.id.unwrap_or(0), &args));
    assert_eq!(again.kind, Kind::Ack);
    assert_eq!(parse_args(again.data.as_ref().unwrap(), &again.attachments).unwrap(), args);
}

/// The arguments, if they say everything: each attachment is one of them.
fn taken(args: &Args, attachments: usize) -> Option<Args> {
    let binary = args.iter().filter(|arg| matches!(arg, Value::Binary(_))).count();
    (binary == attachments).then(|| args.clone())
}

/// What a client's decoder would make of it.
pub(super) fn reread(message: &Message) -> Packet {
    let mut decoder = Decoder::new();
    let mut whole = None;
    for wire in message.wires() {
        assert!(whole.is_none(), "no more attachments than announced");
        let payload = Bytes::copy_from_slice(wire.payload());
        whole = if wire.is_binary() {
            decoder.binary(payload).unwrap()
        } else {
            assert_eq!(payload.first(), Some(&b'4'), "an Engine.IO message");
            decoder.text(payload.slice(1..)).unwrap()
        };
    }
    whole.expect("no fewer attachments than announced")
}

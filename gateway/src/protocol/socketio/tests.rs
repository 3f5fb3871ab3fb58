#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protocol::engineio::Message;
use crate::publication::{Args, RESERVED_EVENTS, Value};

fn json(text: &str) -> Value {
    Value::Json(Bytes::copy_from_slice(text.as_bytes()))
}

fn binary(bytes: &[u8]) -> Value {
    Value::Binary(Bytes::copy_from_slice(bytes))
}

fn decode(text: &str) -> Result<Option<Packet>, DecodeError> {
    Decoder::new().text(Bytes::copy_from_slice(text.as_bytes()))
}

/// What a message's packets are: text, or bytes in hexadecimal.
fn shown(message: &Message) -> Vec<String> {
    let show = |wire: &crate::protocol::engineio::Wire| {
        if wire.is_binary() {
            format!("{:02x?}", wire.payload())
        } else {
            String::from_utf8(wire.payload().to_vec()).unwrap()
        }
    };
    message.wires().iter().map(show).collect()
}

#[test]
fn every_packet_without_attachments_is_read() {
    use Kind::{Ack, Connect, ConnectError, Disconnect, Event};
    type Row = (&'static str, Kind, &'static str, Option<u64>, Option<&'static str>);
    let table: &[Row] = &[
        ("0", Connect, "/", None, None),
        ("0{}", Connect, "/", None, Some("{}")),
        (r#"0{"token":"123"}"#, Connect, "/", None, Some(r#"{"token":"123"}"#)),
        ("0/custom", Connect, "/custom", None, None),
        ("0/custom,", Connect, "/custom", None, None),
        (r#"0/custom,{"token":"abc"}"#, Connect, "/custom", None, Some(r#"{"token":"abc"}"#)),
        ("0/,{}", Connect, "/", None, Some("{}")),
        // The query stays, as in the reference for protocol 5.
        ("0/a?b=c,{}", Connect, "/a?b=c", None, Some("{}")),
        ("0/ünï,{}", Connect, "/ünï", None, Some("{}")),
        ("1", Disconnect, "/", None, None),
        ("1/custom", Disconnect, "/custom", None, None),
        ("1/custom,", Disconnect, "/custom", None, None),
        (r#"2["a"]"#, Event, "/", None, Some(r#"["a"]"#)),
        (
            r#"2["message",1,"2",{"3":[true]}]"#,
            Event,
            "/",
            None,
            Some(r#"["message",1,"2",{"3":[true]}]"#),
        ),
        (r#"2456["m",1]"#, Event, "/", Some(456), Some(r#"["m",1]"#)),
        (r#"2/admin,456["m"]"#, Event, "/admin", Some(456), Some(r#"["m"]"#)),
        (r#"20["m"]"#, Event, "/", Some(0), Some(r#"["m"]"#)),
        (r#"218446744073709551615["m"]"#, Event, "/", Some(u64::MAX), Some(r#"["m"]"#)),
        ("2[1,2]", Event, "/", None, Some("[1,2]")),
        ("2 [\"a\" ]\n", Event, "/", None, Some(" [\"a\" ]\n")),
        (r#"2["",1]"#, Event, "/", None, Some(r#"["",1]"#)),
        ("313[]", Ack, "/", Some(13), Some("[]")),
        (r#"3/admin,13["a"]"#, Ack, "/admin", Some(13), Some(r#"["a"]"#)),
        ("3[]", Ack, "/", None, Some("[]")),
        ("313", Ack, "/", Some(13), None),
        (r#"4"reason""#, ConnectError, "/", None, Some(r#""reason""#)),
        (r#"4/a,{"message":"m"}"#, ConnectError, "/a", None, Some(r#"{"message":"m"}"#)),
        ("4", ConnectError, "/", None, None),
    ];
    for &(text, kind, namespace, id, data) in table {
        let packet = decode(text).unwrap().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(packet.kind, kind, "{text}");
        assert_eq!(packet.namespace, namespace, "{text}");
        assert_eq!(packet.id, id, "{text}");
        assert_eq!(packet.data.as_deref(), data.map(str::as_bytes), "{text}");
        assert!(packet.attachments.is_empty());
    }
}

#[test]
fn what_is_no_packet_is_refused() {
    use DecodeError::{AttachmentCount, Empty, Id, Payload, Reserved, TooManyAttachments};
    let table: &[(&str, DecodeError)] = &[
        ("", Empty),
        ("abc", DecodeError::UnknownType(b'a')),
        ("7", DecodeError::UnknownType(b'7')),
        ("999", DecodeError::UnknownType(b'9')),
        (" 2[\"a\"]", DecodeError::UnknownType(b' ')),
        ("€", DecodeError::UnknownType(0xe2)),
        // Payloads that their types don't have.
        ("0[]", Payload),
        ("0null", Payload),
        ("0\"a\"", Payload),
        ("0{", Payload),
        ("0{}{}", Payload),
        ("0{'a':1}", Payload),
        ("1{}", Payload),
        ("1/a,[]", Payload),
        ("2", Payload),
        ("2/a,", Payload),
        ("2{}", Payload),
        ("2[]", Payload),
        ("2[{}]", Payload),
        ("2[null]", Payload),
        ("2[true]", Payload),
        ("2[[\"a\"]]", Payload),
        ("2\"a\"", Payload),
        ("2[\"a\"", Payload),
        ("2[\"a\",]", Payload),
        ("2[\"a\"]x", Payload),
        ("2[\"a\nb\"]", Payload),
        (r#"2abc["message-with-ack",1]"#, Payload),
        ("3{}", Payload),
        ("31\"a\"", Payload),
        ("4[]", Payload),
        // Reserved names.
        (r#"2["connect"]"#, Reserved),
        (r#"2["disconnecting","a"]"#, Reserved),
        (r#"51-["newListener"]"#, Reserved),
        (r#"2["\u0063onnect"]"#, Reserved),
        // Attachments.
        ("5", AttachmentCount),
        ("51", AttachmentCount),
        ("5-[\"a\"]", AttachmentCount),
        ("50-[\"a\"]", AttachmentCount),
        ("600-7[]", AttachmentCount),
        ("5a-[\"a\"]", AttachmentCount),
        ("51.5-[\"a\"]", AttachmentCount),
        ("51e1-[\"a\"]", AttachmentCount),
        ("5 1-[\"a\"]", AttachmentCount),
        ("5[\"a\"]", AttachmentCount),
        ("6+1-[]", AttachmentCount),
        ("511-[\"a\"]", TooManyAttachments),
        ("510000-[\"a\"]", TooManyAttachments),
        ("699999999999999999999999999999-[]", TooManyAttachments),
        ("218446744073709551616[\"a\"]", Id),
    ];
    for &(text, error) in table {
        assert_eq!(decode(text), Err(error), "{text}");
    }
    for name in RESERVED_EVENTS {
        assert_eq!(decode(&format!("2[\"{name}\"]")), Err(Reserved));
    }
    let not_utf8 = Decoder::new().text(Bytes::from_static(b"2[\"\xff\"]"));
    assert_eq!(not_utf8, Err(DecodeError::NotUtf8));
}

#[test]
fn depth_costs_no_stack() {
    let deep = |levels: usize| format!("[\"a\",{}{}]", "[".repeat(levels), "]".repeat(levels));
    assert!(decode(&format!("2{}", deep(400_000))).unwrap().is_some());
    assert_eq!(decode(&format!("2[\"a\",{}", "[".repeat(400_000))), Err(DecodeError::Payload));
    let data = Bytes::from(deep(400_000));
    assert_eq!(parse_event(&data, &[]).unwrap().args.len(), 1);
    let one = [Bytes::from_static(b"x")];
    assert_eq!(parse_event(&data, &one), Err(DecodeError::Depth));
    assert!(parse_event(&Bytes::from(deep(100)), &one).is_ok());
}

#[test]
fn attachments_follow_their_packet() {
    let mut decoder = Decoder::new();
    let first = r#"52-/a,789["m",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(decoder.text(first.into()), Ok(None));
    assert!(decoder.is_waiting());
    assert_eq!(decoder.binary(Bytes::from_static(&[1, 2])), Ok(None));
    assert!(decoder.is_waiting());
    let packet = decoder.binary(Bytes::from_static(&[3])).unwrap().unwrap();
    assert!(!decoder.is_waiting());
    assert_eq!((packet.kind, packet.id), (Kind::Event, Some(789)));
    assert_eq!(packet.namespace, "/a");
    assert_eq!(packet.attachments, [&[1, 2][..], &[3]]);
    let event = parse_event(&packet.data.unwrap(), &packet.attachments).unwrap();
    assert_eq!(event.args.as_slice(), [binary(&[1, 2]), binary(&[3])]);

    // Then everything begins anew.
    assert_eq!(decoder.binary(Bytes::new()), Err(DecodeError::UnexpectedBinary));
    assert!(decoder.text("2[\"a\"]".into()).unwrap().is_some());
    assert_eq!(decoder.text("61-[]".into()), Ok(None));
    assert_eq!(decoder.text("2[\"a\"]".into()), Err(DecodeError::AttachmentsOwed));

    let mut ten = Decoder::new();
    assert_eq!(ten.text("510-[\"a\"]".into()), Ok(None));
    for _ in 0..9 {
        assert_eq!(ten.binary(Bytes::new()), Ok(None));
    }
    assert_eq!(ten.binary(Bytes::new()).unwrap().unwrap().attachments.len(), 10);
    assert!(size_of::<Decoder>() <= 8);
}

#[test]
fn an_events_arguments_stay_as_they_were_sent() {
    let data = Bytes::from_static(br#"[ "m" , 1.0,  {"a" : [ "\u00e9" ]} ,"\ud800",null ]"#);
    let event = parse_event(&data, &[]).unwrap();
    assert_eq!(event.name, "m");
    let args = [json("1.0"), json(r#"{"a" : [ "\u00e9" ]}"#), json(r#""\ud800""#), json("null")];
    assert_eq!(event.args.as_slice(), args);
    assert_eq!(event.raw, br#"1.0,  {"a" : [ "\u00e9" ]} ,"\ud800",null"#[..]);
    assert!(!event.nested);
    // They share the packet's memory.
    let Value::Json(first) = &event.args[0] else { panic!() };
    assert_eq!(first.as_ptr().addr() - data.as_ptr().addr(), 8);

    let alone = parse_event(&Bytes::from_static(b"[\"m\"]"), &[]).unwrap();
    assert!(alone.args.is_empty() && alone.raw.is_empty());
    let ack = parse_args(&Bytes::from_static(b"[1,\"a\"]"), &[]).unwrap();
    assert_eq!(ack.as_slice(), [json("1"), json("\"a\"")]);
    assert!(parse_args(&Bytes::from_static(b"[]"), &[]).unwrap().is_empty());
    for wrong in ["", "{}", "[1", "[1]x", "1", "\"a\""] {
        assert_eq!(parse_args(&Bytes::from(wrong), &[]), Err(DecodeError::Payload), "{wrong}");
    }
}

#[test]
fn a_number_is_a_name_as_javascript_writes_it() {
    let table = [
        ("1", "1"),
        ("-7", "-7"),
        ("1.0", "1"),
        ("1.50", "1.5"),
        ("-0", "0"),
        ("0.1", "0.1"),
        ("1e2", "100"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901", "123456789012345680000"),
        ("1e21", "1e+21"),
        ("-1.5e300", "-1.5e+300"),
        ("0.000001", "0.000001"),
        ("1.5E-7", "1.5e-7"),
        ("1e999", "Infinity"),
        ("-1e999", "-Infinity"),
    ];
    for (sent, name) in table {
        let data = Bytes::from(format!("[{sent},1]"));
        assert!(decode(&format!("2[{sent},1]")).unwrap().is_some());
        assert_eq!(parse_event(&data, &[]).unwrap().name, name, "{sent}");
    }
}

#[test]
fn placeholders_become_attachments() {
    let attachments = [Bytes::from_static(&[1]), Bytes::from_static(&[2])];
    let args = |text: &str| {
        let data = Bytes::from(format!("[\"m\",{text}]"));
        parse_event(&data, &attachments).map(|event| (event.args, event.nested))
    };
    let flat: &[(&str, &[Value])] = &[
        (
            r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#,
            &[binary(&[1]), binary(&[2])],
        ),
        // Any order, any spaces, escapes; other keys say nothing; the last of
        // two counts.
        (r#"{ "num" : 1.0 , "_placeholder" : true },3"#, &[binary(&[2]), json("3")]),
        (r#"{"\u005fplaceholder":true,"n\u0075m":1e0}"#, &[binary(&[2])]),
        (r#"{"_placeholder":true,"x":[{}],"num":0}"#, &[binary(&[1])]),
        (r#"{"_placeholder":false,"_placeholder":true,"num":9,"num":0}"#, &[binary(&[1])]),
        (r#"{"a":"\"","_placeholder":true,"num":0}"#, &[binary(&[1])]),
        // No placeholders.
        (
            r#"{"_placeholder":true,"_placeholder":{}}"#,
            &[json(r#"{"_placeholder":true,"_placeholder":{}}"#)],
        ),
        (r#"{"_placeholder":false,"num":0}"#, &[json(r#"{"_placeholder":false,"num":0}"#)]),
        (r#"{"_placeholder":"true","num":0}"#, &[json(r#"{"_placeholder":"true","num":0}"#)]),
        (r#"{"_placeholder":[true],"num":0}"#, &[json(r#"{"_placeholder":[true],"num":0}"#)]),
        (r#"["_placeholder",true,"num",0]"#, &[json(r#"["_placeholder",true,"num",0]"#)]),
        (
            r#""{\"_placeholder\":true}","\\""#,
            &[json(r#""{\"_placeholder\":true}""#), json(r#""\\""#)],
        ),
        (r#"{"a":"_placeholder","b":true}"#, &[json(r#"{"a":"_placeholder","b":true}"#)]),
        (r#"{"\ud800":"\ud800"}"#, &[json(r#"{"\ud800":"\ud800"}"#)]),
    ];
    for &(text, expected) in flat {
        assert_eq!(args(text), Ok((expected.iter().cloned().collect(), false)), "{text}");
    }
    for nested in [
        r#"{"a":{"_placeholder":true,"num":0}}"#,
        r#"[[{"_placeholder":true,"num":1}]]"#,
        r#"{"a":{"_placeholder":true,"num":0},"b":[{"num":1,"_placeholder":true}]}"#,
    ] {
        assert_eq!(args(nested), Ok((Args::from_iter([json(nested)]), true)), "{nested}");
    }
    for wrong in [
        r#"{"_placeholder":true,"num":2}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":0.5}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true,"num":null}"#,
        r#"{"_placeholder":true,"num":[0]}"#,
        r#"{"_placeholder":true,"num":1e999}"#,
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":0,"num":[0]}"#,
        r#"[{"_placeholder":true,"num":7}]"#,
        // One attachment is not two.
        r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}"#,
    ] {
        assert_eq!(args(wrong), Err(DecodeError::Placeholder), "{wrong}");
    }
    // Without attachments it is data, as in the reference.
    let data = Bytes::from_static(br#"["m",{"_placeholder":true,"num":0}]"#);
    let event = parse_event(&data, &[]).unwrap();
    assert_eq!(event.args.as_slice(), [json(r#"{"_placeholder":true,"num":0}"#)]);
}

#[test]
fn a_nested_event_goes_on_byte_for_byte() {
    let data = Bytes::from_static(br#"["message", {"f":{"_placeholder":true,"num":0}}, 1 ]"#);
    let attachments = [Bytes::from_static(&[1, 2, 3])];
    let event = parse_event(&data, &attachments).unwrap();
    assert!(event.nested);
    let back = event_raw("/", "message-back", &event.raw, &event.attachments, None);
    assert_eq!(
        shown(&back),
        [r#"451-["message-back",{"f":{"_placeholder":true,"num":0}}, 1]"#, "[01, 02, 03]"]
    );
    let ack = ack_raw("/a", 9, &event.raw, &event.attachments);
    assert_eq!(shown(&ack)[0], r#"461-/a,9[{"f":{"_placeholder":true,"num":0}}, 1]"#);
    assert_eq!(shown(&event_raw("/", "m", b"", &[], Some(1))), [r#"421["m"]"#]);
    assert_eq!(shown(&ack_raw("/", 1, b"", &[])), ["431[]"]);
}

#[test]
fn packets_are_written_as_the_reference_writes_them() {
    let ns = "/custom";
    let wires = [
        (connect("/", br#"{"sid":"a"}"#), r#"40{"sid":"a"}"#),
        (connect(ns, br#"{"sid":"a"}"#), r#"40/custom,{"sid":"a"}"#),
        (connect("/", b""), "40"),
        (connect_error("/", "no", None), r#"44{"message":"no"}"#),
        (
            connect_error("/random", "Invalid namespace", None),
            r#"44/random,{"message":"Invalid namespace"}"#,
        ),
        (
            connect_error(ns, "a\"b", Some(&json!({"code": "forbidden"}))),
            r#"44/custom,{"message":"a\"b","data":{"code":"forbidden"}}"#,
        ),
        (disconnect("/"), "41"),
        (disconnect(ns), "41/custom,"),
    ];
    for (wire, text) in wires {
        assert_eq!(std::str::from_utf8(wire.payload()), Ok(text));
    }
    let (one, obj) = (json("1"), json(r#"{"3":[true]}"#));
    let (b1, b2) = (binary(&[1, 2, 3]), binary(&[4, 5, 6]));
    let messages: &[(Message, &[&str])] = &[
        (event("/", "auth", &[json("{}")], None), &[r#"42["auth",{}]"#]),
        (event(ns, "auth", &[json("{}")], None), &[r#"42/custom,["auth",{}]"#]),
        (
            event("/", "message-back", &[one.clone(), json("\"2\""), obj.clone()], None),
            &[r#"42["message-back",1,"2",{"3":[true]}]"#],
        ),
        (event("/", "a", &[], None), &[r#"42["a"]"#]),
        (event("/", "a", &[], Some(0)), &[r#"420["a"]"#]),
        (event(ns, "a", std::slice::from_ref(&one), Some(12)), &[r#"42/custom,12["a",1]"#]),
        (event("/", "q\"\\\n\u{1e}é", &[], None), &["42[\"q\\\"\\\\\\n\\u001eé\"]"]),
        (
            event("/", "message-back", &[b1.clone(), b2.clone()], None),
            &[
                r#"452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                "[01, 02, 03]",
                "[04, 05, 06]",
            ],
        ),
        (
            event(ns, "a", &[one.clone(), b1.clone(), obj.clone()], Some(7)),
            &[r#"451-/custom,7["a",1,{"_placeholder":true,"num":0},{"3":[true]}]"#, "[01, 02, 03]"],
        ),
        (ack("/", 456, &[one.clone(), json("\"2\"")]), &[r#"43456[1,"2"]"#]),
        (ack("/", 0, &[]), &["430[]"]),
        (ack(ns, 3, &[one]), &["43/custom,3[1]"]),
        (
            ack("/", 789, &[b1, b2]),
            &[
                r#"462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                "[01, 02, 03]",
                "[04, 05, 06]",
            ],
        ),
        (
            event("/", "empty", &[binary(&[])], None),
            &[r#"451-["empty",{"_placeholder":true,"num":0}]"#, "[]"],
        ),
    ];
    for (message, expected) in messages {
        assert_eq!(&shown(message), expected);
    }
}

#[test]
fn a_frame_has_no_room_to_spare() {
    // Frames live long in a feed's ring.
    let args = [json(r#"{"price":1}"#)];
    let message = event("/", "tick", &args, None);
    let Message::One(wire) = &message else { panic!() };
    let length = wire.len();
    let frame = wire.frame().clone();
    drop(message);
    assert!(Vec::from(frame).capacity() <= length + 8);
}

#[test]
fn arguments_that_no_client_takes_are_found() {
    let placeholder = json(r#"{"a":{"_placeholder":true,"num":0}}"#);
    let deep = json(&format!("{}{}", "[".repeat(200), "]".repeat(200)));
    let bytes = binary(&[1]);
    check_args(&[]).unwrap();
    check_args(&vec![bytes.clone(); 10]).unwrap();
    check_args(&[placeholder.clone(), deep.clone()]).unwrap();
    check_args(&[bytes.clone(), json(r#"{"_placeholder":false}"#)]).unwrap();
    for wrong in [
        vec![bytes.clone(); 11],
        vec![bytes.clone(), placeholder],
        vec![json(r#"{"_placeholder":true}"#), bytes.clone()],
        vec![bytes, deep],
    ] {
        assert_eq!(check_args(&wrong).unwrap_err().code.as_str(), "bad_request");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        "\\PC{0,8}".prop_map(|value| json!(value)),
        any::<String>().prop_map(|value| json!(value)),
    ];
    let tree = leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map("[a-z_\"\\\\]{0,5}", inner, 0..4)
                .prop_map(|fields| json!(fields)),
        ]
    });
    tree.prop_map(|value| Value::json(&value))
}

fn any_args() -> impl Strategy<Value = Args> {
    let value = prop_oneof![
        3 => any_json(),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| binary(&bytes)),
    ];
    prop::collection::vec(value, 0..8).prop_map(Args::from_vec)
}

/// Reads what was written for the other side.
fn receive(message: &Message) -> Packet {
    let mut decoder = Decoder::new();
    let mut packet = None;
    for wire in message.wires() {
        assert!(packet.is_none());
        let payload = Bytes::copy_from_slice(wire.payload());
        packet = if wire.is_binary() {
            decoder.binary(payload).unwrap()
        } else {
            decoder.text(payload.slice(1..)).unwrap()
        };
    }
    packet.unwrap()
}

proptest! {
    #[test]
    fn events_come_back(
        // Not `[a-z]`, which could be a reserved name.
        name in "[A-Z0-9\"\\\\\u{1}-\u{1f}é💬 ]{0,12}",
        namespace in "/[a-z0-9?=/é-]{0,9}",
        id in any::<Option<u64>>(),
        args in any_args(),
    ) {
        let packet = receive(&event(&namespace, &name, &args, id));
        prop_assert_eq!(packet.kind, Kind::Event);
        prop_assert_eq!(packet.namespace.as_str(), namespace);
        prop_assert_eq!(packet.id, id);
        let event = parse_event(&packet.data.unwrap(), &packet.attachments).unwrap();
        prop_assert_eq!(event.name, name);
        prop_assert_eq!(&event.args, &args);
        prop_assert!(!event.nested);
        // And what was kept raw says the same.
        let again = receive(&event_raw("/", "m", &event.raw, &event.attachments, None));
        let again = parse_event(&again.data.unwrap(), &again.attachments).unwrap();
        prop_assert_eq!(again.args, args);
    }

    #[test]
    fn acks_come_back(id in any::<u64>(), args in any_args()) {
        let packet = receive(&ack("/", id, &args));
        prop_assert_eq!((packet.kind, packet.id), (Kind::Ack, Some(id)));
        let back = parse_args(&packet.data.unwrap(), &packet.attachments).unwrap();
        prop_assert_eq!(back, args);
    }

    #[test]
    fn no_bytes_panic(
        head in "[0-7]?([0-9]{0,2}-)?(/[a-z]{0,3},?)?[0-9]{0,3}",
        body in prop::collection::vec(
            prop_oneof![
                1 => any::<u8>().prop_map(|byte| vec![byte]),
                4 => prop::sample::select(&[
                    "[", "]", "{", "}", "\"", "\\", ",", ":", " ", "1", "-", "true", "\"a\"",
                    "\"_placeholder\"", "\"num\"", "\"_placeholder\":true", "\"num\":0",
                    "{\"_placeholder\":true,\"num\":0}", "[\"m\",",
                ][..]).prop_map(|token| token.as_bytes().to_vec()),
            ],
            0..30,
        ),
    ) {
        let data = Bytes::from(body.concat());
        let text = Bytes::from([head.as_bytes(), &data].concat());
        let mut decoder = Decoder::new();
        let _ = decoder.text(text);
        while decoder.is_waiting() {
            let _ = decoder.binary(data.clone());
        }
        for attachments in [&[][..], &[Bytes::new()]] {
            let _ = parse_event(&data, attachments);
            let _ = parse_args(&data, attachments);
        }
        let _ = check_args(&[Value::Json(data), Value::Binary(Bytes::new())]);
    }

    #[test]
    fn no_text_is_accepted_that_is_no_json(data in "[\\[\\]{}\",:a0 ]{0,14}") {
        let valid = serde_json::from_str::<serde_json::Value>(&data);
        let an_event = matches!(
            valid.as_ref().map(|value| value.get(0)),
            Ok(Some(serde_json::Value::String(_) | serde_json::Value::Number(_)))
        ) && valid.is_ok_and(|value| value.is_array());
        // An id may stand before the array.
        let digits = data.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            prop_assert_eq!(decode(&format!("2{data}")).is_ok(), an_event);
        }
    }
}

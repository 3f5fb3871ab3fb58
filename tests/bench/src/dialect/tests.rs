#![allow(clippy::expect_used)]

use super::{Dialect, Heard, Plan, Session};

const SOCKETIO: Dialect = Dialect::SocketIo { join: "push:subscribe" };

#[test]
fn each_message_means_what_its_protocol_says() {
    for (dialect, text, heard) in [
        (Dialect::Bare, r#"42["m","@1"]"#, Heard::Deliveries(1)),
        (SOCKETIO, r#"0{"sid":"a"}"#, Heard::Opened),
        (SOCKETIO, r#"40{"sid":"a"}"#, Heard::Connected),
        (SOCKETIO, "2", Heard::Ping),
        (SOCKETIO, r#"430[{"ok":true}]"#, Heard::Subscribed),
        (SOCKETIO, "430[]", Heard::Subscribed),
        (SOCKETIO, r#"430[{"error":{"code":"forbidden"}}]"#, Heard::Refused),
        (SOCKETIO, r#"44{"message":"Invalid namespace"}"#, Heard::Refused),
        (SOCKETIO, r#"42["push:offset","1-2-3"]"#, Heard::Nothing),
        (SOCKETIO, r#"42["m","@1"]"#, Heard::Deliveries(1)),
        (Dialect::Plain, r#"{"id":1,"ok":{}}"#, Heard::Subscribed),
        (Dialect::Plain, r#"{"id":1,"error":{}}"#, Heard::Refused),
        (Dialect::Plain, r#"{"channel":"a","data":"@1"}"#, Heard::Deliveries(1)),
        (
            Dialect::Sse,
            "data: {\"data\":\"@1\"}\n\ndata: {\"data\":\"@2\"}\n\n",
            Heard::Deliveries(2),
        ),
        (Dialect::Sse, ":\n\n", Heard::Nothing),
        (Dialect::Centrifuge, "{}", Heard::Ping),
        (Dialect::Centrifuge, r#"{"id":1,"connect":{"client":"a"}}"#, Heard::Connected),
        (Dialect::Centrifuge, r#"{"id":2,"subscribe":{}}"#, Heard::Subscribed),
        (Dialect::Centrifuge, r#"{"id":2,"error":{"code":103}}"#, Heard::Refused),
        (Dialect::Centrifuge, r#"{"push":{"pub":{"data":"@1"}}}"#, Heard::Deliveries(1)),
    ] {
        assert_eq!(dialect.hear(text.as_bytes()), heard, "{dialect:?}: {text}");
    }
}

#[test]
fn a_session_is_noted_as_the_official_library_does_and_resumed() {
    let mut session = Session::default();
    session.note(br#"40{"sid":"a","pid":"secret"}"#);
    session.note(br#"42["push:offset","1-1-1"]"#);
    session.note(br#"42["m","@data","1-2-3"]"#);
    // The last argument is no string.
    session.note(br#"42["m",{"a":"b"}]"#);
    session.note(br#"430[{"ok":true,"offset":"9-9-9"}]"#);
    assert_eq!(session, Session { pid: "secret".to_owned(), offset: "1-2-3".to_owned() });
    let plan = Plan { resume: Some(session), ..Plan::default() };
    assert_eq!(SOCKETIO.hello(&plan), r#"40{"pid":"secret","offset":"1-2-3"}"#);
}

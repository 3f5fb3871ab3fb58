//! The Socket.IO commands: `push:subscribe` and its like, and what arrives.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use tests::api::{offset_in, publish, say};
use tests::socketio::{Event, Socket, Transport};
use tests::token::{AUTH, grants};
use tests::{Gateway, patiently};

/// Channels under `log.` keep their last hundred; two namespaces.
const CONFIG: &str = r#"
socketio: {namespaces: ["/", "/admin"]}
channels:
- {match: "log.>", history: {maxMessages: 100, maxAge: 1h}}
"#;

fn event(name: &str, args: &[Value]) -> Event {
    Event { name: name.to_owned(), args: args.to_vec() }
}

/// The event's arguments without the offset at their end, which must be one.
fn without_offset(event: Event) -> Vec<Value> {
    let mut args = event.args;
    let last = args.pop();
    assert!(last.as_ref().is_some_and(Value::is_string), "no offset at the end: {args:?} {last:?}");
    args
}

#[tokio::test]
async fn what_is_published_arrives() {
    let gateway = Gateway::start(CONFIG);
    for transport in Transport::ALL {
        let mut socket = Socket::connect(&gateway, transport).await;
        let ack = socket.subscribe("news").await;
        assert_eq!(ack["channel"], "news");
        assert_eq!(ack.get("offset"), None, "no history, no offset: {ack}");
        publish(&gateway, &json!({"channel": "news", "event": "head", "data": {"a": [1, null]}}))
            .await;
        assert_eq!(socket.app_event().await, event("head", &[json!({"a": [1, null]})]));
    }
}

#[tokio::test]
async fn the_event_is_message_unless_named() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("news").await;
    publish(&gateway, &json!({"channel": "news", "data": 1})).await;
    assert_eq!(socket.app_event().await, event("message", &[json!(1)]));
}

#[tokio::test]
async fn args_are_spread() {
    let gateway = Gateway::start(CONFIG);
    let mut socket =
        Socket::join_at(&gateway, Transport::WebSocket, "/", None, "&recovery=0").await.unwrap();
    socket.subscribe("news").await;
    publish(&gateway, &json!({"channel": "news", "event": "e", "args": [1, "two", {"three": 3}]}))
        .await;
    publish(&gateway, &json!({"channel": "news", "event": "e", "args": []})).await;
    publish(&gateway, &json!({"channel": "news", "event": "e", "data": [1, 2]})).await;
    let args = [json!(1), json!("two"), json!({"three": 3})];
    assert_eq!(socket.app_event().await, event("e", &args));
    assert_eq!(socket.app_event().await, event("e", &[]));
    assert_eq!(socket.app_event().await, event("e", &[json!([1, 2])]), "an array is one argument");
}

#[tokio::test]
async fn history_channels_end_in_an_offset_in_recoverable_sessions() {
    let gateway = Gateway::start(CONFIG);
    for transport in Transport::ALL {
        let mut socket = Socket::connect(&gateway, transport).await;
        let ack = socket.subscribe("log.a").await;
        assert!(ack["offset"].is_string(), "{ack}");
        let offset = say(&gateway, "log.a", json!({"n": 1})).await.expect("history has offsets");
        let event = socket.app_event().await;
        assert_eq!(event.args, [json!({"n": 1}), json!(offset)]);
    }
}

// The official client takes the last string of an event for its offset, the
// event's name included when nothing follows it (socket.io-client,
// `Socket.emitEvent`).
#[tokio::test]
async fn no_event_ends_in_a_string_that_is_no_offset() {
    let gateway = Gateway::start(CONFIG);
    for body in [
        json!({"channel": "news", "event": "e", "data": "just text"}),
        json!({"channel": "news", "event": "e", "args": []}),
        json!({"channel": "news", "event": "e", "args": [1, "last"]}),
        json!({"channel": "news", "event": "e", "data": 1}),
    ] {
        let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
        for channel in ["news", "log.a"] {
            socket.subscribe(channel).await;
        }
        say(&gateway, "log.a", 1).await;
        socket.app_event().await;
        publish(&gateway, &body).await;
        socket.app_event().await;
        let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
        socket.cut();
        say(&gateway, "log.a", "missed").await;
        let mut socket =
            Socket::join(&gateway, Transport::WebSocket, "/", Some(&credentials)).await.unwrap();
        assert_eq!(socket.sid(), sid, "{body}: {credentials} is no place to come back to");
        assert_eq!(socket.app_event().await.args[0], "missed", "{body}");
    }
}

#[tokio::test]
async fn strict_clients_get_exactly_what_was_published() {
    let gateway = Gateway::start(CONFIG);
    for transport in Transport::ALL {
        let mut socket =
            Socket::join_at(&gateway, transport, "/", None, "&recovery=0").await.unwrap();
        assert_eq!(socket.connected.get("pid"), None);
        socket.subscribe("news").await;
        socket.subscribe("log.a").await;
        say(&gateway, "news", "just text").await;
        assert_eq!(socket.app_event().await, event("e", &[json!("just text")]));
        say(&gateway, "log.a", "kept text").await;
        assert_eq!(socket.app_event().await, event("e", &[json!("kept text")]));
    }
}

#[tokio::test]
async fn meta_says_channel_id_and_time() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe(json!({"channel": "log.m", "meta": true})).await;
    publish(&gateway, &json!({"channel": "log.m", "event": "e", "data": 1, "id": "n-1"})).await;
    let args = without_offset(socket.app_event().await);
    assert_eq!(args[0], 1);
    assert_eq!((&args[1]["channel"], &args[1]["id"]), (&json!("log.m"), &json!("n-1")));
    assert!(!args[1]["time"].is_null(), "{args:?}");
}

#[tokio::test]
async fn a_channel_subscribed_twice_delivers_once() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("news").await;
    socket.subscribe("news").await;
    say(&gateway, "news", 1).await;
    say(&gateway, "news", 2).await;
    assert_eq!(socket.app_event().await.args, [json!(1)]);
    assert_eq!(socket.app_event().await.args, [json!(2)]);
}

#[tokio::test]
async fn after_unsubscribe_nothing_arrives() {
    let gateway = Gateway::start(CONFIG);
    for transport in Transport::ALL {
        let mut socket = Socket::connect(&gateway, transport).await;
        socket.subscribe("news").await;
        socket.subscribe("other").await;
        let ack = socket.call("push:unsubscribe", &[json!("news")]).await;
        assert_eq!((&ack["ok"], &ack["channel"]), (&json!(true), &json!("news")));
        say(&gateway, "news", 1).await;
        say(&gateway, "other", 2).await;
        assert_eq!(socket.app_event().await.args, [json!(2)]);
    }
}

#[tokio::test]
async fn clients_publish_to_each_other() {
    let gateway = Gateway::start(CONFIG);
    let mut reader = Socket::connect(&gateway, Transport::Polling).await;
    let mut writer = Socket::connect(&gateway, Transport::WebSocket).await;
    reader.subscribe("chat").await;
    reader.subscribe("log.chat").await;
    let message = json!({"channel": "chat", "event": "said", "data": {"text": "hello"}});
    let ack = writer.call("push:publish", &[message]).await;
    assert_eq!(ack["ok"], true, "{ack}");
    assert_eq!(reader.app_event().await, event("said", &[json!({"text": "hello"})]));
    let message = json!({"channel": "log.chat", "event": "said", "args": [1, 2]});
    let ack = writer.call("push:publish", &[message]).await;
    let offset = ack["offset"].clone();
    assert!(offset.is_string(), "{ack}");
    assert_eq!(reader.app_event().await, event("said", &[json!(1), json!(2), offset]));
}

#[tokio::test]
async fn binary_data_arrives_as_binary() {
    let gateway = Gateway::start(CONFIG);
    for transport in Transport::ALL {
        let mut reader = Socket::connect(&gateway, transport).await;
        reader.subscribe("news").await;
        let body = json!({"channel": "news", "event": "e", "data": {"base64": "AQID"}});
        publish(&gateway, &body).await;
        let event = patiently(&format!("{transport:?}"), reader.app_event()).await;
        assert_eq!(event.args[0], json!({"_binary": [1, 2, 3]}));
        let mut writer = Socket::connect(&gateway, transport).await;
        writer
            .send_raw(
                r#"51-7["push:publish",{"channel":"news","event":"e","data":{"_placeholder":true,"num":0}}]"#,
            )
            .await;
        writer.send_binary(&[4, 5, 6]).await;
        assert_eq!(reader.app_event().await.args[0], json!({"_binary": [4, 5, 6]}));
    }
}

#[tokio::test]
async fn a_resumed_subscription_gets_what_it_missed() {
    let gateway = Gateway::start(CONFIG);
    let mut offsets = Vec::new();
    for number in 1..=5 {
        offsets.push(say(&gateway, "log.r", json!({"n": number})).await.unwrap());
        say(&gateway, "log.else", json!({"n": number})).await;
    }
    for transport in Transport::ALL {
        let mut socket = Socket::connect(&gateway, transport).await;
        let ack = socket.subscribe(json!({"channel": "log.r", "since": offsets[1]})).await;
        assert_eq!(ack["recovered"], true, "{ack}");
        for number in 3..=5 {
            assert_eq!(without_offset(socket.app_event().await), [json!({"n": number})]);
        }
        let mut socket = Socket::connect(&gateway, transport).await;
        socket.subscribe(json!({"channel": "log.r", "last": 2})).await;
        for number in 4..=5 {
            assert_eq!(without_offset(socket.app_event().await), [json!({"n": number})]);
        }
    }
}

#[tokio::test]
async fn a_resume_that_cannot_be_filled_says_so() {
    let gateway =
        Gateway::start("channels: [{match: \"log.>\", history: {maxMessages: 3, maxAge: 1h}}]");
    let first = say(&gateway, "log.r", 0).await.unwrap();
    for number in 1..=10 {
        say(&gateway, "log.r", number).await;
    }
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    let ack = socket.subscribe(json!({"channel": "log.r", "since": first})).await;
    assert_eq!(ack["recovered"], false, "{ack}");
}

#[tokio::test]
async fn history_can_be_read() {
    let gateway = Gateway::start(CONFIG);
    for number in 1..=5 {
        say(&gateway, "log.h", number).await;
    }
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    let ack = socket.call("push:history", &[json!({"channel": "log.h", "limit": 3})]).await;
    let data = |ack: &Value| -> Vec<Value> {
        let list = ack["publications"].as_array().unwrap_or_else(|| panic!("{ack}"));
        list.iter().map(|publication| publication["data"].clone()).collect()
    };
    assert_eq!(data(&ack), [1, 2, 3]);
    let since = ack["publications"][2]["offset"].clone();
    let ack = socket.call("push:history", &[json!({"channel": "log.h", "since": since})]).await;
    assert_eq!(data(&ack), [4, 5]);
    let ack = socket.call("push:history", &[json!({"channel": "log.h", "before": since})]).await;
    assert_eq!(data(&ack), [1, 2]);
    let ack = socket.call("push:history", &[json!({"channel": "news"})]).await;
    assert!(ack["error"]["code"].is_string(), "a channel without history: {ack}");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let gateway = Gateway::start(CONFIG);
    let long = "x".repeat(201);
    let cases = [
        ("push:subscribe", json!(""), "channel_invalid"),
        ("push:subscribe", json!(long), "channel_invalid"),
        ("push:subscribe", json!("a\u{7}b"), "channel_invalid"),
        ("push:subscribe", json!(7), "bad_request"),
        ("push:subscribe", json!(null), "bad_request"),
        ("push:subscribe", json!([]), "bad_request"),
        ("push:subscribe", json!({}), "bad_request"),
        ("push:subscribe", json!({"channel": 7}), "bad_request"),
        ("push:subscribe", json!({"channel": "log.a", "since": "nonsense"}), "offset_invalid"),
        ("push:subscribe", json!({"channel": "log.a", "since": 7}), "bad_request"),
        ("push:subscribe", json!({"channel": "log.a", "last": -1}), "bad_request"),
        ("push:subscribe", json!("$all"), "forbidden"),
        ("push:subscribe", json!("$user.ann"), "forbidden"),
        ("push:subscribe", json!("$sid.x"), "forbidden"),
        ("push:subscribe", json!("$ns.admin.room"), "forbidden"),
        ("push:unsubscribe", json!(""), "channel_invalid"),
        ("push:unsubscribe", json!("$all"), "forbidden"),
        ("push:publish", json!({"event": "e", "data": 1}), "bad_request"),
        ("push:publish", json!({"channel": "", "event": "e", "data": 1}), "channel_invalid"),
        ("push:publish", json!({"channel": "$all", "event": "e", "data": 1}), "forbidden"),
        ("push:publish", json!({"channel": "a", "event": "", "data": 1}), "event_invalid"),
        ("push:publish", json!({"channel": "a", "event": "connect", "data": 1}), "event_reserved"),
        ("push:publish", json!({"channel": "a", "event": "push:x", "data": 1}), "event_reserved"),
        ("push:publish", json!({"channel": "a", "event": "e", "args": 1}), "bad_request"),
        ("push:publish", json!("text"), "bad_request"),
        ("push:history", json!({"channel": "log.a", "since": "nonsense"}), "offset_invalid"),
        ("push:history", json!({"channel": "$user.ann"}), "forbidden"),
        ("push:presence", json!("news"), "unavailable"),
    ];
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    for (command, argument, code) in cases {
        let ack = socket.call(command, std::slice::from_ref(&argument)).await;
        let error = &ack["error"];
        assert_eq!(error["code"], code, "{command} {argument}: {ack}");
        assert!(error["message"].as_str().is_some_and(|words| words.len() > 5), "{ack}");
        assert!(error["retry"].is_boolean(), "{ack}");
    }
    for command in ["push:subscribe", "push:publish", "push:history", "push:nonsense"] {
        let ack = socket.call(command, &[]).await;
        assert!(ack["error"]["code"].is_string(), "{command}: {ack}");
    }
    // Without an ack id there is nobody to tell, and nothing breaks.
    socket.emit("push:subscribe", &[json!("")]).await;
    socket.subscribe("news").await;
    say(&gateway, "news", 1).await;
    assert_eq!(socket.app_event().await.args, [json!(1)]);
}

#[tokio::test]
async fn rooms_of_a_namespace_are_its_own() {
    let gateway = Gateway::start(CONFIG);
    let mut admin = Socket::join(&gateway, Transport::WebSocket, "/admin", None).await.unwrap();
    let mut main = Socket::connect(&gateway, Transport::WebSocket).await;
    admin.subscribe("room").await;
    main.subscribe("room").await;
    say(&gateway, "room", "main").await;
    say(&gateway, "$ns.admin.room", "admin").await;
    say(&gateway, "room", "main again").await;
    assert_eq!(admin.app_event().await.args[0], "admin");
    assert_eq!(main.app_event().await.args[0], "main");
    assert_eq!(main.app_event().await.args[0], "main again");
}

#[tokio::test]
async fn everyone_gets_all_but_those_excepted() {
    let gateway = Gateway::start(CONFIG);
    let mut one = Socket::connect(&gateway, Transport::WebSocket).await;
    let mut two = Socket::connect(&gateway, Transport::Polling).await;
    let body = json!({"all": true, "event": "e", "data": 1, "except": [one.sid()]});
    publish(&gateway, &body).await;
    publish(&gateway, &json!({"all": true, "event": "e", "data": 2})).await;
    assert_eq!(one.app_event().await.args[0], 2);
    assert_eq!(two.app_event().await.args[0], 1);
    assert_eq!(two.app_event().await.args[0], 2);
}

#[tokio::test]
async fn a_user_is_reached_on_every_connection() {
    let gateway = Gateway::start(AUTH);
    let ann = json!({"token": grants("ann", &json!([]))});
    let bob = json!({"token": grants("bob", &json!([]))});
    let join =
        async |auth, transport| Socket::join(&gateway, transport, "/", Some(auth)).await.unwrap();
    let mut phone = join(&ann, Transport::Polling).await;
    let mut desk = join(&ann, Transport::WebSocket).await;
    let mut other = join(&bob, Transport::WebSocket).await;
    publish(&gateway, &json!({"user": "ann", "event": "e", "data": 1})).await;
    publish(&gateway, &json!({"users": ["ann", "bob"], "event": "e", "data": 2})).await;
    assert_eq!(phone.app_event().await.args[0], 1);
    assert_eq!(phone.app_event().await.args[0], 2);
    assert_eq!(desk.app_event().await.args[0], 1);
    assert_eq!(other.app_event().await.args[0], 2);
}

#[tokio::test]
async fn subscriptions_are_limited() {
    let gateway = Gateway::start("limits: {subscriptions: 3}");
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    for number in 0..3 {
        socket.subscribe(format!("c{number}")).await;
    }
    let ack = socket.call("push:subscribe", &[json!("one-more")]).await;
    assert_eq!(ack["error"]["code"], "limit_subscriptions", "{ack}");
    socket.call("push:unsubscribe", &[json!("c0")]).await;
    socket.subscribe("one-more").await;
}

#[tokio::test]
async fn a_session_with_history_is_told_its_position() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("log.quiet").await;
    let notice = patiently("push:offset", async {
        loop {
            let event = socket.listen().await;
            if event.name == "push:offset" {
                return event;
            }
        }
    })
    .await;
    assert_eq!(notice.args.len(), 1, "{notice:?}");
    assert!(notice.args[0].is_string(), "{notice:?}");
}

#[tokio::test]
async fn a_thousand_publications_arrive_once_and_in_order() {
    let gateway = Gateway::start(CONFIG);
    let mut sockets = Vec::new();
    for transport in Transport::ALL {
        for channel in ["news", "log.a"] {
            let mut socket = Socket::connect(&gateway, transport).await;
            socket.subscribe(channel).await;
            sockets.push(socket);
        }
    }
    let publications: Vec<_> = (0..500)
        .flat_map(|n| {
            ["news", "log.a"].map(|channel| json!({"channel": channel, "event": "e", "data": n}))
        })
        .collect();
    let reply =
        tests::api::call(&gateway, None, "/v1/batch", &json!({"publications": publications})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for socket in &mut sockets {
        for number in 0..500 {
            assert_eq!(socket.app_event().await.args[0], number);
        }
    }
}

#[tokio::test]
async fn an_id_makes_a_retry_harmless() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("log.once").await;
    let body = json!({"channel": "log.once", "event": "e", "data": 1, "id": "order-1"});
    let first = publish(&gateway, &body).await;
    let again = publish(&gateway, &body).await;
    assert_eq!(offset_in(&first), offset_in(&again));
    say(&gateway, "log.once", 2).await;
    assert_eq!(without_offset(socket.app_event().await), [json!(1)]);
    assert_eq!(without_offset(socket.app_event().await), [json!(2)]);
}

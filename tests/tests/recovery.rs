//! Connection state recovery: a Socket.IO client that comes back is the same
//! session again, with all that it missed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use tests::Gateway;
use tests::api::{publish, say};
use tests::socketio::{Socket, Transport};
use tests::token::{AUTH, grants};

const CONFIG: &str = r#"
socketio: {namespaces: ["/", "/admin"], pingInterval: 1s, pingTimeout: 20s}
channels:
- {match: "log.>", history: {maxMessages: 100, maxAge: 1h}}
- {match: "short", history: {maxMessages: 3, maxAge: 1h}}
- {match: "$ns.admin.log.>", history: {maxMessages: 100, maxAge: 1h}}
"#;

/// Comes back to the main namespace with `credentials`.
async fn back(gateway: &Gateway, transport: Transport, credentials: &Value) -> Socket {
    Socket::join(gateway, transport, "/", Some(credentials)).await.unwrap()
}

/// The first argument of the next event.
async fn next(socket: &mut Socket) -> Value {
    socket.app_event().await.args[0].clone()
}

/// A socket that is subscribed to `log.a` and has had one event of it.
async fn started(gateway: &Gateway, transport: Transport) -> Socket {
    let mut socket = Socket::connect(gateway, transport).await;
    socket.subscribe("log.a").await;
    say(gateway, "log.a", json!({"n": 1})).await;
    assert_eq!(next(&mut socket).await, json!({"n": 1}));
    assert!(socket.offset.is_some());
    socket
}

/// Asserts that the socket is a new one and that nothing old comes.
async fn assert_fresh(gateway: &Gateway, socket: &mut Socket, old: &str, what: &str) {
    assert_ne!(socket.sid(), old, "{what}");
    socket.subscribe("log.fresh").await;
    say(gateway, "log.fresh", "fresh").await;
    assert_eq!(next(socket).await, "fresh", "{what}");
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed() {
    let gateway = Gateway::start(CONFIG);
    for before in Transport::ALL {
        for after in Transport::ALL {
            let socket = started(&gateway, before).await;
            let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
            socket.close_engine().await;
            for number in 2..=4 {
                say(&gateway, "log.a", number).await;
                say(&gateway, "log.else", number).await;
            }
            let mut socket = back(&gateway, after, &credentials).await;
            assert_eq!(socket.sid(), sid, "the same session, {before:?} to {after:?}");
            for number in 2..=4 {
                assert_eq!(next(&mut socket).await, number);
            }
            say(&gateway, "log.a", 5).await;
            assert_eq!(next(&mut socket).await, 5, "and its subscriptions are in force");
        }
    }
}

#[tokio::test]
async fn it_can_be_done_again_and_again() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = started(&gateway, Transport::WebSocket).await;
    let sid = socket.sid().to_owned();
    for number in 2..10 {
        let credentials = socket.credentials();
        socket.cut();
        say(&gateway, "log.a", number).await;
        socket = back(&gateway, Transport::WebSocket, &credentials).await;
        assert_eq!(socket.sid(), sid);
        assert_eq!(next(&mut socket).await, number);
    }
}

#[tokio::test]
async fn all_subscriptions_come_back_in_the_order_of_publishing() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = started(&gateway, Transport::WebSocket).await;
    for channel in ["log.b", "log.c", "news"] {
        socket.subscribe(channel).await;
    }
    let credentials = socket.credentials();
    socket.cut();
    for (number, channel) in (0..).zip(["log.c", "log.a", "log.b", "log.a", "log.c"]) {
        say(&gateway, channel, number).await;
        // Without history: gone.
        say(&gateway, "news", "lost").await;
    }
    let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
    for number in 0..5 {
        assert_eq!(next(&mut socket).await, number);
    }
    say(&gateway, "news", "live").await;
    assert_eq!(next(&mut socket).await, "live");
}

#[tokio::test]
async fn a_subscription_keeps_its_meta() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe(json!({"channel": "log.a", "meta": true})).await;
    say(&gateway, "log.a", 1).await;
    next(&mut socket).await;
    let credentials = socket.credentials();
    socket.cut();
    say(&gateway, "log.a", 2).await;
    let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
    for number in 2..=3 {
        let event = socket.app_event().await;
        assert_eq!((&event.args[0], &event.args[1]["channel"]), (&json!(number), &json!("log.a")));
        say(&gateway, "log.a", 3).await;
    }
}

#[tokio::test]
async fn a_pid_alone_resumes_from_where_the_subscription_began() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("log.z").await;
    say(&gateway, "log.a", "before").await;
    // When this has come, what was published before it is behind the session.
    say(&gateway, "log.z", "between").await;
    assert_eq!(next(&mut socket).await, "between");
    socket.subscribe("log.a").await;
    let (sid, pid) = (socket.sid().to_owned(), socket.pid().to_owned());
    socket.cut();
    say(&gateway, "log.a", "after").await;
    let mut socket = back(&gateway, Transport::WebSocket, &json!({"pid": pid})).await;
    assert_eq!(socket.sid(), sid);
    assert_eq!(next(&mut socket).await, "between", "of a subscription that began before it");
    assert_eq!(next(&mut socket).await, "after");
}

#[tokio::test]
async fn the_notice_of_the_position_resumes_too() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("log.quiet").await;
    while socket.offset.is_none() {
        socket.event().await;
    }
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.cut();
    say(&gateway, "log.quiet", 1).await;
    let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
    assert_eq!(socket.sid(), sid);
    assert_eq!(next(&mut socket).await, 1);
}

#[tokio::test]
async fn what_cannot_be_recovered_is_a_new_session() {
    let gateway = Gateway::start(CONFIG);
    let socket = started(&gateway, Transport::WebSocket).await;
    let sid = socket.sid().to_owned();
    let offset = socket.offset.clone().unwrap();
    socket.cut();
    let cases = [
        ("an unknown pid", json!({"pid": "0123456789abcdef0123456789abcdef", "offset": offset})),
        ("an empty pid", json!({"pid": "", "offset": offset})),
        ("a pid that is no string", json!({"pid": 7, "offset": offset})),
        ("the sid for a pid", json!({"pid": sid, "offset": offset})),
        ("an offset alone", json!({"offset": offset})),
    ];
    for (what, credentials) in cases {
        let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
        assert_fresh(&gateway, &mut socket, &sid, what).await;
    }
}

#[tokio::test]
async fn who_left_does_not_come_back() {
    let gateway = Gateway::start(CONFIG);
    for transport in Transport::ALL {
        let mut socket = started(&gateway, transport).await;
        let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
        socket.disconnect().await;
        socket.enter("/admin").await;
        socket.cut();
        let mut socket = back(&gateway, transport, &credentials).await;
        assert_fresh(&gateway, &mut socket, &sid, "after disconnect").await;
    }
}

#[tokio::test]
async fn a_session_away_too_long_is_forgotten() {
    let gateway = Gateway::start(
        "socketio: {recovery: {maxDisconnection: 300ms}}\n\
         channels: [{match: \"log.>\", history: {maxMessages: 100, maxAge: 1h}}]",
    );
    let socket = started(&gateway, Transport::WebSocket).await;
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.close_engine().await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
    assert_fresh(&gateway, &mut socket, &sid, "away too long").await;
}

#[tokio::test]
async fn a_channel_that_lost_something_ends_the_session() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = started(&gateway, Transport::WebSocket).await;
    socket.subscribe("short").await;
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.cut();
    for number in 0..10 {
        say(&gateway, "short", number).await;
    }
    let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
    assert_fresh(&gateway, &mut socket, &sid, "history trimmed").await;
}

#[tokio::test]
async fn whoever_comes_back_first_takes_the_session_over() {
    let gateway = Gateway::start(CONFIG);
    let mut old = started(&gateway, Transport::WebSocket).await;
    let (sid, credentials) = (old.sid().to_owned(), old.credentials());
    // The old transport is still open: a network that was cut says nothing.
    let mut new = back(&gateway, Transport::WebSocket, &credentials).await;
    assert_eq!(new.sid(), sid);
    old.closed().await;
    say(&gateway, "log.a", 2).await;
    assert_eq!(next(&mut new).await, 2);
}

#[tokio::test]
async fn namespaces_recover_each_for_itself() {
    let gateway = Gateway::start(CONFIG);
    let mut socket = Socket::join(&gateway, Transport::WebSocket, "/admin", None).await.unwrap();
    socket.subscribe("log.a").await;
    say(&gateway, "$ns.admin.log.a", 1).await;
    next(&mut socket).await;
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.cut();
    say(&gateway, "$ns.admin.log.a", 2).await;
    let mut wrong = back(&gateway, Transport::WebSocket, &credentials).await;
    assert_fresh(&gateway, &mut wrong, &sid, "another namespace").await;
    let socket =
        Socket::join(&gateway, Transport::WebSocket, "/admin", Some(&credentials)).await.unwrap();
    // Trying it elsewhere may have used it up, but must never have given it away.
    if socket.sid() == sid {
        let mut socket = socket;
        assert_eq!(next(&mut socket).await, 2);
    }
}

#[tokio::test]
async fn another_user_does_not_get_the_session() {
    let config =
        format!("{AUTH}channels: [{{match: \"log.>\", history: {{maxMessages: 9, maxAge: 1h}}}}]");
    let gateway = Gateway::start(&config);
    let token = |user| grants(user, &json!([{"match": "log.>", "can": ["subscribe"]}]));
    let auth = json!({"token": token("ann")});
    let mut socket = Socket::join(&gateway, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    socket.subscribe("log.a").await;
    say(&gateway, "log.a", 1).await;
    next(&mut socket).await;
    let (sid, mut credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.cut();
    say(&gateway, "log.a", 2).await;
    credentials["token"] = token("bob").into();
    let mut bob = back(&gateway, Transport::WebSocket, &credentials).await;
    assert_fresh(&gateway, &mut bob, &sid, "another user").await;
}

#[tokio::test]
async fn grants_are_checked_again() {
    let config =
        format!("{AUTH}channels: [{{match: \"log.>\", history: {{maxMessages: 9, maxAge: 1h}}}}]");
    let gateway = Gateway::start(&config);
    let token = |channel| grants("ann", &json!([{"match": channel, "can": ["subscribe"]}]));
    let auth = json!({"token": token("log.>")});
    let mut socket = Socket::join(&gateway, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    socket.subscribe("log.a").await;
    socket.subscribe("log.fresh").await;
    say(&gateway, "log.a", 1).await;
    next(&mut socket).await;
    let mut credentials = socket.credentials();
    socket.cut();
    say(&gateway, "log.a", "secret by now").await;
    credentials["token"] = token("log.fresh").into();
    let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
    // Recovered or not: what the new token doesn't allow does not come.
    if socket.call("push:subscribe", &[json!("log.fresh")]).await["ok"] == true {
        say(&gateway, "log.a", "secret").await;
        say(&gateway, "log.fresh", "allowed").await;
        assert_eq!(next(&mut socket).await, "allowed");
    }
}

#[tokio::test]
async fn what_is_for_the_user_is_recovered_too() {
    let gateway = Gateway::start(AUTH);
    let auth = json!({"token": grants("ann", &json!([]))});
    let mut socket = Socket::join(&gateway, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    publish(&gateway, &json!({"user": "ann", "event": "e", "data": 1})).await;
    assert_eq!(next(&mut socket).await, 1);
    let (sid, mut credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.cut();
    publish(&gateway, &json!({"user": "ann", "event": "e", "data": 2})).await;
    credentials["token"] = auth["token"].clone();
    let mut socket = back(&gateway, Transport::WebSocket, &credentials).await;
    assert_eq!(socket.sid(), sid);
    assert_eq!(next(&mut socket).await, 2);
}

#[tokio::test]
async fn switched_off_it_is_off() {
    let gateway = Gateway::start(
        "socketio: {recovery: off}\nchannels: [{match: \"log.>\", history: {maxMessages: 9, maxAge: 1h}}]",
    );
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    assert_eq!(socket.connected.get("pid"), None);
    socket.subscribe("log.a").await;
    say(&gateway, "log.a", 1).await;
    assert_eq!(socket.app_event().await.args, [json!(1)], "no offset for a strict handler");
}

#[tokio::test]
async fn a_storm_of_returns_loses_nothing() {
    let gateway = Gateway::start(CONFIG);
    let mut tasks = tokio::task::JoinSet::new();
    let gateway = std::sync::Arc::new(gateway);
    let mut away = Vec::new();
    for number in 0..60 {
        let transport = Transport::ALL[number % 2];
        let mut socket = Socket::connect(&gateway, transport).await;
        socket.subscribe("log.storm").await;
        let credentials = json!({"pid": socket.pid()});
        socket.cut();
        away.push((transport, credentials));
    }
    for number in 0..50 {
        say(&gateway, "log.storm", number).await;
    }
    for (transport, credentials) in away {
        let gateway = std::sync::Arc::clone(&gateway);
        tasks.spawn(async move {
            let mut socket = back(&gateway, transport, &credentials).await;
            for number in 0..50 {
                assert_eq!(next(&mut socket).await, number);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

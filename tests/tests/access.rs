//! Nobody reads or writes what the token doesn't allow: two namespaces, two
//! users and a guest, every client protocol, and the API.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use tests::Gateway;
use tests::api::{call, publish, read, say};
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::sse::Sse;
use tests::token::{AUTH, grants};

const RULES: &str = r#"
socketio: {namespaces: ["/", "/admin"]}
channels:
- {match: "public.>", anonymous: true, history: {maxMessages: 100, maxAge: 1h}}
- {match: "lobby.>", anonymous: true, clientPublish: true, history: {maxMessages: 100, maxAge: 1h}}
- {match: "floor.>", clientPublish: true, history: {maxMessages: 100, maxAge: 1h}}
- {match: "$ns.admin.>", history: {maxMessages: 100, maxAge: 1h}}
- {match: ">", history: {maxMessages: 100, maxAge: 1h}}
"#;

fn gateway() -> Gateway {
    Gateway::start(&format!(
        "auth: {{anonymous: true, {}\n{RULES}",
        AUTH.trim_start_matches("auth: {").trim_end()
    ))
}

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ann,
    Bob,
    Guest,
}

/// By which protocol, and for Socket.IO in which namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Main(Transport),
    Admin(Transport),
    Plain,
    Sse,
}

/// What may be done on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct May {
    subscribe: bool,
    publish: bool,
    history: bool,
}

const ALL: May = May { subscribe: true, publish: true, history: true };
const NONE: May = May { subscribe: false, publish: false, history: false };
const READ: May = May { subscribe: true, publish: false, history: false };
const WRITE: May = May { subscribe: false, publish: true, history: false };
const TALK: May = May { subscribe: true, publish: true, history: false };
const PAST: May = May { subscribe: false, publish: false, history: true };

const WAYS: [Way; 6] = [
    Way::Main(Transport::WebSocket),
    Way::Main(Transport::Polling),
    Way::Admin(Transport::WebSocket),
    Way::Admin(Transport::Polling),
    Way::Plain,
    Way::Sse,
];

/// Channel as the client names it, and what Ann, Bob and the guest may do,
/// outside namespace `/admin`.
const MAIN: [(&str, May, May, May); 20] = [
    ("ann.box", ALL, NONE, NONE),
    ("ann.deep.er", ALL, NONE, NONE),
    // `ann.>` is not `ann`, nor what merely looks alike.
    ("ann", NONE, NONE, NONE),
    ("ann2.box", NONE, NONE, NONE),
    ("Ann.box", NONE, NONE, NONE),
    ("bob.box", NONE, ALL, NONE),
    ("shared", READ, WRITE, NONE),
    ("past", NONE, PAST, NONE),
    ("star.one", READ, NONE, NONE),
    ("star.one.two", NONE, NONE, NONE),
    ("public.news", READ, READ, READ),
    ("lobby.talk", TALK, TALK, TALK),
    // clientPublish lets whoever may subscribe publish.
    ("floor.a", TALK, NONE, NONE),
    ("floor.b", NONE, NONE, NONE),
    // Closed to commands, whatever the token says.
    ("$all", NONE, NONE, NONE),
    ("$user.ann", NONE, NONE, NONE),
    ("$user.bob", NONE, NONE, NONE),
    ("$sid.x", NONE, NONE, NONE),
    ("$ns.admin.room", NONE, NONE, NONE),
    ("room", NONE, NONE, NONE),
];

/// The same in namespace `/admin`, where every name is a room of its own.
const ADMIN: [(&str, May, May, May); 8] = [
    ("room", ALL, READ, NONE),
    ("other", NONE, NONE, NONE),
    ("ann.box", NONE, NONE, NONE),
    ("bob.box", NONE, NONE, NONE),
    ("public.news", NONE, NONE, NONE),
    ("lobby.talk", NONE, NONE, NONE),
    ("$user.ann", NONE, NONE, NONE),
    ("$ns.admin.room", NONE, NONE, NONE),
];

// === impl Who ===

impl Who {
    const ALL: [Self; 3] = [Self::Ann, Self::Bob, Self::Guest];

    fn token(self) -> Option<String> {
        let all = json!(["subscribe", "publish", "history", "presence"]);
        match self {
            Self::Ann => Some(grants(
                "ann",
                &json!([
                    {"match": "ann.>", "can": all},
                    {"match": "shared", "can": ["subscribe"]},
                    {"match": "star.*", "can": ["subscribe"]},
                    {"match": "floor.a", "can": ["subscribe"]},
                    {"match": "$ns.admin.room", "can": all},
                ]),
            )),
            Self::Bob => Some(grants(
                "bob",
                &json!([
                    {"match": "bob.>", "can": all},
                    {"match": "shared", "can": ["publish"]},
                    {"match": "past", "can": ["history"]},
                    {"match": "$ns.admin.room", "can": ["subscribe"]},
                    // Such a grant opens nothing: `$` is closed to commands.
                    {"match": "$user.>", "can": all},
                    {"match": "$all", "can": all},
                ]),
            )),
            Self::Guest => None,
        }
    }
}

/// A client by any way.
enum Client {
    Socket(Box<Socket>),
    Plain(Box<Plain>),
}

// === impl Client ===

impl Client {
    async fn connect(gateway: &Gateway, way: Way, who: Who) -> Self {
        let token = who.token();
        let (transport, namespace) = match way {
            Way::Main(transport) => (transport, "/"),
            Way::Admin(transport) => (transport, "/admin"),
            Way::Plain | Way::Sse => {
                let mut plain = Plain::try_connect(gateway, token.as_deref()).await.unwrap();
                // A plain WebSocket is a session from its first request on;
                // the answer says that it is one.
                let _ = plain.call("unsubscribe", &json!({"channel": "none"})).await;
                return Self::Plain(Box::new(plain));
            }
        };
        let auth = token.map(|token| json!({"token": token}));
        let socket = Socket::join(gateway, transport, namespace, auth.as_ref()).await.unwrap();
        Self::Socket(Box::new(socket))
    }

    /// None: it went through. Some: the error's code.
    async fn call(&mut self, command: &str, argument: &Value) -> Option<String> {
        let answer = match self {
            Self::Socket(socket) => {
                let ack =
                    socket.call(&format!("push:{command}"), std::slice::from_ref(argument)).await;
                ack.get("error").cloned()
            }
            Self::Plain(plain) => plain.call(command, argument).await.err(),
        };
        answer.map(|error| error["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The data of the next publication.
    async fn next(&mut self) -> Value {
        tests::patiently("the next publication", self.listen()).await
    }

    async fn listen(&mut self) -> Value {
        match self {
            Self::Socket(socket) => socket.app_event().await.args[0].clone(),
            Self::Plain(plain) => plain.publication().await["data"].clone(),
        }
    }
}

/// What the API calls a channel that a client names `channel`.
fn full(way: Way, channel: &str) -> String {
    match way {
        Way::Admin(_) => format!("$ns.admin.{channel}"),
        _ => channel.to_owned(),
    }
}

/// Rows of the table for a way: channel, who, and what is allowed.
fn rows(way: Way) -> Vec<(&'static str, Who, May)> {
    let table: &[(&'static str, May, May, May)] =
        if matches!(way, Way::Admin(_)) { &ADMIN } else { &MAIN };
    table
        .iter()
        .flat_map(|(channel, ann, bob, guest)| {
            Who::ALL.into_iter().zip([*ann, *bob, *guest]).map(|(who, may)| (*channel, who, may))
        })
        .collect()
}

#[tokio::test]
async fn nobody_subscribes_without_being_allowed() {
    let gateway = gateway();
    for way in WAYS.into_iter().filter(|way| *way != Way::Sse) {
        for who in Who::ALL {
            let mut client = Client::connect(&gateway, way, who).await;
            let mut allowed = Vec::new();
            let mut tried = Vec::new();
            for (channel, _, may) in rows(way).into_iter().filter(|row| row.1 == who) {
                let refused = client.call("subscribe", &json!({"channel": channel})).await;
                let expected = (!may.subscribe).then(|| "forbidden".to_owned());
                assert_eq!(refused, expected, "{way:?} {who:?} subscribes {channel}");
                let channel = full(way, channel);
                if may.subscribe {
                    allowed.push(channel.clone());
                }
                tried.push(channel);
            }
            // What counts: what arrives. System channels are published to by
            // their own targets, elsewhere.
            for channel in
                tried.iter().filter(|name| !name.starts_with('$') || name.starts_with("$ns."))
            {
                say(&gateway, channel, json!({"of": channel})).await;
            }
            for channel in allowed {
                assert_eq!(client.next().await, json!({"of": channel}), "{way:?} {who:?}");
            }
            publish(&gateway, &json!({"all": true, "event": "e", "data": "end"})).await;
            assert_eq!(client.next().await, "end", "{way:?} {who:?}: nothing else came");
        }
    }
}

#[tokio::test]
async fn nobody_opens_a_stream_without_being_allowed() {
    let gateway = gateway();
    for (channel, who, may) in rows(Way::Sse) {
        let token = who.token().map(|token| format!("&token={token}")).unwrap_or_default();
        let url =
            format!("{}/sse?channel={}{token}", gateway.client(), channel.replace('$', "%24"));
        match Sse::open(&url, &[]).await {
            Ok(mut stream) => {
                assert!(may.subscribe, "{who:?} opened a stream of {channel}");
                say(&gateway, channel, 1).await;
                assert_eq!(stream.event().await.json()["channel"], channel);
            }
            Err(reply) => {
                assert!(!may.subscribe, "{who:?} {channel}: {}", reply.text());
                assert!([401, 403].contains(&reply.status), "{who:?} {channel}: {}", reply.status);
            }
        }
        // One that is allowed doesn't open the door for one that isn't.
        let url = format!("{url}&channel=public.news");
        assert_eq!(Sse::open(&url, &[]).await.is_ok(), may.subscribe, "{who:?} {channel}");
    }
}

#[tokio::test]
async fn nobody_publishes_without_being_allowed() {
    let gateway = gateway();
    for way in WAYS.into_iter().filter(|way| *way != Way::Sse) {
        for who in Who::ALL {
            let mut client = Client::connect(&gateway, way, who).await;
            for (channel, _, may) in rows(way).into_iter().filter(|row| row.1 == who) {
                let mark = format!("{way:?} {who:?} {channel}");
                let body = json!({"channel": channel, "event": "e", "data": mark});
                let refused = client.call("publish", &body).await;
                let expected = (!may.publish).then(|| "forbidden".to_owned());
                assert_eq!(refused, expected, "{way:?} {who:?} publishes to {channel}");
                // What counts: what is there afterwards.
                let name = full(way, channel);
                if name.starts_with('$') && !name.starts_with("$ns.") {
                    continue;
                }
                let path = format!(
                    "/v1/channels/{}/history?order=newest&limit=1000",
                    name.replace('$', "%24")
                );
                let reply = read(&gateway, None, &path).await;
                assert_eq!(reply.status, 200, "{path}: {}", reply.text());
                let there = reply.text().contains(&mark);
                assert_eq!(there, may.publish, "{mark}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_reads_history_without_being_allowed() {
    let gateway = gateway();
    for way in WAYS.into_iter().filter(|way| *way != Way::Sse) {
        for (channel, _, _, _) in if matches!(way, Way::Admin(_)) { &ADMIN[..] } else { &MAIN[..] }
        {
            let name = full(way, channel);
            if !name.starts_with('$') || name.starts_with("$ns.") {
                say(&gateway, &name, "kept").await;
            }
        }
        for who in Who::ALL {
            let mut client = Client::connect(&gateway, way, who).await;
            for (channel, _, may) in rows(way).into_iter().filter(|row| row.1 == who) {
                let refused = client.call("history", &json!({"channel": channel})).await;
                let expected = (!may.history).then(|| "forbidden".to_owned());
                assert_eq!(refused, expected, "{way:?} {who:?} reads {channel}");
                // A resume is a way to read, too.
                let resume = json!({"channel": channel, "last": 5});
                let refused = client.call("subscribe", &resume).await;
                assert_eq!(refused.is_none(), may.subscribe, "{way:?} {who:?} resumes {channel}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_for_one_user_reaches_no_other() {
    let gateway = gateway();
    for way in WAYS.into_iter().filter(|way| *way != Way::Sse) {
        let mut ann = Client::connect(&gateway, way, Who::Ann).await;
        let mut bob = Client::connect(&gateway, way, Who::Bob).await;
        let mut guest = Client::connect(&gateway, way, Who::Guest).await;
        publish(&gateway, &json!({"user": "ann", "event": "e", "data": "for ann"})).await;
        publish(&gateway, &json!({"user": "bob", "event": "e", "data": "for bob"})).await;
        publish(&gateway, &json!({"all": true, "event": "e", "data": "for all"})).await;
        for (client, name) in [(&mut ann, "for ann"), (&mut bob, "for bob")] {
            assert_eq!(client.next().await, name, "{way:?}");
            assert_eq!(client.next().await, "for all", "{way:?}");
        }
        assert_eq!(guest.next().await, "for all", "{way:?}");
    }
}

#[tokio::test]
async fn join_subscribes_on_connect_and_nothing_else() {
    let gateway = gateway();
    let token = tests::token::mint(&json!({
        "sub": "ann", "exp": tests::token::now() + 60, "join": ["inbox.ann"],
    }));
    let auth = json!({"token": token});
    let mut socket = Socket::join(&gateway, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    let mut plain = Plain::try_connect(&gateway, Some(&token)).await.unwrap();
    let _ = plain.call("unsubscribe", &json!({"channel": "none"})).await;
    say(&gateway, "inbox.bob", 1).await;
    say(&gateway, "inbox.ann", 2).await;
    assert_eq!(socket.app_event().await.args[0], 2);
    assert_eq!(plain.publication().await["data"], 2);
}

#[tokio::test]
async fn without_a_token_nobody_connects_unless_anonymous_is_allowed() {
    let gateway = Gateway::start(AUTH);
    for transport in Transport::ALL {
        let error = Socket::join(&gateway, transport, "/", None).await.err().unwrap();
        assert_eq!(error["data"]["code"], "unauthorized", "{error}");
        assert!(error["message"].as_str().is_some_and(|words| words.len() > 5), "{error}");
        let auth = json!({"token": "nonsense"});
        let error = Socket::join(&gateway, transport, "/", Some(&auth)).await.err().unwrap();
        assert_eq!(error["data"]["code"], "unauthorized", "{error}");
        let expired = tests::token::mint(&json!({"sub": "ann", "exp": 1_000_000_000}));
        let auth = json!({"token": expired});
        let error = Socket::join(&gateway, transport, "/", Some(&auth)).await.err().unwrap();
        assert_eq!(error["data"]["code"], "token_expired", "{error}");
    }
}

#[tokio::test]
async fn a_token_in_the_query_counts_too() {
    let gateway = Gateway::start(AUTH);
    let token = grants("ann", &json!([{"match": "ann.>", "can": ["subscribe"]}]));
    for transport in Transport::ALL {
        let query = format!("&token={token}");
        let mut socket = Socket::join_at(&gateway, transport, "/", None, &query).await.unwrap();
        socket.subscribe("ann.x").await;
    }
}

#[tokio::test]
async fn refresh_renews_and_never_changes_the_user() {
    let gateway = Gateway::start(AUTH);
    let auth = json!({"token": grants("ann", &json!([{"match": "one", "can": ["subscribe"]}]))});
    let mut socket = Socket::join(&gateway, Transport::WebSocket, "/", Some(&auth)).await.unwrap();
    let ack = socket.call("push:subscribe", &[json!("two")]).await;
    assert_eq!(ack["error"]["code"], "forbidden");
    let more = grants("ann", &json!([{"match": "*", "can": ["subscribe"]}]));
    let ack = socket.call("push:refresh", &[json!(more)]).await;
    assert_eq!(ack["ok"], true, "{ack}");
    socket.subscribe("two").await;
    let other = grants("bob", &json!([{"match": "*", "can": ["subscribe"]}]));
    let ack = socket.call("push:refresh", &[json!(other)]).await;
    assert!(ack["error"]["code"].is_string(), "{ack}");
    publish(&gateway, &json!({"user": "bob", "event": "e", "data": "for bob"})).await;
    say(&gateway, "two", "for subscribers").await;
    assert_eq!(socket.app_event().await.args[0], "for subscribers");
}

// === the API ===

/// SHA-256 of `publisher-key`, `orders-key`, `reader-key` and `admin-key`.
const KEYS: &str = r#"
api:
  keys:
  - {name: publisher, scopes: [publish], sha256: "PUBLISHER"}
  - {name: orders, scopes: [publish, read], channels: ["orders.>"], sha256: "ORDERS"}
  - {name: reader, scopes: [read], sha256: "READER"}
  - {name: admin, scopes: [admin], sha256: "ADMIN"}
channels: [{match: ">", history: {maxMessages: 10, maxAge: 1h}}]
"#;

#[tokio::test]
async fn the_api_does_what_the_key_allows() {
    let hash = |key: &str| tests::token::sha256(key);
    let config = KEYS
        .replace("PUBLISHER", &hash("publisher-key"))
        .replace("ORDERS", &hash("orders-key"))
        .replace("READER", &hash("reader-key"))
        .replace("ADMIN", &hash("admin-key"));
    let gateway = Gateway::start(&config);
    let publish = |channel: &str| json!({"channel": channel, "event": "e", "data": 1});
    let batch = |channel: &str| json!({"publications": [publish(channel)]});
    let keys = [
        None,
        Some("nonsense"),
        Some("publisher-key"),
        Some("orders-key"),
        Some("reader-key"),
        Some("admin-key"),
    ];
    // What a call is answered, by key in the order above. A batch is answered
    // 200 and each of its publications by itself.
    let posts = [
        ("/v1/publish", publish("orders.7"), [401, 401, 200, 200, 403, 403]),
        ("/v1/publish", publish("other"), [401, 401, 200, 403, 403, 403]),
        ("/v1/publish", publish("orders"), [401, 401, 200, 403, 403, 403]),
        (
            "/v1/publish",
            json!({"channels": ["orders.7", "other"], "data": 1}),
            [401, 401, 200, 403, 403, 403],
        ),
        ("/v1/publish", json!({"user": "ann", "data": 1}), [401, 401, 200, 403, 403, 403]),
        ("/v1/publish", json!({"all": true, "data": 1}), [401, 401, 200, 403, 403, 403]),
        ("/v1/batch", batch("orders.7"), [401, 401, 200, 200, 403, 403]),
    ];
    for (path, body, expected) in posts {
        for (key, status) in keys.into_iter().zip(expected) {
            let reply = call(&gateway, key, path, &body).await;
            assert_eq!(reply.status, status, "{key:?} {path} {body}: {}", reply.text());
            if status != 200 {
                let code = if status == 401 { "unauthorized" } else { "forbidden" };
                assert_eq!(reply.json()["code"], code, "{key:?} {path} {body}");
            }
        }
    }
    let gets = [
        ("/v1/channels/orders.7/history", [401, 401, 403, 200, 200, 403]),
        ("/v1/channels/other/history", [401, 401, 403, 403, 200, 403]),
        ("/v1/channels/orders.7", [401, 401, 403, 200, 200, 403]),
        ("/v1/channels/other", [401, 401, 403, 403, 200, 403]),
        ("/v1/gateways", [401, 401, 403, 200, 200, 403]),
    ];
    for (path, expected) in gets {
        for (key, status) in keys.into_iter().zip(expected) {
            let reply = read(&gateway, key, path).await;
            assert_eq!(reply.status, status, "{key:?} GET {path}: {}", reply.text());
        }
    }
    let reply = call(&gateway, Some("orders-key"), "/v1/batch", &batch("other")).await;
    assert_eq!(reply.json()["results"][0]["status"], 403, "{}", reply.text());
    // The other header does too.
    let reply = tests::http::send(
        tests::http::request("GET", &format!("{}/v1/channels/other/history", gateway.api()))
            .header("x-api-key", "reader-key"),
    )
    .await;
    assert_eq!(reply.status, 200);
    assert!(!gateway.log().contains("publisher-key"), "no key in the log");
}

//! The permission blocks of docs/nats.md, as they stand there.

use std::sync::{Arc, Mutex};

use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt as _;
use serde_json::Value;
use tests::api::{metric, read};
use tests::socketio::{Socket, Transport};

use super::*;

/// The block of the page that begins like this.
fn block(page: &str, begin: &str) -> String {
    let mut blocks = page.split("```").skip(1).step_by(2);
    let found = blocks.find(|block| block.trim_start().starts_with(begin));
    found.unwrap_or_else(|| panic!("docs/nats.md has no block {begin}")).to_owned()
}

fn page() -> String {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/nats.md");
    std::fs::read_to_string(page).unwrap()
}

/// The first password of a block is this.
fn password(block: &str, password: &str) -> String {
    assert!(block.contains("password: …"), "{block}");
    block.replacen('…', password, 1)
}

/// A server with the users of the page; and `root`, who may do anything.
fn server() -> Nats {
    let page = page();
    let app = password(&block(&page, "{ user: shop"), "s");
    let gateway = password(&block(&page, "{ user: gateway"), "g");
    let users = format!("{app}\n{gateway}\n{{ user: root, password: r }}");
    Nats::start(1, &format!("authorization: {{ users: [\n{users}\n] }}\n"))
}

/// A client; and what the server forbids it.
async fn client(nats: &Nats, user: &str, password: &str) -> (Client, Arc<Mutex<Vec<String>>>) {
    let forbidden = Arc::new(Mutex::new(Vec::new()));
    let sink = forbidden.clone();
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                sink.lock().unwrap().push(error.to_string());
            }
            std::future::ready(())
        });
    (options.connect(nats.url()).await.unwrap(), forbidden)
}

fn gateway_config(nats: &Nats) -> String {
    config(&nats.url(), json!({"user": "gateway", "password": "g"}))
}

#[tokio::test]
async fn a_gateway_can_do_its_work() {
    let nats = server();
    let (a, b) = (ready(&gateway_config(&nats)).await, ready(&gateway_config(&nats)).await);
    for gateway in [&a, &b] {
        eventually("both know each other", || async {
            let answer = read(gateway, None, "/v1/gateways").await.json();
            answer["gateways"].as_array().is_some_and(|list| list.len() == 2)
        })
        .await;
    }
    let mut socket = Socket::connect(&a, Transport::WebSocket).await;
    socket.subscribe("kept.a").await;
    socket.subscribe("passing").await;
    say(&b, "kept.a", 1).await.unwrap();
    say(&b, "passing", 2).await;
    let mut got = [next(&mut socket).await, next(&mut socket).await];
    got.sort_by_key(Value::as_u64);
    assert_eq!(got, [1, 2]);
    let count = read(&b, None, "/v1/channels/kept.a").await.json();
    assert_eq!(count["subscribers"], 1, "the other gateway's");
    // Its session, at the other gateway.
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    socket.close_engine().await;
    say(&a, "kept.a", 3).await.unwrap();
    let mut socket = Socket::join(&b, Transport::WebSocket, "/", Some(&credentials)).await.unwrap();
    assert_eq!(socket.sid(), sid);
    assert_eq!(next(&mut socket).await, 3);
    let history = read(&b, None, "/v1/channels/kept.a/history").await.json();
    assert_eq!(history["publications"].as_array().unwrap().len(), 2, "{history}");
    socket.disconnect().await;
    for gateway in [a, b] {
        assert!(!gateway.log().contains("forbids"), "{}", gateway.log());
    }
    assert!(!nats.log().contains("Violation"), "{}", nats.log());
}

async fn next(socket: &mut Socket) -> Value {
    socket.app_event().await.args[0].clone()
}

#[tokio::test]
async fn an_app_can_publish_and_nothing_else() {
    let nats = server();
    let gateway = ready(&gateway_config(&nats)).await;
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("kept.a").await;
    socket.subscribe("passing").await;
    let (app, forbidden) = client(&nats, "shop", "s").await;
    let ack = app.request("push.pub.kept.a", "1".into()).await.unwrap();
    let ack: Value = serde_json::from_slice(&ack.payload).unwrap();
    assert!(ack["seq"].is_u64(), "{ack}");
    app.publish("push.pub.passing", "2".into()).await.unwrap();
    let mut got = [next(&mut socket).await, next(&mut socket).await];
    got.sort_by_key(Value::as_u64);
    assert_eq!(got, [1, 2]);

    let (root, _) = client(&nats, "root", "r").await;
    let mut all = root.subscribe(">").await.unwrap();
    // Answered after the subscription is in force.
    root.request("$JS.API.INFO", "".into()).await.unwrap();
    let closed = [
        "push.live.kept.a",
        "push.ctl.gateways",
        "push.ctl.unstored.kept.a",
        "push.ctl.fenced",
        "$KV.PUSH_push_sessions.s.a",
        "$JS.API.INFO",
        "$JS.API.STREAM.INFO.PUSH_push",
        "$JS.API.STREAM.PURGE.PUSH_push",
        "$JS.API.STREAM.MSG.GET.PUSH_push",
        "other",
    ];
    for subject in closed {
        app.publish(subject, "forged".into()).await.unwrap();
    }
    // Nor may it listen: the answers that gateways get hold sessions' secrets.
    for subject in ["push.live.>", "push.ctl.>", "push.pub.>", ">"] {
        drop(app.subscribe(subject).await.unwrap());
    }
    app.publish("push.pub.passing", "3".into()).await.unwrap();
    assert_eq!(next(&mut socket).await, 3);
    let refused = metric(&gateway, "push_peer_refused_total").await.unwrap_or(0.0);
    assert!(refused < 1.0, "a gateway heard it");
    eventually("all is refused", || async { forbidden.lock().unwrap().len() == closed.len() + 4 })
        .await;
    let forbidden = forbidden.lock().unwrap().clone();
    for subject in closed {
        let quoted = format!("\"{subject}\"");
        assert!(forbidden.iter().any(|text| text.contains(&quoted)), "{forbidden:?}");
    }
    // Up to the last that it may publish.
    loop {
        let message = tests::patiently("a message", all.next()).await.unwrap();
        assert_ne!(message.payload, "forged", "{}", message.subject);
        if message.subject.as_str() == "push.pub.passing" {
            break;
        }
    }
}

/// The answer to an app's publication goes where the app says, in the
/// server's name; where that is not an inbox, nothing must come of it.
async fn acknowledgements(nats: &Nats, root: (&str, &str), record: bool) {
    const RECORD: &str = "$KV.PUSH_push_sessions.s.forged";
    let gateway = ready(&gateway_config(nats)).await;
    let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
    socket.subscribe("kept.a").await;
    socket.subscribe("passing").await;
    let (app, _) = client(nats, "shop", "s").await;
    app.publish("push.pub.passing", "0".into()).await.unwrap();
    assert_eq!(next(&mut socket).await, 0);
    let ack = app.request("push.pub.kept.a", "1".into()).await.unwrap();
    let ack: Value = serde_json::from_slice(&ack.payload).unwrap();
    assert!(ack["seq"].is_u64(), "{ack}");
    assert_eq!(next(&mut socket).await, 1);
    let replies = [
        "push.live.kept.a",
        "push.ctl.stream",
        "push.ctl.gateways",
        "$JS.API.STREAM.PURGE.PUSH_push",
        "$JS.API.STREAM.DELETE.PUSH_push",
        RECORD,
    ];
    for (number, reply) in (2..).zip(replies) {
        let payload = number.to_string().into();
        app.publish_with_reply("push.pub.kept.a", reply, payload).await.unwrap();
        assert_eq!(next(&mut socket).await, number);
    }
    // What came of them has come.
    say(&gateway, "kept.a", 0).await.unwrap();
    assert_eq!(next(&mut socket).await, 0);
    let history = read(&gateway, None, "/v1/channels/kept.a/history").await.json();
    assert_eq!(history["publications"].as_array().unwrap().len(), replies.len() + 2, "{history}");
    let (root, _) = client(nats, root.0, root.1).await;
    let ask = async |call: &str, body: String| -> Value {
        let answer = root.request(format!("$JS.API.STREAM.{call}"), body.into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    };
    let info = ask("INFO.PUSH_push", String::new()).await;
    assert_eq!(info["state"]["first_seq"], 1, "{info}");
    let get = json!({"last_by_subj": RECORD}).to_string();
    let got = ask("MSG.GET.KV_PUSH_push_sessions", get).await;
    assert_eq!(got["message"].is_object(), record, "{got}");
}

#[tokio::test]
async fn an_acknowledgement_is_no_way_in() {
    // As the page says, a record can be overwritten.
    acknowledgements(&server(), ("root", "r"), true).await;
}

#[tokio::test]
async fn an_account_for_apps_closes_that_way_too() {
    let accounts = password(&password(&block(&page(), "accounts {"), "g"), "s");
    acknowledgements(&Nats::start(1, &accounts), ("gateway", "g"), false).await;
}

/// What the page leaves out is said by name, when it is missing.
#[tokio::test]
async fn a_permission_that_is_missing_is_named() {
    let users = "authorization: { users: [ { user: gateway, password: g, permissions: {\n\
        publish: [\"push.pub.>\"], subscribe: [\">\"] } } ] }\n";
    let nats = Nats::start(1, users);
    fails(
        &nats.url(),
        json!({"user": "gateway", "password": "g"}),
        &["forbids", "$JS.API.STREAM.INFO.PUSH_push", "docs/nats.md"],
    );
}

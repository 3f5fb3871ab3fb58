//! An app that is asked, over a real nats-server, who clients are and what
//! they may subscribe to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use tests::api::{call, metric, say};
use tests::nats::Nats;
use tests::patience::eventually;
use tokio::task::JoinHandle;

use super::*;

/// An app that answers by a function, and remembers what it was asked.
struct App {
    asked: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl App {
    /// Serves a subject. `None`: no answer; a text that isn't JSON is sent as
    /// it is.
    async fn serve(
        nats: &Nats,
        subject: &'static str,
        answer: impl Fn(&Value) -> Option<Value> + Send + 'static,
    ) -> Self {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let mut questions = client.subscribe(subject).await.unwrap();
        // The server has the subscription when it has passed on what came
        // after it.
        let inbox = client.new_inbox();
        let mut echo = client.subscribe(inbox.clone()).await.unwrap();
        client.publish(inbox, "".into()).await.unwrap();
        echo.next().await.unwrap();
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let heard = asked.clone();
        let task = tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let event: Value = serde_json::from_slice(&question.payload).unwrap();
                let answer = answer(&event);
                heard.lock().unwrap().push(event);
                let Some(answer) = answer else { continue };
                let text = match answer {
                    Value::String(text) => text,
                    json => json.to_string(),
                };
                let reply = question.reply.expect("a question");
                client.publish(reply, text.into()).await.unwrap();
                client.flush().await.unwrap();
            }
        });
        Self { asked, task }
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A gateway on this server, which is ready.
async fn gateway(nats: &Nats, auth: &str) -> Gateway {
    let gateway = Gateway::start(&format!(
        "peer: {{secret: a-secret-between-the-gateways-of-a-suite}}\n\
         relay: {{url: '{}'}}\nauth: {{{auth}}}\n\
         channels:\n- {{match: 'kept.>', history: {{maxMessages: 10, maxAge: 1h}}}}\n\
         - {{match: 'talk.>', clientPublish: true}}\n",
        nats.url()
    ));
    gateway.ready().await;
    gateway
}

/// What an app says of whoever shows the ticket `ticket-<user>`.
fn by_ticket(event: &Value) -> Option<Value> {
    let ticket = event["data"]["token"].as_str()?;
    let Some(user) = ticket.strip_prefix("ticket-") else {
        return Some(json!({"allow": false, "message": "no such ticket", "ttl": 60}));
    };
    Some(json!({
        "allow": true, "user": user, "join": [format!("inbox.{user}")],
        "channels": [{"match": "room", "can": ["subscribe"]}], "ttl": 60,
    }))
}

#[tokio::test]
async fn an_app_says_who_a_client_is() {
    let nats = Nats::single();
    let app = App::serve(&nats, "push.in.$auth.connect", by_ticket).await;
    let gateway = gateway(&nats, "callout: {connect: {}}").await;
    for way in WAYS {
        let mut client = Client::connect(&gateway, way, "ticket-ann").await.unwrap();
        say(&gateway, "room", 1).await;
        assert_eq!(client.publication().await, 1, "{way:?}");
        say(&gateway, "inbox.bob", 2).await;
        say(&gateway, "inbox.ann", 3).await;
        assert_eq!(client.publication().await, 3, "{way:?}");
        let user = json!({"user": "ann", "event": "e", "data": 4});
        assert_eq!(call(&gateway, None, "/v1/publish", &user).await.status, 200);
        assert_eq!(client.publication().await, 4, "{way:?}");
        let refused = Client::connect(&gateway, way, "stolen").await.err();
        assert_eq!(refused.as_deref(), Some("unauthorized"), "{way:?}");
    }
    let asked = app.asked();
    // Each answer holds for a minute: once for each token and protocol.
    assert_eq!(asked.len(), 6, "{asked:?}");
    let first = &asked[0];
    assert_eq!(first["specversion"], "1.0");
    assert_eq!(first["type"], "io.pushcluster.connect");
    assert!(first["source"].as_str().unwrap().starts_with("/gateways/"), "{first}");
    assert!(first["id"].is_string() && first["time"].is_string(), "{first}");
    let data = json!({"protocol": "socketio", "namespace": "/", "token": "ticket-ann"});
    assert_eq!(first["data"], data);
    // Without a token nobody needs to be asked.
    let error = Socket::join(&gateway, Transport::WebSocket, "/", None).await.err().unwrap();
    assert_eq!(error["data"]["code"], "unauthorized", "{error}");
    assert_eq!(app.asked().len(), 6);
    assert!(metric(&gateway, "push_callouts_total").await.unwrap() >= 8.0);
}

#[tokio::test]
async fn an_app_adds_to_what_a_token_says() {
    let nats = Nats::single();
    let app = App::serve(&nats, "who.is.it", |event| {
        Some(match event["data"]["user"].as_str() {
            Some("ann") => json!({
                "allow": true, "expires": now() + 8,
                "channels": [{"match": "room", "can": ["subscribe"]}],
            }),
            // It is not for an app to make one user another.
            Some("bob") => json!({"allow": true, "user": "ann"}),
            _ => json!({"allow": false}),
        })
    })
    .await;
    let auth = format!(
        "jwt: {{secret: {SECRET}, leeway: 0s}}, callout: {{connect: {{subject: who.is.it}}}}"
    );
    let gateway = gateway(&nats, &auth).await;
    let ann = token(&["other"], &json!({"jti": "t1", "meta": {"a": 1}}));
    let mut client = Client::connect(&gateway, Way::Websocket, &ann).await.unwrap();
    let Client::Websocket(plain) = &mut client else { panic!("/ws") };
    let refused = plain.call("subscribe", &json!({"channel": "other"})).await.unwrap_err();
    assert_eq!(refused["code"], "forbidden", "the app's grants are the ones that count");
    client.ended("token_expired").await;
    let asked = app.asked();
    let data = json!({
        "protocol": "websocket", "namespace": "/", "user": "ann", "tokenId": "t1",
        "meta": {"a": 1},
    });
    assert_eq!(asked[0]["data"], data, "no token: the gateway has verified it");
    let bob = mint(&json!({"sub": "bob", "exp": now() + 60}));
    let eve = mint(&json!({"sub": "eve", "exp": now() + 60}));
    for (token, status, code) in [(&bob, 503, "unavailable"), (&eve, 401, "unauthorized")] {
        let url = format!("{}/sse?channel=room&token={token}", gateway.client());
        let reply = Sse::open(&url, &ANYTHING).await.err().unwrap();
        assert_eq!((reply.status, reply.json()["code"].as_str()), (status, Some(code)));
    }
    let before = app.asked().len();
    let refused = Client::connect(&gateway, Way::Sse, "not.a.token").await.err();
    assert_eq!(refused.as_deref(), Some("unauthorized"));
    assert_eq!(app.asked().len(), before, "a bad token is nothing to ask about");
}

#[tokio::test]
async fn an_app_decides_who_subscribes() {
    let nats = Nats::single();
    let app = App::serve(&nats, "push.in.$auth.subscribe", |event| {
        let (user, channel) = (event["data"]["user"].as_str(), event["data"]["channel"].as_str()?);
        let own = user.is_some_and(|user| channel.ends_with(user));
        Some(json!({"allow": own, "message": "not one of yours", "ttl": 60}))
    })
    .await;
    let auth = format!(
        "jwt: {{secret: {SECRET}}}, callout: {{subscribe: [{{match: 'kept.>'}}, {{match: 'talk.>'}}]}}"
    );
    let gateway = gateway(&nats, &auth).await;
    // A grant is neither needed nor enough.
    let ann = token(&["room", "kept.bob"], &json!({}));
    for way in [WAYS[0], WAYS[1], Way::Websocket] {
        let mut client = Client::connect(&gateway, way, &ann).await.unwrap();
        client.command("subscribe", &json!({"channel": "kept.ann"})).await.unwrap();
        let refused =
            client.command("subscribe", &json!({"channel": "kept.bob"})).await.unwrap_err();
        assert_eq!(refused["code"], "forbidden", "{way:?}");
        assert_eq!(refused["message"], "not one of yours", "{way:?}");
        // Whoever may subscribe publishes, where the rule says so.
        let own = json!({"channel": "talk.ann", "data": 1});
        client.command("publish", &own).await.unwrap();
        let other = json!({"channel": "talk.bob", "data": 1});
        let refused = client.command("publish", &other).await.unwrap_err();
        assert_eq!(refused["code"], "forbidden", "{way:?}");
        say(&gateway, "kept.bob", 1).await;
        say(&gateway, "kept.ann", 2).await;
        assert_eq!(client.publication().await, 2, "{way:?}");
    }
    let url = format!("{}/sse?channel=kept.bob&token={ann}", gateway.client());
    let reply = Sse::open(&url, &ANYTHING).await.err().unwrap();
    assert_eq!((reply.status, reply.json()["code"].as_str()), (403, Some("forbidden")));
    let asked = app.asked();
    let of =
        |channel: &str| asked.iter().filter(|event| event["data"]["channel"] == channel).count();
    // Once for each protocol: the two transports of Socket.IO are one.
    assert_eq!((of("kept.ann"), of("kept.bob"), of("talk.ann")), (2, 3, 2), "{asked:?}");
    assert!(asked.iter().all(|event| event["data"].get("token").is_none()), "{asked:?}");
}

#[tokio::test]
async fn a_recovered_session_and_a_new_token_are_asked_for_again() {
    let nats = Nats::single();
    let allowed = Arc::new(Mutex::new(true));
    let say_so = allowed.clone();
    let _app = App::serve(&nats, "push.in.$auth.subscribe", move |_| {
        Some(json!({"allow": *say_so.lock().unwrap()}))
    })
    .await;
    let auth = format!("jwt: {{secret: {SECRET}}}, callout: {{subscribe: [{{match: 'kept.>'}}]}}");
    let gateway = gateway(&nats, &auth).await;
    let ann = token(&["room"], &json!({}));
    let auth = json!({"token": ann});
    for transport in Transport::ALL {
        *allowed.lock().unwrap() = true;
        let mut socket = Socket::join(&gateway, transport, "/", Some(&auth)).await.unwrap();
        socket.subscribe("kept.a").await;
        let mut auth = socket.credentials();
        auth["token"] = json!(ann);
        let sid = socket.sid().to_owned();
        socket.close_engine().await;
        let mut socket = Socket::join(&gateway, transport, "/", Some(&auth)).await.unwrap();
        assert_eq!(socket.sid(), sid);
        say(&gateway, "kept.a", 1).await;
        assert_eq!(socket.app_event().await.args[0], 1);
        *allowed.lock().unwrap() = false;
        let done = socket.call("push:refresh", &[json!(ann)]).await;
        assert_eq!(done["ok"], true, "{done}");
        assert_eq!(socket.notice("push:unsubscribed").await["channel"], "kept.a");
    }
}

#[tokio::test]
async fn an_app_that_fails_lets_nobody_in() {
    let nats = Nats::single();
    let gateway = gateway(
        &nats,
        "anonymous: true, callout: {connect: {timeout: 300ms}, subscribe: [{match: 'kept.>', timeout: 300ms}]}",
    )
    .await;
    let url = format!("{}/sse?channel=room", gateway.client());
    let refused = async |why: &str| {
        let reply = Sse::open(&url, &ANYTHING).await.err().unwrap();
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (503, Some("unavailable")),
            "{why}"
        );
        assert_eq!(reply.json()["retry"], true, "{why}");
    };
    refused("nobody serves it").await;
    // Socket.IO's library must try again, so it gets no CONNECT_ERROR.
    let session = tests::engineio::Polling::open(&gateway).await;
    session.post("40").await;
    assert_eq!(session.get().await.text(), "1");
    let mistakes = [
        json!("no JSON"),
        json!([]),
        json!({}),
        json!({"allow": "yes"}),
        json!({"allow": 1}),
        json!({"allow": true, "user": ""}),
        json!({"allow": true, "user": 7}),
        json!({"allow": true, "channels": "all"}),
        json!({"allow": true, "channels": [{"match": ">", "can": ["everything"]}]}),
        json!({"allow": true, "join": ["$all"]}),
        json!({"allow": true, "expires": 1}),
        json!({"allow": true, "expires": "never"}),
        json!({"allow": true, "except": ["room"]}),
        json!({"allow": true, "ttl": -1}),
        json!({"allow": true, "meta": "x".repeat(20_000)}),
    ];
    for mistake in mistakes {
        let why = mistake.to_string();
        let answer = mistake.clone();
        let app = App::serve(&nats, "push.in.$auth.connect", move |_| Some(answer.clone())).await;
        refused(&why[..why.len().min(80)]).await;
        assert_eq!(app.asked().len(), 1, "it was asked");
        drop(app);
    }
    let slow = App::serve(&nats, "push.in.$auth.connect", |_| None).await;
    refused("no answer in time").await;
    drop(slow);
    // It comes back, and all is well.
    let grants = json!([{"match": ">", "can": ["subscribe"]}]);
    let app = App::serve(&nats, "push.in.$auth.connect", move |event| {
        assert!(event["data"].get("token").is_none());
        Some(json!({"allow": true, "channels": grants}))
    })
    .await;
    eventually("clients to be let in", || async { Sse::open(&url, &ANYTHING).await.is_ok() }).await;
    // Subscriptions have an app of their own, which isn't there.
    let mut plain = Plain::connect(&gateway).await;
    let refused = plain.call("subscribe", &json!({"channel": "kept.a"})).await.unwrap_err();
    assert_eq!(refused["code"], "unavailable", "{refused}");
    plain.call("subscribe", &json!({"channel": "room"})).await.unwrap();
    drop(app);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let log = gateway.log();
    assert!(log.contains("the connect callout fails"), "{log}");
}

#[test]
fn a_callout_needs_nats_and_says_so() {
    let table = [
        ("auth: {callout: {connect: {}}}", "relay.url"),
        ("auth: {callout: {subscribe: [{match: a}]}}", "relay.url"),
        ("auth: {callout: {connect: {timeout: 0s}}}", "auth.callout.connect.timeout"),
        ("auth: {callout: {connect: {timeout: 1m}}}", "auth.callout.connect.timeout"),
        ("auth: {callout: {connect: {subject: 'a.*'}}}", "auth.callout.connect.subject"),
        ("auth: {callout: {connect: {subject: push.pub.a}}}", "auth.callout.connect.subject"),
        ("auth: {callout: {subscribe: [{}]}}", "match"),
        ("auth: {callout: {connekt: {}}}", "connekt"),
    ];
    for (config, word) in table {
        let log = Gateway::try_start(config).err().unwrap();
        assert!(log.contains(word), "{config}: {log}");
    }
}

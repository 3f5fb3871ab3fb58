//! What the operator makes of managed NATS, on real nats-servers: who may do
//! what, and a new certificate without a reconnect.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt as _;
use operator::controller::build::nats;
use operator::controller::certificates;
use operator::controller::names::Names;
use operator::controller::plan::{Plan, Wire};
use operator::controller::secrets::{self, Circumstances};
use operator::controller::servers::Way;
use operator::controller::validate::{Defaults, Found, validate};
use operator::crd::{PushCluster, SecretKey};
use serde_json::{Value, json};
use tests::Gateway;
use tests::api::say;
use tests::nats::{Nats, Secrets};
use tests::patience::eventually;
use tests::socketio::{Socket, Transport};

const PREFIX: &str = "pushcluster.shop.live";

/// A `PushCluster` with managed NATS, as the operator sees it.
struct Scene {
    cluster: PushCluster,
    found: Found,
    files: Secrets,
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

impl Scene {
    fn new() -> Self {
        let cluster = serde_json::from_value(json!({
            "apiVersion": "pushcluster.io/v1alpha1",
            "kind": "PushCluster",
            "metadata": {
                "name": "live", "namespace": "shop", "uid": "1", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"nats": {"managed": {"replicas": 1}}},
        }));
        let mut scene =
            Self { cluster: cluster.unwrap(), found: Found::default(), files: Secrets::default() };
        scene.keep(now());
        scene
    }

    /// What the operator does with its Secrets at this time.
    fn keep(&mut self, now: i64) {
        let names = Names::of(&self.cluster);
        for kept in secrets::kept(&self.cluster.spec, &names) {
            let there: BTreeMap<_, _> = self
                .found
                .values
                .iter()
                .filter(|(at, _)| at.name == kept.name)
                .map(|(at, value)| (at.key.clone(), value.clone()))
                .collect();
            let others = self.found.values.clone();
            let of = Circumstances { names: &names, others: &others, wire: Wire::Encrypted, now };
            for (key, value) in kept.complete(&there, &of).unwrap() {
                self.found.values.insert(SecretKey { name: kept.name.clone(), key }, value);
            }
            self.found.secrets.push(kept.name);
        }
        for key in ["tls.crt", "tls.key", "ca.crt"] {
            self.files.write(key, self.value("live-nats-tls", key));
        }
    }

    fn value(&self, name: &str, key: &str) -> &str {
        &self.found.values[&SecretKey { name: name.to_owned(), key: key.to_owned() }]
    }

    fn plan(&self) -> Plan {
        let defaults = Defaults {
            gateway_image: "g".to_owned(),
            nats_image: "n".to_owned(),
            operator_namespace: None,
        };
        validate(&self.cluster, &defaults, &self.found).unwrap()
    }

    /// So many servers with the operator's configuration, but for addresses
    /// and storage, which are the harness'.
    fn servers(&self, count: usize) -> Nats {
        let plan = self.plan();
        let text = nats::config(&plan, plan.managed_nats().unwrap());
        let tls = text.find("tls {").unwrap();
        let store = text.find("jetstream {").unwrap();
        let accounts = text.find("accounts {").unwrap();
        let text = format!("{}{}", &text[tls..store], &text[accounts..])
            .replace("/etc/nats-tls", self.files.path("").trim_end_matches('/'))
            .replace("$GATEWAY_PASSWORD", self.value("live-nats-gateway", "password"))
            .replace("$APP_PASSWORD", self.value("live-nats-app", "password"))
            .replace("$SYSTEM_PASSWORD", self.value("live-internal", "nats-system"));
        Nats::start(count, &text)
    }

    /// A gateway that follows one of them, as its certificate names it.
    async fn gateway(&self, nats: &Nats, index: usize) -> Gateway {
        self.gateway_with(nats, index, &json!({})).await
    }

    /// The same, with this for `auth`.
    async fn gateway_with(&self, nats: &Nats, index: usize, auth: &Value) -> Gateway {
        let gateway = Gateway::start(
            &json!({
                "peer": {"secret": "a-secret-between-the-gateways-of-a-suite"},
                "relay": {
                    "url": url(nats, index), "prefix": PREFIX,
                    "user": "gateway", "password": self.value("live-nats-gateway", "password"),
                    "tls": {"ca": self.files.path("ca.crt")},
                },
                "auth": auth,
                "channels": [{"match": "kept.>", "history": {"maxMessages": 100, "maxAge": "1h"}}],
            })
            .to_string(),
        );
        gateway.ready().await;
        gateway
    }

    /// A client; and what the server forbids it, or that it was cut off.
    async fn client(
        &self,
        url: String,
        user: &str,
        inbox: &str,
    ) -> (Client, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = said.clone();
        let password = self.value(&format!("live-nats-{user}"), "password").to_owned();
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password)
            .require_tls(true)
            .custom_inbox_prefix(inbox)
            .add_root_certificates(self.files.path("ca.crt").into())
            .event_callback(move |event| {
                match event {
                    Event::ServerError(error) => sink.lock().unwrap().push(error.to_string()),
                    Event::Disconnected => sink.lock().unwrap().push("cut off".to_owned()),
                    _ => {}
                }
                std::future::ready(())
            });
        (options.connect(url).await.unwrap(), said)
    }
}

/// One server's address by a name that its certificate has.
fn url(nats: &Nats, index: usize) -> String {
    format!("tls://localhost:{}", nats.port_of(index))
}

async fn next(socket: &mut Socket) -> Value {
    socket.app_event().await.args[0].clone()
}

/// An app at one server, gateways at all: what it publishes arrives at each,
/// what gateways ask it answers, and nothing else is its business.
#[tokio::test]
async fn gateways_and_apps_have_an_account_each() {
    let scene = Scene::new();
    let nats = scene.servers(3);
    let gateways = [scene.gateway(&nats, 0).await, scene.gateway(&nats, 1).await];
    let (app, forbidden) = scene.client(url(&nats, 2), "app", "_INBOX").await;
    let mut sockets = Vec::new();
    for gateway in &gateways {
        let mut socket = Socket::connect(gateway, Transport::WebSocket).await;
        socket.subscribe("kept.a").await;
        socket.subscribe("passing").await;
        sockets.push(socket);
    }
    let ack = app.request(format!("{PREFIX}.pub.kept.a"), "1".into()).await.unwrap();
    let ack: Value = serde_json::from_slice(&ack.payload).unwrap();
    assert!(ack["seq"].is_u64(), "{ack}");
    app.publish(format!("{PREFIX}.pub.passing"), "2".into()).await.unwrap();
    for socket in &mut sockets {
        let mut got = [next(socket).await, next(socket).await];
        got.sort_by_key(Value::as_u64);
        assert_eq!(got, [1, 2]);
    }

    // A gateway's request, to whoever serves it.
    let mut served =
        app.queue_subscribe(format!("{PREFIX}.in.>"), "workers".to_owned()).await.unwrap();
    app.flush().await.unwrap();
    let serving = app.clone();
    let serving = tokio::spawn(async move {
        let request = served.next().await.unwrap();
        serving.publish(request.reply.unwrap(), "answer".into()).await.unwrap();
        served
    });
    let inbox = format!("{PREFIX}.ctl.inbox");
    let (gateway, refused) = scene.client(url(&nats, 0), "gateway", &inbox).await;
    eventually("an answer", || async {
        let asked = gateway.request(format!("{PREFIX}.in._.order"), "x".into()).await;
        asked.is_ok_and(|answer| answer.payload == "answer")
    })
    .await;
    let _served = serving.await.unwrap();
    assert!(refused.lock().unwrap().is_empty(), "{refused:?}");

    let closed = [
        format!("{PREFIX}.live.kept.a"),
        format!("{PREFIX}.ctl.gateways"),
        format!("{PREFIX}.in._.order"),
        "$JS.API.INFO".to_owned(),
        "$JS.API.STREAM.PURGE.PUSH_pushcluster_shop_live".to_owned(),
        "$KV.PUSH_pushcluster_shop_live_sessions.s.a".to_owned(),
        "$SYS.REQ.SERVER.PING".to_owned(),
    ];
    for subject in &closed {
        app.publish(subject.clone(), "forged".into()).await.unwrap();
    }
    let unheard =
        [format!("{PREFIX}.pub.>"), format!("{PREFIX}.ctl.>"), "$SYS.>".to_owned(), ">".to_owned()];
    for subject in &unheard {
        drop(app.subscribe(subject.clone()).await.unwrap());
    }
    eventually("all is refused", || async {
        let forbidden = forbidden.lock().unwrap();
        closed.iter().chain(&unheard).all(|subject| {
            let quoted = format!("\"{subject}\"");
            forbidden.iter().any(|text| text.contains(&quoted))
        })
    })
    .await;
    // Nor may a gateway's user do what no gateway does.
    for subject in ["$JS.API.STREAM.PURGE", "$JS.API.STREAM.DELETE"] {
        let subject = format!("{subject}.PUSH_pushcluster_shop_live");
        gateway.publish(subject, "".into()).await.unwrap();
    }
    eventually("that is refused", || async { refused.lock().unwrap().len() == 2 }).await;
    for gateway in gateways {
        assert!(!gateway.log().contains("forbids"), "{}", gateway.log());
    }
}

/// With the account that it has, and the configuration that gateways get.
#[tokio::test]
async fn an_app_is_asked_who_a_client_is() {
    let mut scene = Scene::new();
    let auth = json!({"callout": {"connect": {}}});
    scene.cluster.spec.auth = serde_json::from_value(auth).unwrap();
    let boot = scene.plan().config.boot;
    let callout: Value = serde_json::from_str(&boot["PUSH_AUTH_CALLOUT"]).unwrap();
    let anonymous: bool = boot["PUSH_AUTH_ANONYMOUS"].parse().unwrap();
    let nats = scene.servers(1);
    let auth = json!({"callout": callout, "anonymous": anonymous});
    let gateway = scene.gateway_with(&nats, 0, &auth).await;
    let (app, _) = scene.client(url(&nats, 0), "app", "_INBOX").await;
    let mut questions = app.subscribe(format!("{PREFIX}.in.$auth.connect")).await.unwrap();
    app.flush().await.unwrap();
    let answering = tokio::spawn(async move {
        let question = questions.next().await.unwrap();
        let grants = json!([{"match": "kept.>", "can": ["subscribe"]}]);
        let answer = json!({"allow": true, "user": "ann", "channels": grants});
        app.publish(question.reply.unwrap(), answer.to_string().into()).await.unwrap();
        app.flush().await.unwrap();
        serde_json::from_slice::<Value>(&question.payload).unwrap()
    });
    let refused = Socket::join(&gateway, Transport::WebSocket, "/", None).await.err();
    assert_eq!(refused.unwrap()["data"]["code"], "unauthorized", "nobody is asked of nothing");
    let ticket = json!({"token": "ticket-7"});
    let joined = Socket::join(&gateway, Transport::WebSocket, "/", Some(&ticket)).await;
    let mut socket = joined.unwrap_or_else(|error| panic!("{error}"));
    socket.subscribe("kept.a").await;
    assert_eq!(answering.await.unwrap()["data"]["token"], "ticket-7");
}

/// Nobody who is connected notices, and who connects sees the new one.
#[tokio::test]
async fn a_new_certificate_cuts_nobody_off() {
    let mut scene = Scene::new();
    let nats = scene.servers(1);
    let gateway = scene.gateway(&nats, 0).await;
    let (app, said) = scene.client(url(&nats, 0), "app", "_INBOX").await;
    let password = scene.value("live-internal", "nats-system").to_owned();
    let loaded = |scene: &Scene| scene.plan().managed_nats().unwrap().loaded.clone();
    let way = |scene: &Scene| Way::new(&password, scene.value("live-nats-tls", "ca.crt")).unwrap();
    let first = loaded(&scene);
    way(&scene).ask(&url(&nats, 0), "n0", &first, false).await.unwrap();
    let wrong = way(&scene).ask(&url(&nats, 0), "n1", &first, false).await;
    assert!(wrong.is_err(), "another server's name");

    // Two months later; the certificate begins then, so today it is as if it
    // were issued an hour ago.
    let before = scene.value("live-nats-tls", "tls.crt").to_owned();
    let authority = certificates::Pair {
        certificate: scene.value("live-ca", "tls.crt").to_owned(),
        key: scene.value("live-ca", "tls.key").to_owned(),
    };
    let hosts = Names::of(&scene.cluster).nats_hosts();
    let renewed = certificates::sign(&authority, &hosts, now() + 60).unwrap();
    for (key, value) in [("tls.crt", renewed.certificate), ("tls.key", renewed.key)] {
        let at = SecretKey { name: "live-nats-tls".to_owned(), key: key.to_owned() };
        scene.found.values.insert(at, value);
    }
    scene.keep(now());
    assert_ne!(scene.value("live-nats-tls", "tls.crt"), before);
    let second = loaded(&scene);
    let late = way(&scene).ask(&url(&nats, 0), "n0", &second, false).await.unwrap_err();
    assert_eq!(late.to_string(), "it has not got it yet");
    way(&scene).ask(&url(&nats, 0), "n0", &second, true).await.unwrap();
    way(&scene).ask(&url(&nats, 0), "n0", &second, false).await.unwrap();

    app.request(format!("{PREFIX}.pub.kept.a"), "1".into()).await.unwrap();
    assert!(say(&gateway, "kept.a", 2).await.is_some());
    assert!(said.lock().unwrap().is_empty(), "{said:?}");
    assert_eq!(nats.log().matches("Client connection closed").count(), 0, "{}", nats.log());
    let stranger = Way::new(&password, &certificates::authority("x", now()).unwrap().certificate);
    let refused = stranger.unwrap().ask(&url(&nats, 0), "n0", &second, false).await;
    assert!(refused.is_err(), "a server that nobody vouches for gets no password");
}

//! Gateways as pods, made by hand: what must work before an operator makes
//! them. And the upgrade from an older operator. `tests/run cluster` starts the
//! cluster and loads the images.

// A test reports by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};
use tests::api;
use tests::kubernetes::live::scrape;
use tests::kubernetes::{Client, Cluster, Namespace, PATIENCE, images};
use tests::patience::eventually;
use tests::socketio::{Socket, Transport};

#[path = "kubernetes/upgrade.rs"]
mod upgrade;

/// The key whose hash stands in the manifest.
const KEY: &str = "test-key";

/// A push service in a namespace of its own.
struct Live {
    namespace: Namespace,
    client: String,
    api: String,
    nats: String,
}

// === impl Live ===

impl Live {
    /// Applies the manifest and waits until all is ready.
    async fn start(cluster: &Cluster) -> Self {
        let namespace = Namespace::new(cluster, "gateways").await;
        let manifest = include_str!("kubernetes/gateways.yaml")
            .replace("{{gateway}}", &images::gateway())
            .replace("{{nats}}", &images::nats());
        namespace.apply(&manifest).await;
        namespace.wait_for("condition=Ready", "pod/live-nats-0").await;
        namespace.rolled_out("deployment/live").await;
        let client = namespace.service("live", "client").await;
        let api = namespace.service("live-api", "api").await;
        let nats = namespace.service("live-nats", "nats").await;
        let services = vec![client.clone(), api.clone(), nats.clone()];
        Client::new(cluster).await.until_open(services).await;
        let (client, api) = (format!("http://{client}"), format!("http://{api}"));
        Self { namespace, client, api, nats: format!("nats://{nats}") }
    }

    /// How many connections each gateway has ever accepted, by pod.
    async fn opened(&self, from: &Client) -> BTreeMap<String, f64> {
        self.metric(from, "push_connections_opened_total").await
    }

    /// A metric of each gateway, by pod.
    async fn metric(&self, from: &Client, name: &'static str) -> BTreeMap<String, f64> {
        let pods = self.namespace.pods("app=live").await;
        from.run(async move || {
            let mut counts = BTreeMap::new();
            for (pod, address) in pods {
                let count = scrape(&address, name).await;
                counts.insert(pod, count.unwrap_or_default());
            }
            counts
        })
        .await
    }
}

async fn connect(base: &str, transport: Transport) -> Socket {
    Socket::join_url(base, transport, "/", None, "").await.expect("anonymous clients may connect")
}

#[tokio::test]
async fn a_publication_reaches_a_client_through_the_services() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster).await;
    let browser = Client::new(&cluster).await;
    let (base, app, nats) = (live.client.clone(), live.api.clone(), live.nats.clone());

    browser
        .run(async move || {
            for transport in Transport::ALL {
                let mut socket = connect(&base, transport).await;
                socket.subscribe("orders.7").await;

                let body = json!({"channel": "orders.7", "event": "paid", "data": "by HTTP"});
                api::publish_at(&app, KEY, &body).await;
                let event = socket.app_event().await;
                assert_eq!((event.name.as_str(), &event.args[0]), ("paid", &json!("by HTTP")));

                let client = async_nats::connect(&nats).await.expect("NATS is there");
                client.publish("push.pub.orders.7", "\"by NATS\"".into()).await.unwrap();
                client.flush().await.unwrap();
                let event = socket.app_event().await;
                assert_eq!((event.name.as_str(), &event.args[0]), ("message", &json!("by NATS")));
            }
        })
        .await;
}

#[tokio::test]
async fn an_address_keeps_to_one_gateway() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster).await;

    // Ten users: that all fall on one gateway of three by chance happens once
    // in twenty thousand times.
    let mut used = BTreeSet::new();
    for _ in 0..10 {
        let browser = Client::new(&cluster).await;
        let before = live.opened(&browser).await;
        let base = live.client.clone();
        browser
            .run(async move || {
                for transport in [Transport::ALL, Transport::ALL].concat() {
                    connect(&base, transport).await.cut();
                }
            })
            .await;
        let after = live.opened(&browser).await;
        let rises: Vec<_> = after.into_iter().filter(|(pod, count)| *count > before[pod]).collect();
        let [(pod, _)] = &rises[..] else {
            panic!("the connections of {} are at {rises:?}", browser.address());
        };
        used.insert(pod.clone());
    }
    assert!(used.len() > 1, "every address was sent to {used:?}");
}

#[tokio::test]
async fn polling_works_where_every_request_may_reach_another_gateway() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster).await;
    let change = r#"{"spec": {"sessionAffinity": "None", "sessionAffinityConfig": null}}"#;
    live.namespace.kubectl(&["patch", "service", "live", "-p", change]).await;
    let browser = Client::new(&cluster).await;
    // kube-proxy takes the change over when it comes to it, and whether a
    // connection's requests meet its session is chance: until some did not.
    let until = Instant::now() + PATIENCE;
    for number in 1.. {
        let (base, app) = (live.client.clone(), live.api.clone());
        browser
            .run(async move || {
                let mut socket = connect(&base, Transport::Polling).await;
                let channel = format!("news.{number}");
                socket.subscribe(channel.clone()).await;
                let body = json!({"channel": channel, "event": "e", "data": number});
                api::publish_at(&app, KEY, &body).await;
                assert_eq!(socket.app_event().await.args[0], number);
            })
            .await;
        let forwarded = live.metric(&browser, "push_peer_forwarded_posts_total").await;
        if number >= 5 && forwarded.values().sum::<f64>() > 0.0 {
            break;
        }
        // Else it was affinity after all.
        assert!(Instant::now() < until, "no request reached another gateway");
    }
}

#[tokio::test]
async fn what_was_published_while_a_gateway_died_arrives() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster).await;
    let browser = Client::new(&cluster).await;
    let (base, app) = (live.client.clone(), live.api.clone());
    let before = live.opened(&browser).await;
    let mut session = browser
        .run(async move || {
            let mut socket = connect(&base, Transport::Polling).await;
            socket.subscribe("orders.1").await;
            api::publish_at(&app, KEY, &order(1)).await;
            assert_eq!(socket.app_event().await.args[0], 1);
            socket.credentials()
        })
        .await;
    assert!(session["offset"].is_string(), "{session}");

    let after = live.opened(&browser).await;
    let (pod, _) =
        after.iter().find(|(pod, count)| *count > &before[*pod]).expect("a gateway has it");
    cluster.fault(&["pod", "kill", &live.namespace.path(pod)]).await;

    let (base, app) = (live.client.clone(), live.api.clone());
    let credentials = session.take();
    browser
        .run(async move || {
            // Published to the gateways that are left, or to the new one.
            patiently_publish(&app, &order(2)).await;
            patiently_publish(&app, &order(3)).await;
            let mut back = patiently_join(&base, &credentials).await;
            assert_eq!(back.connected["pid"], credentials["pid"], "it is the same session");
            assert_eq!(back.app_event().await.args[0], 2);
            assert_eq!(back.app_event().await.args[0], 3);
        })
        .await;
}

fn order(number: u32) -> Value {
    json!({"channel": "orders.1", "event": "order", "data": number, "id": number.to_string()})
}

/// As an app does that wants its publication out: again until it is taken.
/// The id makes that harmless.
async fn patiently_publish(api: &str, body: &Value) {
    eventually("a gateway that takes the publication", async || {
        tests::http::try_send(
            tests::http::request("POST", &format!("{api}/v1/publish")).bearer_auth(KEY).json(body),
        )
        .await
        .is_ok_and(|reply| reply.status == 200)
    })
    .await;
}

/// As the client library does: again until a gateway answers.
async fn patiently_join(base: &str, credentials: &Value) -> Socket {
    let url = tests::engineio::endpoint_at(base, "polling");
    eventually("a gateway that answers", async || {
        tests::http::try_send(tests::http::request("GET", &url))
            .await
            .is_ok_and(|reply| reply.status == 200)
    })
    .await;
    Socket::join_url(base, Transport::Polling, "/", Some(credentials), "")
        .await
        .expect("anonymous clients may connect")
}

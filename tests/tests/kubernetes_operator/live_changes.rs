//! What a change costs that needs no restart: nothing.

use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tests::kubernetes::live::{MINUTE, SMALL, condition, small_with_three_servers};
use tests::kubernetes::{Client, Cluster, Live, Load, PATIENCE, Place, Traffic};
use tests::socketio::Transport;
use tests::{api, http};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn rules_and_keys_are_live_without_a_restart_or_a_reconnect() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    live.settled().await;
    let pods = live.gateways().await;
    let place = live.place().await;
    let mut staying = Vec::new();
    for transport in Transport::ALL {
        staying.push(stay(&cluster, &place, transport).await);
    }
    let app = Client::new(&cluster).await;
    let mut hash = live.status().await["configHash"].clone();

    // A channel rule.
    assert_eq!(client_publishes(&app, &place).await["error"]["code"], "forbidden");
    let rules = json!([
        {"match": "orders.>", "anonymous": true, "history": {"maxMessages": 100_000, "maxAge": "1h"}},
        {"match": "chat.>", "anonymous": true, "clientPublish": true},
    ]);
    live.patch(&json!({"spec": {"channels": rules}})).await;
    hash = loaded(&live, &app, &hash).await;
    assert_eq!(client_publishes(&app, &place).await["ok"], true);
    say(&app, &place, &place.key, "a rule").await;

    // The key that the operator has made: it makes another.
    live.namespace().kubectl(&["delete", "secret", "live-api-key"]).await;
    hash = loaded(&live, &app, &hash).await;
    let made = live.secret("live-api-key", "key").await;
    keys_are(&live, &app, &made, &place.key).await;
    say(&app, &place, &made, "a key made anew").await;

    // Keys of one's own, by the manifest.
    live.namespace().apply(&secret("first")).await;
    live.patch(&json!({"spec": {"auth": {"apiKeysSecret": {"name": "keys"}}}})).await;
    hash = loaded(&live, &app, &hash).await;
    keys_are(&live, &app, "first", &made).await;
    say(&app, &place, "first", "a key of one's own").await;

    // Only the Secret changes: nobody tells the operator.
    live.namespace().apply(&secret("second")).await;
    loaded(&live, &app, &hash).await;
    keys_are(&live, &app, "second", "first").await;
    say(&app, &place, "second", "the end").await;

    for client in staying {
        let heard = client.await.unwrap();
        let wanted = ["a rule", "a key made anew", "a key of one's own", "the end"];
        assert_eq!(heard, wanted, "over one connection");
    }
    assert_eq!(live.gateways().await, pods, "the same pods");
}

#[tokio::test]
async fn copies_of_history_change_under_traffic() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, &small_with_three_servers()).await;
    live.settled().await;
    let pods = live.gateways().await;
    let looking = Client::new(&cluster).await;
    copies_are(&live, &looking, 3).await;
    let traffic = Traffic::start(&live, Load::LIGHT).await;
    let mut hash = live.status().await["configHash"].clone();
    for copies in [1, 3] {
        live.patch(&json!({"spec": {"nats": {"streamReplicas": copies}}})).await;
        hash = loaded(&live, &looking, &hash).await;
        copies_are(&live, &looking, copies).await;
    }
    let report = traffic.finish().await;
    assert!(report.ended.is_empty(), "{} connections ended", report.ended.len());
    assert_eq!(live.gateways().await, pods, "the same pods");
}

/// Waits until so many NATS servers have the stream, and it knows so itself.
async fn copies_are(live: &Live, from: &Client, copies: usize) {
    let servers = live.pods("pushcluster-nats").await;
    let until = Instant::now() + MINUTE;
    loop {
        let addresses: Vec<_> = servers.iter().map(|(_, address)| address.clone()).collect();
        let known = from.run(async move || {
            let mut known = Vec::new();
            for address in addresses {
                let url = format!("http://{address}:8222/jsz?streams=true&config=true");
                known.extend(streams(&http::send(http::request("GET", &url)).await.json()));
            }
            known
        });
        let known = known.await;
        if known.len() == copies && known.iter().all(|each| *each == copies) {
            break;
        }
        assert!(Instant::now() < until, "{copies} copies wanted, servers have {known:?}");
        sleep(Duration::from_secs(1)).await;
    }
}

/// How many copies each stream of publications should have, of those that a
/// server has.
fn streams(server: &Value) -> Vec<usize> {
    let accounts = server["account_details"].as_array().into_iter().flatten();
    let streams = accounts.flat_map(|one| one["stream_detail"].as_array().into_iter().flatten());
    // The others are buckets, `KV_…`.
    let streams =
        streams.filter(|one| one["name"].as_str().is_some_and(|n| n.starts_with("PUSH_")));
    let copies = streams.filter_map(|one| one["config"]["num_replicas"].as_u64());
    copies.filter_map(|copies| copies.try_into().ok()).collect()
}

/// A client that stays connected until it hears `the end`, or its connection
/// does; what it has heard.
async fn stay(cluster: &Cluster, place: &Place, transport: Transport) -> JoinHandle<Vec<String>> {
    let browser = Client::new(cluster).await;
    let place = place.clone();
    let (ready, is_ready) = oneshot::channel();
    let staying = tokio::spawn(async move {
        browser
            .run(async move || {
                let mut socket = place.connect(transport).await;
                socket.subscribe("orders.1").await;
                ready.send(()).unwrap();
                let mut heard = Vec::new();
                while let Some(event) = socket.next_event().await {
                    if event.name == "order" {
                        heard.push(event.args[0].as_str().unwrap().to_owned());
                        if event.args[0] == "the end" {
                            break;
                        }
                    }
                }
                heard
            })
            .await
    });
    is_ready.await.expect("it subscribes");
    staying
}

/// Waits until every gateway has loaded another configuration than that of
/// this hash, and the status says so; the new one.
async fn loaded(live: &Live, from: &Client, before: &Value) -> Value {
    let object = live
        .until("another configuration to be loaded", PATIENCE, |object| {
            let status = &object["status"];
            let hash = &status["configHash"];
            status["observedGeneration"] == object["metadata"]["generation"]
                && hash.is_string()
                && hash != before
                && condition(status, "ConfigLoaded")["status"] == "True"
        })
        .await;
    let hash = object["status"]["configHash"].clone();
    let loaded = condition(&object["status"], "ConfigLoaded");
    assert!(loaded["message"].as_str().unwrap().contains(hash.as_str().unwrap()), "{loaded}");
    let token = live.secret("live-internal", "admin-token").await;
    let pods = live.gateways().await;
    let own = from
        .run(async move || {
            let mut own = Vec::new();
            for (_, address) in pods {
                let url = format!("http://{address}:9090/status");
                let answer = http::send(http::request("GET", &url).bearer_auth(&token)).await;
                own.push(answer.json()["configHash"].clone());
            }
            own
        })
        .await;
    assert!(own.iter().all(|each| *each == hash), "gateways have {own:?}, the status {hash}");
    hash
}

/// Asserts that every gateway takes one key and refuses another.
async fn keys_are(live: &Live, from: &Client, taken: &str, refused: &str) {
    let pods = live.gateways().await;
    let keys = [(taken.to_owned(), 200), (refused.to_owned(), 401)];
    from.run(async move || {
        for (pod, address) in pods {
            for (key, status) in &keys {
                let url = format!("http://{address}:8081/v1/channels");
                let answer = http::send(http::request("GET", &url).bearer_auth(key)).await;
                assert_eq!(answer.status, *status, "{pod}: {}", answer.text());
            }
        }
    })
    .await;
}

/// What a client's own publishing is answered.
async fn client_publishes(from: &Client, place: &Place) -> Value {
    let place = place.clone();
    from.run(async move || {
        let mut socket = place.connect(Transport::WebSocket).await;
        let message = json!({"channel": "chat.1", "event": "e", "data": 1});
        socket.call("push:publish", &[message]).await
    })
    .await
}

/// Publishes to those who stay.
async fn say(from: &Client, place: &Place, key: &str, what: &'static str) {
    let (base, key) = (place.api.clone(), key.to_owned());
    from.run(async move || {
        let body = json!({"channel": "orders.1", "event": "order", "data": what});
        api::publish_at(&base, &key, &body).await
    })
    .await;
}

/// A Secret with one key for everything.
fn secret(key: &str) -> String {
    let hash =
        digest(&SHA256, key.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData:\n  keys.yaml: |\n    \
         - {{name: own, sha256: {hash}, scopes: [publish, read, admin]}}\n"
    )
}

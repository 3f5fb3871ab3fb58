//! The chart and the operator on a real cluster: what a platform team does,
//! from `helm install` on.

// A test reports by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::api;
use tests::kubernetes::{Client, Cluster, Namespace, images};
use tests::socketio::{Socket, Transport};
use tokio::sync::OnceCell;
use tokio::task::{JoinHandle, JoinSet};

/// Where the operator is.
const SYSTEM: &str = "push-system";

/// A PushCluster as small as a test needs, quick to drain.
const SMALL: &str = r#"
apiVersion: pushcluster.io/v1alpha1
kind: PushCluster
metadata: {name: live}
spec:
  replicas: 2
  nats: {managed: {replicas: 1, storage: {size: 1Gi, retention: Delete}}}
  channels:
  - {match: "orders.>", anonymous: true, history: {maxMessages: 100000, maxAge: 1h}}
  drain: {delay: 2s, period: 4s}
"#;

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/pushcluster")
}

fn example(name: &str) -> String {
    let path = chart().join("../examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Installs the chart, once for all tests of this run.
async fn install(cluster: &Cluster) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_init(async || {
            let chart = chart();
            let (repository, tag) = split(&images::operator());
            cluster
                .helm(&[
                    "upgrade",
                    "--install",
                    "push",
                    chart.to_str().unwrap(),
                    "--namespace",
                    SYSTEM,
                    "--create-namespace",
                    "--wait",
                    "--timeout=3m",
                    &format!("--set=image.repository={repository},image.tag={tag}"),
                    &format!("--set=gatewayImage={}", images::gateway()),
                    &format!("--set=natsImage={}", images::nats()),
                ])
                .await;
        })
        .await;
}

fn split(image: &str) -> (String, String) {
    let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    (repository.to_owned(), tag.to_owned())
}

/// A push service that the operator has made, in a namespace of its own.
struct Live {
    cluster: Cluster,
    namespace: Namespace,
}

/// What a client or an app must know.
#[derive(Clone)]
struct Place {
    client: String,
    api: String,
    key: String,
}

// === impl Live ===

impl Live {
    /// Applies a manifest of a PushCluster named `live`; ready when it says so.
    async fn start(cluster: &Cluster, manifest: &str) -> Self {
        install(cluster).await;
        let namespace = Namespace::new(cluster, "push").await;
        namespace.apply(manifest).await;
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#;
        let ask = ["-n", namespace.name(), "get", "push/live", "-o", path];
        cluster.wait("readiness", &ask, |said| said.contains(r#""status":"True""#)).await;
        Self { cluster: cluster.clone(), namespace }
    }

    async fn place(&self) -> Place {
        Place {
            client: format!("http://{}", self.address("live").await),
            api: format!("http://{}", self.address("live-api").await),
            key: self.secret("live-api-key", "key").await,
        }
    }

    /// One value of a Secret.
    async fn secret(&self, name: &str, key: &str) -> String {
        let secret = self.namespace.get(&["secret", name]).await;
        let value = secret["data"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"));
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    }

    /// Address and first port of a Service.
    async fn address(&self, service: &str) -> String {
        let object = self.namespace.get(&["service", service]).await;
        let address = object["spec"]["clusterIP"].as_str().unwrap_or_default();
        format!("{address}:{}", object["spec"]["ports"][0]["port"])
    }

    async fn gateways(&self) -> Vec<(String, String)> {
        self.pods("pushcluster-gateway").await
    }

    /// Names and addresses of the running pods that do this.
    async fn pods(&self, what: &str) -> Vec<(String, String)> {
        let selector = format!("app.kubernetes.io/name={what},app.kubernetes.io/instance=live");
        self.namespace.pods(&selector).await
    }

    /// Changes the manifest: a merge patch.
    async fn patch(&self, change: &Value) {
        let change = change.to_string();
        self.namespace.kubectl(&["patch", "push/live", "--type=merge", "-p", &change]).await;
    }
}

// === impl Place ===

impl Place {
    async fn connect(&self, transport: Transport) -> Socket {
        Socket::join_url(&self.client, transport, "/", None, "")
            .await
            .expect("anonymous clients may connect")
    }

    async fn publish(&self, channel: &str, data: impl Into<Value>) {
        let body = json!({"channel": channel, "event": "order", "data": data.into()});
        api::publish_at(&self.api, &self.key, &body).await;
    }
}

#[tokio::test]
async fn the_minimal_example_is_a_push_service_and_its_deletion_leaves_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, &example("minimal.yaml")).await;
    let place = live.place().await;
    let browser = Client::new(&cluster).await;
    let there = place.clone();
    // Its Service has no address of its own; any server will do.
    let servers = live.pods("pushcluster-nats").await;
    let nats = format!("tls://{}:4222", servers[0].1);
    let bundle = live.secret("live-nats-app", "ca.crt").await;
    let name = format!("live-nats.{}.svc", live.namespace.name());
    let user = live.secret("live-nats-app", "username").await;
    let password = live.secret("live-nats-app", "password").await;
    let path = "jsonpath={.status.nats.prefix}";
    let prefix = live.namespace.kubectl(&["get", "push/live", "-o", path]).await;
    browser
        .run(async move || {
            let app = async_nats::ConnectOptions::with_user_and_password(user, password)
                .tls_client_config(tests::nats::trusting(&bundle, &name));
            let app = app.connect(&nats).await.expect("apps may connect to NATS");
            for transport in Transport::ALL {
                let mut socket = there.connect(transport).await;
                socket.subscribe(json!("news")).await;
                there.publish("news", "by HTTP").await;
                assert_eq!(socket.app_event().await.args[0], "by HTTP");
                app.publish(format!("{prefix}.pub.news"), "by NATS".into()).await.unwrap();
                app.flush().await.unwrap();
                assert_eq!(socket.app_event().await.args[0], "by NATS");
            }
        })
        .await;
    assert_eq!(live.gateways().await.len(), 3, "the default");

    let namespace = &live.namespace;
    namespace.kubectl(&["delete", "push/live", "--timeout=60s"]).await;
    // Kubernetes itself puts these into every namespace.
    let own = ["serviceaccount/default", "configmap/kube-root-ca.crt"];
    let kinds = "deployments,statefulsets,pods,services,configmaps,secrets,serviceaccounts,\
                 poddisruptionbudgets,networkpolicies,ingresses,endpointslices,replicasets,\
                 controllerrevisions,roles,rolebindings";
    let arguments = ["-n", namespace.name(), "get", kinds, "-o", "name"];
    cluster
        .wait("the end of all that it owned", &arguments, |left| {
            left.lines().all(|object| own.contains(&object))
        })
        .await;
    // What was stored stays: the default is Retain.
    let claims = namespace.kubectl(&["get", "persistentvolumeclaims", "-o", "name"]).await;
    assert_eq!(claims.lines().count(), 3, "{claims}");
}

#[tokio::test]
async fn helm_test_publishes_and_receives() {
    let Some(cluster) = Cluster::find().await else { return };
    install(&cluster).await;
    let said = cluster.helm(&["test", "push", "-n", SYSTEM, "--logs", "--timeout=4m"]).await;
    assert!(said.contains("received what was published"), "{said}");
    let left = cluster.kubectl(&["-n", SYSTEM, "get", "push", "-o", "name"]).await;
    assert_eq!(left, "", "the test's PushCluster goes with it");
}

#[tokio::test]
async fn every_example_is_accepted() {
    let Some(cluster) = Cluster::find().await else { return };
    install(&cluster).await;
    let namespace = Namespace::new(&cluster, "examples").await;
    let mut count = 0;
    for entry in std::fs::read_dir(chart().join("../examples")).unwrap() {
        let path = entry.unwrap().path();
        let path = path.to_str().unwrap();
        // Unknown fields are an error, which a plain apply only warns of.
        namespace.kubectl(&["create", "--dry-run=server", "--validate=strict", "-f", path]).await;
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}

#[tokio::test]
async fn kubectl_scale_is_followed() {
    let Some(cluster) = Cluster::find().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    for replicas in [4, 2] {
        live.namespace.kubectl(&["scale", "push/live", &format!("--replicas={replicas}")]).await;
        let wanted = format!("{replicas} {replicas}");
        let path = "jsonpath={.status.readyReplicas} {.status.replicas}";
        let arguments = ["-n", live.namespace.name(), "get", "push/live", "-o", path];
        cluster.wait(&format!("{replicas} gateways"), &arguments, |said| said == wanted).await;
        assert_eq!(live.gateways().await.len(), replicas);
    }
}

#[tokio::test]
async fn a_channel_rule_is_live_without_a_restart() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    let place = live.place().await;
    let browser = Client::new(&cluster).await;
    let pods = live.gateways().await;

    let there = place.clone();
    let refused = browser
        .run(async move || {
            let mut socket = there.connect(Transport::WebSocket).await;
            let message = json!({"channel": "chat.1", "event": "e", "data": 1});
            socket.call("push:publish", &[message]).await
        })
        .await;
    assert_eq!(refused["error"]["code"], "forbidden", "{refused}");

    live.patch(&json!({"spec": {"channels": [
        {"match": "orders.>", "anonymous": true, "history": {"maxMessages": 100_000, "maxAge": "1h"}},
        {"match": "chat.>", "anonymous": true, "clientPublish": true},
    ]}}))
    .await;
    live.namespace.wait_for("jsonpath={.status.observedGeneration}=2", "push/live").await;
    live.namespace.wait_for("condition=ConfigLoaded", "push/live").await;

    let allowed = browser
        .run(async move || {
            let mut socket = place.connect(Transport::WebSocket).await;
            let message = json!({"channel": "chat.1", "event": "e", "data": 1});
            socket.call("push:publish", &[message]).await
        })
        .await;
    assert_eq!(allowed["ok"], true, "{allowed}");
    assert_eq!(live.gateways().await, pods, "the same pods");
}

/// What one client has seen of the traffic.
#[derive(Debug, Default)]
struct Seen {
    numbers: Vec<u64>,
    reconnects: u32,
}

/// Clients from several addresses that follow one channel, and an app that
/// publishes on it.
struct Traffic {
    followers: JoinSet<Vec<Seen>>,
    publisher: JoinHandle<()>,
}

// === impl Traffic ===

impl Traffic {
    const CLIENTS: usize = 40;
    const ADDRESSES: usize = 4;
    /// Time between two publications.
    const EVERY: Duration = Duration::from_millis(50);

    /// Begins it: when this returns, all clients are there and the app
    /// publishes. It ends after so many publications.
    async fn start(live: &Live, publications: u64) -> Self {
        let place = live.place().await;
        let mut followers = JoinSet::new();
        for _ in 0..Self::ADDRESSES {
            let browser = Client::new(&live.cluster).await;
            let place = place.clone();
            followers.spawn(async move {
                browser
                    .run(async move || {
                        let mut all = JoinSet::new();
                        for number in 0..Self::CLIENTS / Self::ADDRESSES {
                            let transport = Transport::ALL[number % 2];
                            all.spawn(follow(place.clone(), transport, publications));
                        }
                        all.join_all().await
                    })
                    .await
            });
        }
        let app = Client::new(&live.cluster).await;
        let there = place.clone();
        app.run(async move || {
            tests::patience::eventually("all subscribers", async || {
                let url = format!("{}/v1/channels/orders.1", there.api);
                let request = tests::http::request("GET", &url).bearer_auth(&there.key);
                tests::http::send(request).await.json()["subscribers"] == Self::CLIENTS
            })
            .await;
        })
        .await;
        let publisher = tokio::spawn(async move {
            app.run(async move || {
                for number in 1..=publications {
                    publish_order(&place, number).await;
                    tokio::time::sleep(Self::EVERY).await;
                }
            })
            .await;
        });
        Self { followers, publisher }
    }

    /// Waits for its end. Every client has seen every publication once, in
    /// order; returns how often clients had to come back.
    async fn finish(self) -> u32 {
        self.publisher.await.expect("all were published");
        let seen: Vec<Seen> = self.followers.join_all().await.into_iter().flatten().collect();
        assert_eq!(seen.len(), Self::CLIENTS);
        let last = seen[0].numbers.last().copied().unwrap_or_default();
        let wanted: Vec<u64> = (1..=last).collect();
        for each in &seen {
            assert!(each.numbers == wanted, "lost, doubled or out of order: {:?}", each.numbers);
        }
        let reconnects = seen.iter().map(|each| each.reconnects).sum();
        println!("{} clients, {last} publications, {reconnects} reconnects", seen.len());
        reconnects
    }
}

/// As an app does that wants its publication out: again until it is taken. The
/// id makes that harmless.
async fn publish_order(place: &Place, number: u64) {
    let body = json!({
        "channel": "orders.1", "event": "order", "data": number, "id": number.to_string(),
    });
    let url = format!("{}/v1/publish", place.api);
    let until = tokio::time::Instant::now() + Duration::from_mins(2);
    loop {
        let request = tests::http::request("POST", &url).bearer_auth(&place.key).json(&body);
        let answer = tests::http::try_send(request).await;
        if answer.as_ref().is_ok_and(|reply| reply.status == 200) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "publication {number}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A client that comes back as the official one does, until it has `last`.
async fn follow(place: Place, transport: Transport, last: u64) -> Seen {
    let mut seen = Seen::default();
    let mut credentials: Option<Value> = None;
    loop {
        let url = place.client.clone();
        let auth = credentials.clone();
        // The harness panics where the official client would try again.
        let joined =
            tokio::spawn(
                async move { Socket::join_url(&url, transport, "/", auth.as_ref(), "").await },
            )
            .await;
        let Ok(Ok(mut socket)) = joined else {
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        };
        let recovered = credentials.as_ref().is_some_and(|old| old["pid"] == socket.pid());
        assert!(credentials.is_none() || recovered, "the session was not recovered");
        if !recovered {
            socket.subscribe(json!("orders.1")).await;
        }
        while let Some(event) = socket.next_event().await {
            if event.name == "order" {
                let number = event.args[0].as_u64().expect("a number");
                seen.numbers.push(number);
                if number == last {
                    return seen;
                }
            }
        }
        seen.reconnects += 1;
        credentials = Some(socket.credentials());
    }
}

#[tokio::test]
async fn a_rolling_change_loses_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    let before = live.gateways().await;
    let traffic = Traffic::start(&live, 600).await;
    live.patch(&json!({"spec": {"pod": {"annotations": {"example.com/change": "1"}}}})).await;
    live.namespace.rolled_out("deployment/live").await;
    let reconnects = traffic.finish().await;
    let after: BTreeMap<_, _> = live.gateways().await.into_iter().collect();
    assert!(before.iter().all(|(pod, _)| !after.contains_key(pod)), "every gateway was replaced");
    assert!(reconnects >= 10, "only {reconnects} clients had to move: nothing was tried");
}

#[tokio::test]
async fn a_killed_gateway_and_a_killed_nats_server_lose_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let manifest = SMALL.replace("nats: {managed: {replicas: 1,", "nats: {managed: {replicas: 3,");
    assert_ne!(manifest, SMALL);
    let live = Live::start(&cluster, &manifest).await;
    let traffic = Traffic::start(&live, 600).await;
    let (gateway, _) = live.gateways().await.remove(0);
    cluster.fault(&["pod", "kill", &live.namespace.path(&gateway)]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.fault(&["pod", "kill", &live.namespace.path("live-nats-1")]).await;
    traffic.finish().await;
    live.namespace.wait_for("condition=Ready", "push/live").await;
    live.namespace.rolled_out("statefulset/live-nats").await;
    live.namespace.rolled_out("deployment/live").await;
}

#[tokio::test]
async fn another_operator_takes_over() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    let holder =
        ["-n", SYSTEM, "get", "lease", "push-pushcluster", "-o", "jsonpath={.spec.holderIdentity}"];
    let leader = cluster.kubectl(&holder).await;
    cluster.kubectl(&["-n", SYSTEM, "delete", "pod", &leader, "--grace-period=0", "--force"]).await;
    cluster.wait("another leader", &holder, |now| !now.is_empty() && now != leader).await;
    live.namespace.kubectl(&["scale", "push/live", "--replicas=3"]).await;
    live.namespace.wait_for("jsonpath={.status.readyReplicas}=3", "push/live").await;
}

//! A push service as a platform team has it: the chart, one manifest, and what
//! the operator made of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use super::{Client, Cluster, Namespace, images};
use crate::socketio::{Socket, Transport};
use crate::{api, http};

/// Where the operator is.
pub const SYSTEM: &str = "push-system";

/// The operator's Lease.
pub const LEASE: &str = "push-pushcluster";

/// A PushCluster as small as a test needs, quick to drain. It pings so often
/// that the tests' polling client, which waits for 20 s at most, is answered.
pub const SMALL: &str = r#"
apiVersion: pushcluster.io/v1alpha1
kind: PushCluster
metadata: {name: live}
spec:
  replicas: 2
  nats: {managed: {replicas: 1, storage: {size: 1Gi, retention: Delete}}}
  channels:
  - {match: "orders.>", anonymous: true, history: {maxMessages: 100000, maxAge: 1h}}
  drain: {delay: 2s, period: 4s}
  gateway: {socketio: {pingInterval: 10s}}
"#;

/// The same with NATS that can lose a server.
///
/// # Panics
///
/// When [`SMALL`] does not say how many it has.
pub fn small_with_three_servers() -> String {
    let manifest = SMALL.replace("nats: {managed: {replicas: 1,", "nats: {managed: {replicas: 3,");
    assert_ne!(manifest, SMALL);
    manifest
}

/// How long a fault may last at most.
pub const MINUTE: Duration = Duration::from_mins(1);

/// How long one scrape may take.
const SCRAPE: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// A push service that the operator has made, in a namespace of its own.
pub struct Live {
    cluster: Cluster,
    namespace: Namespace,
}

/// What a client or an app must know.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where clients connect: `http://HOST:PORT`.
    pub client: String,
    /// Where apps publish.
    pub api: String,
    /// With which key.
    pub key: String,
}

/// The chart of this work tree.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/pushcluster")
}

/// One of `charts/examples`.
///
/// # Panics
///
/// When it can't be read.
pub fn example(name: &str) -> String {
    let path = chart().join("../examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Installs the chart, once for all tests of this run.
///
/// # Panics
///
/// When helm does not succeed.
pub async fn install(cluster: &Cluster) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(async || release(cluster, &chart(), "").await).await;
}

/// Installs a chart, or upgrades to it, with the images whose tags end so.
///
/// # Panics
///
/// When helm does not succeed.
pub async fn release(cluster: &Cluster, chart: &Path, suffix: &str) {
    let arguments = ["upgrade", "--install", "push", "--namespace", SYSTEM, "--create-namespace"];
    helm_with_images(cluster, &arguments, chart, suffix).await;
}

/// Runs helm with a chart, and with the images whose tags end so; what it said.
///
/// # Panics
///
/// When it does not succeed.
pub async fn helm_with_images(
    cluster: &Cluster,
    arguments: &[&str],
    chart: &Path,
    suffix: &str,
) -> String {
    let operator = format!("{}{suffix}", images::operator());
    let (repository, tag) = operator.rsplit_once(':').unwrap_or((&operator, "latest"));
    let with = [
        chart.to_str().expect("a path in UTF-8"),
        "--wait",
        "--timeout=3m",
        &format!("--set=image.repository={repository},image.tag={tag}"),
        &format!("--set=gatewayImage={}{suffix}", images::gateway()),
        &format!("--set=natsImage={}", images::nats()),
    ];
    cluster.helm(&[arguments, &with].concat()).await
}

/// The replica of the operator that acts; empty while none does.
///
/// # Panics
///
/// When the Lease can't be read.
pub async fn leader(cluster: &Cluster) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    cluster.kubectl(&["-n", SYSTEM, "get", "lease", LEASE, "-o", path]).await
}

// === impl Live ===

impl Live {
    /// Installs the chart, applies a manifest of a PushCluster named `live`,
    /// and waits until that says that it is ready.
    ///
    /// # Panics
    ///
    /// When it isn't in time.
    pub async fn start(cluster: &Cluster, manifest: &str) -> Self {
        install(cluster).await;
        Self::apply(cluster, manifest).await
    }

    /// The same with the operator that is there.
    ///
    /// # Panics
    ///
    /// When it isn't ready in time.
    pub async fn apply(cluster: &Cluster, manifest: &str) -> Self {
        let namespace = Namespace::new(cluster, "push").await;
        namespace.apply(manifest).await;
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#;
        let ask = ["-n", namespace.name(), "get", "push/live", "-o", path];
        cluster.wait("readiness", &ask, |said| said.contains(r#""status":"True""#)).await;
        Self { cluster: cluster.clone(), namespace }
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What a client or an app must know, once its Services can be reached.
    ///
    /// # Panics
    ///
    /// When there is no Service or key.
    pub async fn place(&self) -> Place {
        let client = self.address("live").await;
        let api = self.address("live-api").await;
        let services = vec![client.clone(), api.clone()];
        Client::new(&self.cluster).await.until_open(services).await;
        Place {
            client: format!("http://{client}"),
            api: format!("http://{api}"),
            key: self.secret("live-api-key", "key").await,
        }
    }

    /// One value of a Secret.
    ///
    /// # Panics
    ///
    /// When it isn't there.
    pub async fn secret(&self, name: &str, key: &str) -> String {
        let secret = self.namespace.get(&["secret", name]).await;
        let value = secret["data"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"));
        String::from_utf8(STANDARD.decode(value).expect("Base64")).expect("UTF-8")
    }

    /// Address and first port of a Service.
    async fn address(&self, service: &str) -> String {
        let object = self.namespace.get(&["service", service]).await;
        let address = object["spec"]["clusterIP"].as_str().unwrap_or_default();
        format!("{address}:{}", object["spec"]["ports"][0]["port"])
    }

    /// Names and addresses of the running gateways.
    ///
    /// # Panics
    ///
    /// When the API server doesn't answer.
    pub async fn gateways(&self) -> Vec<(String, String)> {
        self.pods("pushcluster-gateway").await
    }

    /// Names and addresses of the running pods that do this.
    ///
    /// # Panics
    ///
    /// When the API server doesn't answer.
    pub async fn pods(&self, what: &str) -> Vec<(String, String)> {
        let selector = format!("app.kubernetes.io/name={what},app.kubernetes.io/instance=live");
        self.namespace.pods(&selector).await
    }

    /// Changes the manifest: a merge patch.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn patch(&self, change: &Value) {
        let change = change.to_string();
        self.namespace.kubectl(&["patch", "push/live", "--type=merge", "-p", &change]).await;
    }

    /// As `kubectl scale` does it.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn scale(&self, replicas: usize) {
        self.namespace.kubectl(&["scale", "push/live", &format!("--replicas={replicas}")]).await;
    }

    /// Waits until so many gateways are ready and no other is there, as its
    /// status has it.
    ///
    /// # Panics
    ///
    /// When that isn't so in time.
    pub async fn scaled(&self, replicas: usize) {
        let wanted = format!("{replicas} {replicas}");
        let path = "jsonpath={.status.readyReplicas} {.status.replicas}";
        let arguments = ["-n", self.namespace.name(), "get", "push/live", "-o", path];
        self.cluster.wait(&format!("{replicas} gateways"), &arguments, |said| said == wanted).await;
    }

    /// The status that the operator has written.
    ///
    /// # Panics
    ///
    /// When there is no PushCluster.
    pub async fn status(&self) -> Value {
        self.namespace.get(&["push/live"]).await["status"].clone()
    }

    /// Waits until the operator has carried out the present manifest, and every
    /// gateway has loaded it.
    ///
    /// # Panics
    ///
    /// When it hasn't in time.
    pub async fn settled(&self) {
        self.settled_within(super::PATIENCE).await;
    }

    /// The same where gateways are renewed one after the other, which takes a
    /// while.
    ///
    /// # Panics
    ///
    /// When it hasn't in time.
    pub async fn rolled_out(&self) {
        self.settled_within(super::PATIENCE * 3).await;
    }

    /// The same after a fault, within what is promised for that.
    ///
    /// # Panics
    ///
    /// When it hasn't in time.
    pub async fn healed(&self) {
        self.settled_within(MINUTE).await;
    }

    async fn settled_within(&self, patience: Duration) {
        self.until("all to be as the manifest wants it", patience, |object| {
            let status = &object["status"];
            let is = |kind: &str, wanted: &str| condition(status, kind)["status"] == wanted;
            status["observedGeneration"] == object["metadata"]["generation"]
                && condition(status, "Progressing")["reason"] == "Settled"
                && is("Ready", "True")
                && is("ConfigLoaded", "True")
                && is("Degraded", "False")
        })
        .await;
    }

    /// Looks at the PushCluster again and again until it is so; as it is then.
    ///
    /// # Panics
    ///
    /// When it isn't for so long, with what it was at last.
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        enough: impl Fn(&Value) -> bool,
    ) -> Value {
        let until = Instant::now() + patience;
        loop {
            let object = self.namespace.get(&["push/live"]).await;
            if enough(&object) {
                return object;
            }
            let status = &object["status"];
            assert!(Instant::now() < until, "waited {patience:?} in vain for {what}: {status:#}");
            sleep(LOOK).await;
        }
    }

    /// Waits for an Event of the operator's that says this: its reason and its
    /// note, as `REASON: NOTE`.
    ///
    /// # Panics
    ///
    /// When none comes for so long, with those that came.
    pub async fn told(&self, what: &str, patience: Duration, said: impl Fn(&str) -> bool) {
        told(&self.cluster, self.namespace.name(), what, patience, said).await;
    }

    /// A metric of each gateway, by pod.
    ///
    /// # Panics
    ///
    /// When one doesn't answer.
    pub async fn metric(&self, from: &Client, name: &'static str) -> Vec<(String, u64)> {
        let pods = self.gateways().await;
        from.run(async move || {
            let mut counts = Vec::new();
            for (pod, address) in pods {
                let count = scrape(&address, name).await;
                // Whole numbers, and few.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                counts.push((pod, count.unwrap_or_default() as u64));
            }
            counts
        })
        .await
    }
}

/// A metric of the gateway at this address, read as Prometheus reads it: a
/// scrape without an answer is told, and done again.
///
/// # Panics
///
/// When there is no answer three times.
pub async fn scrape(address: &str, name: &str) -> Option<f64> {
    let url = format!("http://{address}:9090/metrics");
    for _ in 0..2 {
        match http::try_send(http::request("GET", &url).timeout(SCRAPE)).await {
            Ok(reply) => return api::metric_of(&reply, name),
            Err(why) => eprintln!("no answer from {url}, asked again: {why:?}"),
        }
    }
    api::metric_of(&http::get(&url).await, name)
}

/// A condition of a status; null without it.
pub fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|one| one["type"] == kind).unwrap_or(&Value::Null)
}

/// Waits for an Event of the operator's in a namespace that says this: its
/// reason and its note, as `REASON: NOTE`.
///
/// # Panics
///
/// When none comes for so long, with those that came.
pub async fn told(
    cluster: &Cluster,
    namespace: &str,
    what: &str,
    patience: Duration,
    said: impl Fn(&str) -> bool,
) {
    let mut all = Vec::new();
    let looking = async {
        loop {
            let list = cluster.get(&["-n", namespace, "events.events.k8s.io"]).await;
            let own = list["items"].as_array().into_iter().flatten().filter(|event| {
                event["reportingController"].as_str().is_some_and(|who| who.contains("push"))
            });
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            all = own
                .map(|event| format!("{}: {}", text(&event["reason"]), text(&event["note"])))
                .collect();
            if all.iter().any(|event| said(event)) {
                return;
            }
            sleep(LOOK).await;
        }
    };
    let found = timeout(patience, looking).await.is_ok();
    assert!(found, "waited {patience:?} in vain for an Event that says {what}: {all:#?}");
}

// === impl Place ===

impl Place {
    /// A client that must be let in.
    ///
    /// # Panics
    ///
    /// When it isn't.
    pub async fn connect(&self, transport: Transport) -> Socket {
        Socket::join_url(&self.client, transport, "/", None, "")
            .await
            .expect("anonymous clients may connect")
    }

    /// Publishes, as an app does.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn publish(&self, channel: &str, data: impl Into<Value>) {
        let body = json!({"channel": channel, "event": "order", "data": data.into()});
        api::publish_at(&self.api, &self.key, &body).await;
    }

    /// How many are subscribed, everywhere.
    pub async fn subscribers(&self, channel: &str) -> u64 {
        let url = format!("{}/v1/channels/{channel}", self.api);
        let request = http::request("GET", &url).bearer_auth(&self.key);
        let answer = http::try_send(request).await.ok();
        answer.and_then(|answer| answer.json()["subscribers"].as_u64()).unwrap_or_default()
    }
}

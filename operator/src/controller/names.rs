//! Names and labels of what the operator makes.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use crate::crd::PushCluster;

/// The operator's field manager, and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "push-operator";
/// Selects everything that the operator makes.
pub const OWNED_SELECTOR: &str = "app.kubernetes.io/managed-by=push-operator";
/// Selects that, and what the chart makes.
pub const PART_SELECTOR: &str = "app.kubernetes.io/part-of=pushcluster";
/// Name of a `ConfigMap`: an operator of its own looks after the namespace, and
/// one that looks after all of them leaves it alone.
pub const SCOPE: &str = "push-operator-scope";
/// Annotation of a `PushCluster`: `disabled` makes the operator leave it alone.
pub const RECONCILE: &str = "pushcluster.io/reconcile";
/// Label of a gateway's pod: `true` while the client Service sends it new clients.
pub const ACCEPTING: &str = "pushcluster.io/accepting";
/// Label of a gateway's pod: which boot configuration it was started with.
pub const BOOT: &str = "pushcluster.io/boot";
/// Annotation of a pod template: a change of the secrets that are read at start.
pub const SECRETS: &str = "pushcluster.io/secrets";
/// Annotation of the Secret `<name>-config`: what the stream's settings follow
/// from, and the generation that they have.
pub const STREAM: &str = "pushcluster.io/stream";
/// Annotation of the StatefulSet of managed NATS: how far it is on its way to
/// TLS; see [`super::plan::Wire`].
pub const WIRE: &str = "pushcluster.io/tls";
/// Annotation of a NATS server's pod: the configuration and the certificate that
/// it was seen to use.
pub const LOADED: &str = "pushcluster.io/loaded";
/// Annotation of a pod: the file that its mounts should have by now.
pub const NUDGED: &str = "pushcluster.io/config";
/// Annotation of a pod: which pod a scale-down takes first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// `app.kubernetes.io/name` of gateways.
pub const GATEWAY: &str = "pushcluster-gateway";
/// `app.kubernetes.io/name` of managed NATS.
pub const NATS: &str = "pushcluster-nats";

/// Everything of a `PushCluster` has a name that follows from its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Names {
    /// Its namespace.
    pub namespace: String,
    /// Its name; that of the Deployment, the client Service and more.
    pub name: String,
}

/// Ports of a gateway's container.
pub mod port {
    /// Clients.
    pub const CLIENT: i32 = 8080;
    /// The HTTP API.
    pub const API: i32 = 8081;
    /// Other gateways.
    pub const PEER: i32 = 8082;
    /// Health, metrics, status.
    pub const ADMIN: i32 = 9090;
    /// NATS clients.
    pub const NATS: i32 = 4222;
    /// Other NATS servers.
    pub const NATS_ROUTE: i32 = 6222;
    /// NATS health.
    pub const NATS_MONITOR: i32 = 8222;
    /// What Services listen on.
    pub const SERVICE: i32 = 80;
}

// === impl Names ===

impl Names {
    /// The names of this one.
    pub fn of(cluster: &PushCluster) -> Self {
        Self { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() }
    }

    fn with(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// The API Service.
    pub fn api(&self) -> String {
        self.with("api")
    }

    /// Managed NATS: its StatefulSet, Service, `ConfigMap` and the rest.
    pub fn nats(&self) -> String {
        self.with("nats")
    }

    /// The Secret with the HTTP API's key.
    pub fn api_key(&self) -> String {
        self.with("api-key")
    }

    /// The Secret that apps log in to NATS with.
    pub fn nats_app(&self) -> String {
        self.with("nats-app")
    }

    /// The Secret that gateways log in to NATS with.
    pub fn nats_gateway(&self) -> String {
        self.with("nats-gateway")
    }

    /// The Secret that gateways share.
    pub fn internal(&self) -> String {
        self.with("internal")
    }

    /// The Secret with the authority of all certificates.
    pub fn ca(&self) -> String {
        self.with("ca")
    }

    /// The Secret with the NATS servers' certificate.
    pub fn nats_tls(&self) -> String {
        self.with("nats-tls")
    }

    /// The Secret with the certificate that gateways show each other.
    pub fn peer_tls(&self) -> String {
        self.with("peer-tls")
    }

    /// The name in that certificate: nothing answers to it in DNS, and no
    /// other certificate of the authority has it.
    pub fn peer_host(&self) -> String {
        format!("{}.{}.peers.pushcluster.io", self.name, self.namespace)
    }

    /// All names under which a NATS server is reached.
    pub fn nats_hosts(&self) -> Vec<String> {
        let service = self.nats();
        let host = self.host(&service);
        vec![
            host.clone(),
            format!("*.{host}"),
            service.clone(),
            format!("{service}.{}", self.namespace),
            // What the Kubernetes cluster is called nearly everywhere.
            format!("{host}.cluster.local"),
            format!("*.{host}.cluster.local"),
            // `kubectl port-forward`
            "localhost".to_owned(),
        ]
    }

    /// The Secret with the part of the configuration that reloads.
    pub fn config(&self) -> String {
        self.with("config")
    }

    /// The `ConfigMap` with the part that needs a restart.
    pub fn boot(&self, hash: &str) -> String {
        self.with(&format!("boot-{hash}"))
    }

    /// A name in the Kubernetes cluster's DNS.
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    /// Labels of everything.
    pub fn labels(&self, app: &str) -> BTreeMap<String, String> {
        let mut labels = self.selector(app);
        labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
        labels.insert("app.kubernetes.io/part-of".to_owned(), "pushcluster".to_owned());
        labels
    }

    /// Labels by which pods are selected.
    pub fn selector(&self, app: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), app.to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.name.clone()),
        ])
    }

    /// The same for gateways, as text: what `/scale` tells an autoscaler.
    pub fn selector_text(&self) -> String {
        let pairs: Vec<_> = self
            .selector(GATEWAY)
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(",")
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

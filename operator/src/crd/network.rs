//! How the gateways are reached.

use std::collections::BTreeMap;

use gateway_config::Period;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// How clients and apps reach the gateways.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// The Service `<name>`, for clients, on port 80.
    pub client: Option<ClientService>,
    /// The Service `<name>-api`, for apps, on port 80.
    pub api: Option<ApiService>,
}

/// The Service for clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientService {
    /// Default: `ClusterIP`.
    #[serde(rename = "type")]
    pub kind: Option<ServiceType>,
    /// Annotations, as cloud providers read them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Default for `NodePort` and `LoadBalancer`: `Local`, which keeps clients' addresses.
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// IP families. Default: the Kubernetes cluster's.
    pub ip_family_policy: Option<IpFamilyPolicy>,
    /// Whether a client's address stays with one gateway.
    pub session_affinity: Option<SessionAffinity>,
    /// Addresses of the proxies in front of this Service, and blocks of them (`10.0.0.0/8`), whose `X-Forwarded-For` or `Forwarded` says where a client is. How many stand one behind the other: `gateway.client.trustedHops`. Whether they send the PROXY protocol: `gateway.client.proxyProtocol`. Default: nobody's is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::proxies")]
    pub trusted_proxies: Vec<String>,
}

/// The Service for apps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiService {
    /// Default: `ClusterIP`.
    #[serde(rename = "type")]
    pub kind: Option<ServiceType>,
    /// Annotations, as cloud providers read them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Whether a client's address stays with one gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// Default: `ClientIP`.
    #[serde(rename = "type")]
    pub kind: Option<AffinityKind>,
    /// How long after its last packet an address stays, 1s to 24h. Default: 90s.
    #[serde(default)]
    #[schemars(schema_with = "schema::affinity_timeout")]
    pub timeout: Option<Period>,
}

/// Kind of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// An address inside the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// A port on every node.
    NodePort,
    /// A load balancer of the cloud's.
    LoadBalancer,
}

/// Where traffic from outside is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficPolicy {
    /// To any node's pods; the client's address is lost.
    Cluster,
    /// To the same node's pods; the client's address stays.
    #[default]
    Local,
}

/// IP families of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamilyPolicy {
    /// One family.
    SingleStack,
    /// Both, where the Kubernetes cluster has both.
    PreferDualStack,
    /// Both.
    RequireDualStack,
}

/// Whether a client's address stays with one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AffinityKind {
    /// It does.
    #[default]
    ClientIP,
    /// Any gateway may be next; requests find their gateway by forwarding.
    None,
}

/// An Ingress for clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The ingress class. Default: the cluster's.
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// The host name.
    #[schemars(schema_with = "schema::host")]
    pub host: String,
    /// A Secret with the host's certificate.
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret: Option<String>,
    /// Annotations, as ingress controllers read them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// A route of the Gateway API for clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// The Gateways that it belongs to.
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// Host names. Default: the Gateway's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::hosts")]
    pub hostnames: Vec<String>,
}

/// A Gateway of the Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The Gateway's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Default: the same.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// One of its listeners.
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Which traffic is let in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Default: true.
    pub enabled: Option<bool>,
    /// Who may reach the HTTP API. Default: every pod of the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub api_from: Vec<NetworkPolicyPeer>,
    /// Who may reach metrics and health, besides the operator. Default: everybody in the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub metrics_from: Vec<NetworkPolicyPeer>,
}

/// What Prometheus finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Make a `PodMonitor` (Prometheus operator). Default: false.
    pub pod_monitor: Option<bool>,
    /// Labels of the `PodMonitor`, by which Prometheus selects it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub labels: BTreeMap<String, String>,
}

//! The manifest: `PushCluster`, version `v1alpha1` of the group `pushcluster.io`.
//!
//! Types, their schema and what the API server checks; no logic. The comments
//! are what `kubectl explain push` shows.
//!
//! # Layout
//!
//! - [`auth`]: who may connect and publish
//! - [`gateway`]: sections of the gateway's own configuration
//! - [`nats`]: managed or external NATS
//! - [`network`]: Services, Ingress, route, network policy
//! - [`pod`]: image, pods, drain, rollout
//! - [`status`]: what the operator reports
//! - [`schema`]: pieces of schema, and the whole as YAML

// Columns are told apart by their order alone.
#![allow(clippy::duplicated_attributes)]

use gateway_config::ChannelRule;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod auth;
pub mod gateway;
pub mod nats;
pub mod network;
pub mod pod;
pub mod schema;
pub mod status;

#[cfg(test)]
mod tests;

pub use auth::*;
pub use gateway::*;
pub use nats::*;
pub use network::*;
pub use pod::*;
pub use status::*;

/// A real-time push service: gateways that hold clients' connections, and the NATS that relays between them.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "pushcluster.io",
    version = "v1alpha1",
    kind = "PushCluster",
    namespaced,
    shortname = "push",
    status = "PushClusterStatus",
    derive = "PartialEq",
    doc = "A real-time push service: gateways that hold clients' connections, and the NATS that relays between them.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connections"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    // A switch would leave every offset and every stored publication behind.
    {
        "rule": "(has(self.nats) && has(self.nats.external)) == (has(oldSelf.nats) && has(oldSelf.nats.external))",
        "fieldPath": ".nats",
        "reason": "FieldValueForbidden",
        "message": "nats cannot change between managed and external: history and offsets would be lost; make a new PushCluster",
    },
    {
        "rule": "(has(self.nats) && has(self.nats.managed) && has(self.nats.managed.replicas) ? self.nats.managed.replicas : 3) == (has(oldSelf.nats) && has(oldSelf.nats.managed) && has(oldSelf.nats.managed.replicas) ? oldSelf.nats.managed.replicas : 3)",
        "fieldPath": ".nats.managed.replicas",
        "reason": "FieldValueForbidden",
        "message": "nats.managed.replicas cannot change: streams would be deleted; make a new PushCluster",
    },
    {
        "rule": "(has(self.nats) && has(self.nats.external) && has(self.nats.external.prefix) ? self.nats.external.prefix : '') == (has(oldSelf.nats) && has(oldSelf.nats.external) && has(oldSelf.nats.external.prefix) ? oldSelf.nats.external.prefix : '')",
        "fieldPath": ".nats.external.prefix",
        "reason": "FieldValueForbidden",
        "message": "nats.external.prefix cannot change: history and offsets would be lost; make a new PushCluster",
    },
    // Every pod's readiness comes from a Service's and an Ingress' view.
    {
        "rule": "!has(self.service) || !has(self.service.client) || !has(self.service.client.sessionAffinity) || !has(self.service.client.sessionAffinity.timeout) || !has(self.gateway) || !has(self.gateway.socketio) || duration(self.service.client.sessionAffinity.timeout) > duration(has(self.gateway.socketio.pingInterval) ? self.gateway.socketio.pingInterval : '25s') + duration(has(self.gateway.socketio.pingTimeout) ? self.gateway.socketio.pingTimeout : '20s')",
        "fieldPath": ".service.client.sessionAffinity.timeout",
        "message": "service.client.sessionAffinity.timeout must be longer than gateway.socketio.pingInterval and pingTimeout together, else a polling client changes the gateway between two polls",
    },
    // One list would hide the other.
    {
        "rule": "!(has(self.service) && has(self.service.client) && has(self.service.client.trustedProxies) && has(self.gateway) && has(self.gateway.client) && has(self.gateway.client.trustedProxies))",
        "fieldPath": ".gateway.client.trustedProxies",
        "message": "service.client.trustedProxies and gateway.client.trustedProxies are the same list; write it once",
    },
    {
        "rule": "!has(self.gateway) || !has(self.gateway.client) || !has(self.gateway.client.trustedHops) || self.gateway.client.trustedHops <= 1 || (has(self.gateway.client.trustedProxies) && size(self.gateway.client.trustedProxies) > 0) || (has(self.service) && has(self.service.client) && has(self.service.client.trustedProxies) && size(self.service.client.trustedProxies) > 0)",
        "fieldPath": ".gateway.client.trustedHops",
        "message": "gateway.client.trustedHops counts proxies, and none is trusted; list the addresses of the last one in service.client.trustedProxies",
    },
]))]
pub struct PushClusterSpec {
    /// How many gateways. Left out of the manifest when an autoscaler writes it through `/scale`.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 1_000))]
    pub replicas: i32,
    /// The gateways' image. Default: the operator's own version.
    pub image: Option<Image>,
    /// The NATS that relays between gateways; managed by the operator unless `external` is set.
    pub nats: Option<Nats>,
    /// Who may connect and publish. Without it everyone may connect, and only apps publish.
    pub auth: Option<Auth>,
    /// Sections of the gateway's configuration that have no field of their own here.
    pub gateway: Option<GatewaySettings>,
    /// Rules for channels; the first that matches a channel's name holds. Order counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::channels")]
    pub channels: Vec<ChannelRule>,
    /// What one gateway, one client and one request may use.
    #[serde(default, skip_serializing_if = "Partial::is_empty")]
    #[schemars(schema_with = "schema::limits")]
    pub limits: Partial<gateway_config::Limits>,
    /// How clients and apps reach the gateways inside the Kubernetes cluster, or from outside of it.
    pub service: Option<Services>,
    /// An Ingress for clients.
    pub ingress: Option<Ingress>,
    /// A route of the Gateway API for clients.
    pub http_route: Option<HttpRoute>,
    /// How a gateway stops.
    pub drain: Option<Drain>,
    /// How a change is rolled out.
    pub rollout: Option<Rollout>,
    /// What the gateways' pods look like.
    pub pod: Option<Pod>,
    /// Which traffic is let in.
    pub network_policy: Option<NetworkPolicy>,
    /// What Prometheus finds.
    pub monitoring: Option<Monitoring>,
}

/// Gateways of a manifest that doesn't say how many.
pub const DEFAULT_REPLICAS: i32 = 3;

fn default_replicas() -> i32 {
    DEFAULT_REPLICAS
}

//! What the gateways' pods look like, and how they come and go.

use std::collections::BTreeMap;

use gateway_config::Period;
use k8s_openapi::api::core::v1::Toleration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Resources, SecretName, schema};

/// A container image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Name and tag, or digest.
    #[schemars(length(min = 1, max = 1_024), regex(pattern = r"^\S+$"))]
    pub name: Option<String>,
    /// When it is pulled. Default: `IfNotPresent`.
    pub pull_policy: Option<PullPolicy>,
    /// Secrets with a registry's credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pull_secrets: Vec<SecretName>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// Where the node doesn't have it.
    #[default]
    IfNotPresent,
    /// Never: the node has it.
    Never,
}

/// How a gateway stops. A pod gets `delay`, `period` and 15 seconds before it is killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// How long new clients are still accepted: so long take Services and load balancers to notice. 0s to 10m. Default: 10s.
    #[serde(default)]
    #[schemars(schema_with = "schema::drain_delay")]
    pub delay: Option<Period>,
    /// Over how long clients are then disconnected, evenly. 1s to 10m. Default: 60s.
    #[serde(default)]
    #[schemars(schema_with = "schema::drain_period")]
    pub period: Option<Period>,
}

/// How a change is rolled out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How many gateways may drain at once. Default: 1.
    #[schemars(range(min = 1, max = 100))]
    pub max_draining: Option<i32>,
}

/// What the gateways' pods look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// What a gateway's container may use.
    pub resources: Option<Resources>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the nodes that pods may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// Labels of nodes over which pods are spread, as evenly as possible. Default: zone and node. An empty list turns it off.
    #[serde(default)]
    #[schemars(schema_with = "schema::topology_keys")]
    pub topology_keys: Option<Vec<String>>,
    /// Priority class.
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
}

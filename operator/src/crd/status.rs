//! What the operator reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What the operator reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PushClusterStatus {
    /// The generation of the manifest that this describes.
    pub observed_generation: Option<i64>,
    /// Gateways that are not terminating.
    #[serde(default)]
    pub replicas: i32,
    /// Gateways that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Gateways of the newest pod template.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Gateways that are sending their clients away.
    #[serde(default)]
    pub draining_replicas: i32,
    /// Gateways that there should be.
    #[serde(default)]
    pub desired_replicas: i32,
    /// Clients' connections of all gateways; written at most every 30 s, after a change of 5 %.
    #[serde(default)]
    pub connections: i64,
    /// Selects the gateways' pods.
    pub selector: Option<String>,
    /// The gateways' image.
    pub image: Option<String>,
    /// The configuration that every gateway has loaded; absent while they differ.
    pub config_hash: Option<String>,
    /// Where it is reached, inside the Kubernetes cluster.
    pub endpoints: Option<Endpoints>,
    /// Secrets that the operator made for apps.
    pub secrets: Option<Secrets>,
    /// The NATS behind it.
    pub nats: Option<NatsStatus>,
    /// What holds, in words.
    #[serde(default)]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// Where it is reached, inside the Kubernetes cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// For clients.
    pub client: String,
    /// For apps.
    pub api: String,
    /// NATS, when it is managed.
    pub nats: Option<String>,
}

/// Secrets that the operator made for apps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Secrets {
    /// A key of the HTTP API, in `key`.
    pub api_key: Option<String>,
    /// How apps log in to managed NATS: `url`, `username`, `password`, `ca.crt`.
    pub nats_app: Option<String>,
}

/// The NATS behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NatsStatus {
    /// First tokens of every subject.
    pub prefix: String,
    /// The stream that holds history.
    pub stream: String,
    /// The servers' version, as a gateway sees it.
    pub version: Option<String>,
    /// Servers that keep each stored publication.
    pub stream_replicas: i32,
}

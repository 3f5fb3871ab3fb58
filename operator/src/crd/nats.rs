//! Managed or external NATS.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretKey, SecretName, schema};

/// The NATS that relays between gateways: managed or external.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!(has(self.managed) && has(self.external))",
        "message": "nats takes one of managed and external",
    },
    {
        "rule": "!has(self.streamReplicas) || has(self.external) || self.streamReplicas <= (has(self.managed) && has(self.managed.replicas) ? self.managed.replicas : 3)",
        "fieldPath": ".streamReplicas",
        "message": "nats.streamReplicas cannot be more than nats.managed.replicas",
    },
]))]
pub struct Nats {
    /// NATS servers that the operator runs. The default.
    pub managed: Option<ManagedNats>,
    /// NATS servers that are there already.
    pub external: Option<ExternalNats>,
    /// Servers that keep each stored publication: 1, 3 or 5. Default: 3 with three managed servers, else 1.
    #[serde(default)]
    #[schemars(schema_with = "schema::stream_replicas")]
    pub stream_replicas: Option<i32>,
    /// Bytes of history that are kept of all channels together; beyond it the oldest go early. At least twice `limits.publicationBytes`. Default: as many as there is storage for.
    #[schemars(range(min = 1_048_576))]
    pub history_bytes: Option<i64>,
}

/// NATS servers that the operator runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedNats {
    /// Servers: 1 or 3. Default: 3. It can't change.
    #[serde(default)]
    #[schemars(schema_with = "schema::nats_replicas")]
    pub replicas: Option<i32>,
    /// The servers' image; nats-server 2.15 or later.
    #[schemars(length(min = 1, max = 1_024))]
    pub image: Option<String>,
    /// Each server's volume.
    pub storage: Option<Storage>,
    /// What each server's container may use.
    pub resources: Option<Resources>,
    /// Whether clients may connect without TLS. Default: false; for servers that were made before there was TLS true, until it is set, so that apps can follow.
    pub allow_plaintext: Option<bool>,
}

/// A NATS server's volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.size) || !has(oldSelf.size) || !isQuantity(self.size) || !isQuantity(oldSelf.size) || !quantity(self.size).isLessThan(quantity(oldSelf.size))",
    "fieldPath": ".size",
    "message": "nats.managed.storage.size may grow and not shrink",
}]))]
pub struct Storage {
    /// Size. Default: 10Gi. It may grow.
    #[serde(default)]
    #[schemars(schema_with = "schema::quantity")]
    pub size: Option<Quantity>,
    /// Storage class. Default: the cluster's.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self == oldSelf",
        "message": "nats.managed.storage.className cannot change: a volume keeps its class",
    }]))]
    pub class_name: Option<String>,
    /// What becomes of the volumes when the `PushCluster` is deleted. Default: Retain.
    pub retention: Option<Retention>,
}

/// What becomes of what is stored when the `PushCluster` is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted too.
    Delete,
}

/// What a container asks for and may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What it asks for: `{cpu: 500m, memory: 256Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, IntOrString>,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, IntOrString>,
}

/// NATS servers that are there already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalNats {
    /// The servers: `nats://a:4222,nats://b:4222` or `tls://nats.example.com:4222`. Credentials don't belong here.
    #[schemars(
        length(min = 1, max = 2_048),
        regex(pattern = r"^(nats|tls)://[^@/,\s]+(,(nats|tls)://[^@/,\s]+)*$")
    )]
    pub url: String,
    /// How the gateways log in. Default: without credentials.
    pub credentials: Option<NatsCredentials>,
    /// How the servers are verified, and how the gateways identify themselves.
    pub tls: Option<NatsTls>,
    /// First tokens of every subject. Default: `pushcluster.<namespace>.<name>`. A prefix is no isolation: clusters that share NATS have an account each. It can't change.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")
    )]
    pub prefix: Option<String>,
}

/// How the gateways log in to NATS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.type == 'UserPassword' || has(self.secretRef.key)",
    "fieldPath": ".secretRef.key",
    "message": "nats.external.credentials.secretRef.key says which key of the Secret holds it; only UserPassword has fixed keys, username and password",
}]))]
pub struct NatsCredentials {
    /// What the Secret holds.
    #[serde(rename = "type")]
    pub kind: CredentialsKind,
    /// Where it is.
    pub secret_ref: CredentialsRef,
}

/// A Secret with credentials, and the key in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it. With `UserPassword` left out: the keys are `username` and `password`.
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// What a Secret with credentials holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CredentialsKind {
    /// A credentials file: a JWT and its seed.
    CredsFile,
    /// An nkey's seed.
    NKey,
    /// A token.
    Token,
    /// `username` and `password`.
    UserPassword,
}

/// TLS with external NATS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NatsTls {
    /// The authority's certificate, in PEM. Default: public authorities.
    pub ca: Option<SecretKey>,
    /// A Secret of the type `kubernetes.io/tls` that the gateways identify themselves with.
    pub client_certificate: Option<SecretName>,
}

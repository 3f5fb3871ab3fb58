//! Pieces of schema that types alone don't give, and the whole as YAML.
//!
//! A Kubernetes schema must be structural (no `$ref`, one type for each
//! value), and the cost of its CEL rules is bounded by lengths; so every list
//! and every text that a rule looks at has a limit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResourceExt as _;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::PushCluster;

mod sections;

pub(super) use sections::{callout, channels, client, limits, log, proxies, socketio};

/// Why the definition can't be printed.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// A fault of this program.
    #[error("the definition cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A fault of this program.
    #[error("the definition cannot be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// The definition as `kubectl apply -f` takes it.
pub fn crd_yaml() -> Result<String, CrdError> {
    let mut crd = serde_json::to_value(PushCluster::crd())?;
    finish(&mut crd);
    let yaml = serde_saphyr::to_string(&crd)?;
    Ok(format!("# Made by `push-operator crd`; not edited by hand.\n{yaml}"))
}

/// What the derived definition lacks: the rule for names, which stands at the
/// root, and what its tools leave that Kubernetes has no use for.
fn finish(crd: &mut Value) {
    let root = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    root["x-kubernetes-validations"] = json!([{
        "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
        "message": "metadata.name takes 1 to 40 small letters, digits and `-`, a letter first: it becomes the name of Services",
    }]);
    // `spec: {}` is the minimal manifest.
    clean(root);
}

/// Formats of Rust's numbers, which API servers warn of; and `nullable`:
/// without it a `null` is dropped before anything looks at it.
fn clean(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            fields.remove("nullable");
            if let Some(format) = fields.get("format").and_then(Value::as_str)
                && format.starts_with("uint")
            {
                fields.remove("format");
            }
            fields.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

// === values ===

/// A length of time between two, as CEL reads it: it knows no days.
fn period(low: &str, high: &str) -> Value {
    json!({
        "type": "string",
        "maxLength": 16,
        "pattern": "^([0-9]+(ms|s|m|h))+$",
        "x-kubernetes-validations": [{
            "rule": format!("duration(self) >= duration('{low}') && duration(self) <= duration('{high}')"),
            "message": format!("takes a length of time from {low} to {high}"),
        }],
    })
}

fn nullable(mut schema: Value, about: &str) -> Schema {
    schema["description"] = json!(about);
    Schema::try_from(schema).unwrap_or_default()
}

/// `drain.delay`
pub(super) fn drain_delay(_: &mut SchemaGenerator) -> Schema {
    nullable(
        period("0s", "10m"),
        "How long new clients are still accepted: so long Services and load balancers take to notice. 0s to 10m. Default: 10s.",
    )
}

/// `drain.period`
pub(super) fn drain_period(_: &mut SchemaGenerator) -> Schema {
    nullable(
        period("1s", "10m"),
        "Over how long clients are then disconnected, evenly. 1s to 10m. Default: 60s.",
    )
}

/// `service.client.sessionAffinity.timeout`
pub(super) fn affinity_timeout(_: &mut SchemaGenerator) -> Schema {
    nullable(
        period("1s", "24h"),
        "How long after its last packet an address stays, 1s to 24h. Default: 90s.",
    )
}

/// `auth.jwt.leeway`
pub(super) fn leeway(_: &mut SchemaGenerator) -> Schema {
    let mut schema = period("0s", "5m");
    // The gateway takes whole seconds.
    schema["pattern"] = json!("^([0-9]+(s|m))+$");
    nullable(
        schema,
        "How far the issuer's clock may be from the gateways', for `exp` and `nbf`; in whole seconds, 5m at most. Default: 5s.",
    )
}

/// `nats.streamReplicas`
pub(super) fn stream_replicas(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "enum": [1, 3, 5]})
}

/// `nats.managed.replicas`
pub(super) fn nats_replicas(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "enum": [1, 3]})
}

/// `auth.jwt.algorithms`
pub(super) fn algorithms(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 12,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "string",
            "enum": [
                "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                "ES256", "ES384", "EdDSA",
            ],
        },
    })
}

/// Text by text, as annotations, labels and node selectors are.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": {"type": "string", "maxLength": 65_536},
    })
}

/// `pod.topologyKeys`
pub(super) fn topology_keys(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "minLength": 1, "maxLength": 317},
    })
}

/// A host name.
fn host_name() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    })
}

/// `ingress.host`
pub(super) fn host(_: &mut SchemaGenerator) -> Schema {
    nullable(host_name(), "The host name.")
}

/// `httpRoute.hostnames`
pub(super) fn hosts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "atomic",
        "items": host_name(),
    })
}

fn a_quantity() -> Value {
    json!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 32,
        "pattern": r"^([0-9]+|[0-9]*\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]+)?$",
    })
}

/// A size.
pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    // Text alone, so that CEL can compare it.
    let mut schema = a_quantity();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("x-kubernetes-int-or-string");
        fields.remove("anyOf");
        fields.insert("type".to_owned(), json!("string"));
    }
    nullable(schema, "A size, as in 10Gi. Default: 10Gi. It may grow.")
}

/// Resources of a container.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": a_quantity(),
    })
}

/// `status.conditions`
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "description": "What holds, in words.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": item,
    })
}

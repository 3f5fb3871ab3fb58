//! A way in for clients by the Gateway API.

use serde_json::{Value, json};

use super::meta;
use crate::controller::names::{GATEWAY, port};
use crate::controller::plan::Plan;

/// The route, if the manifest has one. There are no types for it: the API is
/// not Kubernetes' own, and few fields are needed.
pub fn client(plan: &Plan) -> Option<Value> {
    let written = plan.spec.http_route.as_ref()?;
    let mut spec = json!({
        "parentRefs": written.parent_refs,
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            // Connections live long; the route must not cut them off.
            "timeouts": {"request": "0s"},
            "backendRefs": [{"name": plan.names.name, "port": port::SERVICE}],
        }],
    });
    if !written.hostnames.is_empty() {
        spec["hostnames"] = json!(written.hostnames);
    }
    Some(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": meta(plan, plan.names.name.clone(), GATEWAY),
        "spec": drop_null(spec),
    }))
}

fn drop_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, drop_null(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(drop_null).collect(),
        other => other,
    }
}

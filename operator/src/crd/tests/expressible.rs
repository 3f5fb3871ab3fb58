//! Whatever a gateway can be told, a manifest can say; or it is known why not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{crd_yaml, spec_of};

/// Keys of the gateway's configuration that a manifest has under another name.
const ELSEWHERE: [(&str, &str); 14] = [
    ("api.keys", "auth.apiKeysSecret"),
    ("client.trustedProxies", "service.client.trustedProxies"),
    ("relay.url", "nats.external.url"),
    ("relay.prefix", "nats.external.prefix"),
    ("relay.replicas", "nats.streamReplicas"),
    ("relay.historyBytes", "nats.historyBytes"),
    ("relay.user", "nats.external.credentials.type"),
    ("relay.password", "nats.external.credentials.secretRef"),
    ("relay.token", "nats.external.credentials.secretRef"),
    ("relay.credentials", "nats.external.credentials.secretRef"),
    ("relay.nkey", "nats.external.credentials.secretRef"),
    ("relay.tls.ca", "nats.external.tls.ca"),
    ("relay.tls.cert", "nats.external.tls.clientCertificate"),
    ("relay.tls.key", "nats.external.tls.clientCertificate"),
];

/// Keys that no manifest has, and why.
const LEFT_OUT: [(&str, &str); 17] = [
    ("admin.listen", "the operator's: probes and its own questions go there"),
    ("admin.tokenFile", "the operator makes the token"),
    ("api.keysFile", "where the operator mounts the Secret"),
    ("api.listen", "the operator's: Services go there"),
    ("api.tls.cert", "TLS ends at what stands in front"),
    ("api.tls.key", "TLS ends at what stands in front"),
    ("client.listen", "the operator's: Services go there"),
    ("client.tls.cert", "TLS ends at what stands in front"),
    ("client.tls.key", "TLS ends at what stands in front"),
    ("generation", "the operator counts it"),
    ("insecure", "a manifest is never left open without saying so"),
    ("peer.advertise", "a pod's own address"),
    ("peer.listen", "the operator's"),
    ("peer.secret", "the operator makes it"),
    ("peer.tls", "the operator makes the certificates"),
    ("relay.startTimeout", "a pod that waits says why; one that exits is only started again"),
    ("socketio.recovery", "a word or a section: the operator looks into it"),
];

#[test]
fn a_manifest_can_say_what_a_gateway_can_be_told() {
    let crd: Value = serde_saphyr::from_str(&crd_yaml().unwrap()).unwrap();
    let mut manifest = BTreeSet::new();
    paths(spec_of(&crd), &Value::Null, "", true, &mut manifest);
    let schema = gateway_config::schema();
    let mut gateway = BTreeSet::new();
    paths(&schema, &schema, "", false, &mut gateway);
    let below = |path: &str, of: &str| {
        path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };

    let known = ELSEWHERE.iter().chain(&LEFT_OUT);
    for (key, _) in known.clone() {
        assert!(gateway.iter().any(|path| below(path, key)), "gateways have no `{key}` any more");
    }
    for (_, place) in ELSEWHERE {
        assert!(manifest.iter().any(|path| below(path, place)), "manifests have no `{place}`");
    }
    let missing: Vec<_> = gateway
        .iter()
        .filter(|path| !manifest.contains(*path) && !manifest.contains(&format!("gateway.{path}")))
        .filter(|path| !known.clone().any(|(key, _)| below(path, key)))
        .collect();
    assert!(
        missing.is_empty(),
        "no manifest can say {missing:?}: give each a field, or a reason in LEFT_OUT"
    );
}

/// Every key that takes a value, as in `channels[].match`; and with `sections`
/// those above it.
fn paths(schema: &Value, root: &Value, path: &str, sections: bool, all: &mut BTreeSet<String>) {
    let named = schema["$ref"].as_str().and_then(|name| root.pointer(name.trim_start_matches('#')));
    let schema = named.unwrap_or(schema);
    let mut below = Vec::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        below.push((path, property));
    }
    if schema["items"].is_object() {
        below.push((format!("{path}[]"), &schema["items"]));
    }
    let forms = schema["anyOf"].as_array().into_iter().flatten();
    below.extend(forms.filter(|one| one["type"] != "null").map(|one| (path.to_owned(), one)));
    if sections || below.is_empty() {
        all.insert(path.to_owned());
    }
    for (path, schema) in below {
        paths(schema, root, &path, sections, all);
    }
}

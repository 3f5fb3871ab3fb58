//! What gateways read when they start: environment variables, from an immutable
//! `ConfigMap` and from Secrets.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{RELOADED_LIMITS, Source, without_null};
use crate::controller::build::deployment::{
    ADMIN_TOKEN, API_KEYS, NATS_CA, NATS_CERT, NATS_CREDENTIALS, NATS_KEY, PEER_CA, PEER_CERT,
    PEER_KEY,
};
use crate::controller::names::port;
use crate::controller::plan::{ExternalPlan, NatsPlan};
use crate::controller::secrets;
use crate::crd::{CredentialsKind, IpFamilyPolicy, PushClusterSpec, SecretKey};

/// What needs a restart, as variables.
pub(super) fn variables(source: &Source<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    flatten("", &tree(source), &mut variables);
    variables
}

/// The same as a tree of sections.
fn tree(source: &Source<'_>) -> Value {
    let spec = source.spec;
    let settings = spec.gateway.clone().unwrap_or_default();
    let both_families = spec
        .service
        .as_ref()
        .and_then(|service| service.client.as_ref())
        .and_then(|client| client.ip_family_policy)
        .is_some_and(|policy| policy != IpFamilyPolicy::SingleStack);
    // A node without IPv6 has no `[::]`.
    let every = if both_families { "[::]" } else { "0.0.0.0" };
    let listen = |port: i32| format!("{every}:{port}");

    let mut client = settings.client.keys;
    if let Some(proxies) = proxies(spec) {
        client.insert("trustedProxies".to_owned(), json!(proxies));
    }
    client.insert("listen".to_owned(), json!(listen(port::CLIENT)));
    let mut limits = spec.limits.keys.clone();
    limits.retain(|key, _| !RELOADED_LIMITS.contains(&key.as_str()));
    let auth = spec.auth.clone().unwrap_or_default();
    let anonymous = auth.anonymous.unwrap_or(auth.jwt.is_none() && !auth.asks_who());
    let mut jwt = Map::new();
    if let Some(written) = &auth.jwt {
        if !written.algorithms.is_empty() {
            jwt.insert("algorithms".to_owned(), json!(written.algorithms));
        }
        for (key, value) in [
            ("issuer", &written.issuer),
            ("audience", &written.audience),
            ("jwksUrl", &written.jwks_url),
        ] {
            if let Some(value) = value {
                jwt.insert(key.to_owned(), json!(value));
            }
        }
        if let Some(leeway) = written.leeway {
            jwt.insert("leeway".to_owned(), json!(leeway));
        }
    }
    // As one value: an empty `connect` asks something, too.
    let callout = (!auth.callout.is_empty())
        .then(|| without_null(Value::Object(auth.callout.keys.clone())).to_string());
    json!({
        "client": client,
        "api": {"listen": listen(port::API), "keysFile": API_KEYS},
        "admin": {"listen": listen(port::ADMIN), "tokenFile": ADMIN_TOKEN},
        "peer": {
            "listen": listen(port::PEER),
            "tls": {
                "cert": PEER_CERT,
                "key": PEER_KEY,
                "ca": PEER_CA,
                "serverName": source.names.peer_host(),
            },
        },
        "relay": relay(source),
        "socketio": settings.socketio.keys,
        "auth": {"anonymous": anonymous, "jwt": jwt, "callout": callout},
        "limits": limits,
        "drain": {"delay": source.drain.0, "period": source.drain.1},
        "log": settings.log.keys,
    })
}

/// Whom the client Service's manifest trusts, if it names anybody.
pub(super) fn proxies(spec: &PushClusterSpec) -> Option<&[String]> {
    let client = spec.service.as_ref()?.client.as_ref()?;
    Some(client.trusted_proxies.as_slice()).filter(|proxies| !proxies.is_empty())
}

fn relay(source: &Source<'_>) -> Value {
    let mut relay = json!({
        "url": source.nats_url,
        "prefix": source.prefix,
    });
    if let NatsPlan::Managed(_) = source.nats {
        relay["tls"] = json!({"ca": NATS_CA});
    }
    if let NatsPlan::External(external) = source.nats {
        match &external.credentials {
            Some((CredentialsKind::CredsFile, _)) => relay["credentials"] = json!(NATS_CREDENTIALS),
            Some((CredentialsKind::NKey, _)) => relay["nkey"] = json!(NATS_CREDENTIALS),
            _ => {}
        }
        if let Some(tls) = &external.tls {
            let mut files = Map::new();
            if tls.ca.is_some() {
                files.insert("ca".to_owned(), json!(NATS_CA));
            }
            if tls.client_certificate.is_some() {
                files.insert("cert".to_owned(), json!(NATS_CERT));
                files.insert("key".to_owned(), json!(NATS_KEY));
            }
            relay["tls"] = Value::Object(files);
        }
    }
    relay
}

/// Variables whose values stay in Secrets.
pub(super) fn from_secrets(source: &Source<'_>) -> BTreeMap<String, SecretKey> {
    let at = |name: String, key: &str| SecretKey { name, key: key.to_owned() };
    let mut all = BTreeMap::from([(
        "PUSH_PEER_SECRET".to_owned(),
        at(source.names.internal(), secrets::PEER),
    )]);
    let log_in = match source.nats {
        NatsPlan::Managed(_) => {
            let name = source.names.nats_gateway();
            vec![
                ("PUSH_RELAY_USER", at(name.clone(), "username")),
                ("PUSH_RELAY_PASSWORD", at(name, "password")),
            ]
        }
        NatsPlan::External(external) => external_log_in(external),
    };
    all.extend(log_in.into_iter().map(|(variable, at)| (variable.to_owned(), at)));
    let jwt = source.spec.auth.as_ref().and_then(|auth| auth.jwt.clone()).unwrap_or_default();
    if let Some(secret) = jwt.secret {
        all.insert("PUSH_AUTH_JWT_SECRET".to_owned(), secret);
    }
    if let Some(key) = jwt.public_key {
        all.insert("PUSH_AUTH_JWT_PUBLIC_KEY".to_owned(), key);
    }
    all
}

fn external_log_in(external: &ExternalPlan) -> Vec<(&'static str, SecretKey)> {
    let Some((kind, secret)) = &external.credentials else { return Vec::new() };
    let at = |key: &str| SecretKey { name: secret.name.clone(), key: key.to_owned() };
    match kind {
        CredentialsKind::Token => {
            vec![("PUSH_RELAY_TOKEN", at(secret.key.as_deref().unwrap_or_default()))]
        }
        CredentialsKind::UserPassword => {
            vec![("PUSH_RELAY_USER", at("username")), ("PUSH_RELAY_PASSWORD", at("password"))]
        }
        CredentialsKind::CredsFile | CredentialsKind::NKey => Vec::new(),
    }
}

/// Environment variables of a tree of sections: text as it stands, everything
/// with a structure as JSON, which is YAML.
fn flatten(path: &str, value: &Value, variables: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Null => return,
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, variables);
            }
            return;
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    variables.insert(variable(path), text);
}

/// `socketio.pingInterval` is `PUSH_SOCKETIO_PING_INTERVAL`.
fn variable(path: &str) -> String {
    let mut name = "PUSH_".to_owned();
    for c in path.chars() {
        match c {
            '.' => name.push('_'),
            c if c.is_ascii_uppercase() => name.extend(['_', c]),
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

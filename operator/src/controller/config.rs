//! The gateways' configuration, made from the manifest.
//!
//! It reaches a gateway in three ways, told apart by what a change costs:
//! environment variables from an immutable `ConfigMap` (a restart), variables
//! from Secrets (a restart), and one file (nothing: gateways read it again).

use std::collections::{BTreeMap, BTreeSet};

use gateway_config::{ChannelRule, Config, ConfigError, Pattern, Sources};
use serde_json::{Map, Value, json};

use super::build::deployment::{
    ADMIN_TOKEN, API_KEYS, NATS_CA, NATS_CERT, NATS_CREDENTIALS, NATS_KEY, PEER_CA, PEER_CERT,
    PEER_KEY,
};
use super::names::{Names, port};
use super::plan::{ConfigPlan, ExternalPlan, NatsPlan};
use crate::crd::{CredentialsKind, IpFamilyPolicy, PushClusterSpec, SecretKey};
use crate::hash;

#[cfg(test)]
mod tests;

/// Keys of `limits` that take effect without a restart; see
/// docs/configuration.md.
const RELOADED_LIMITS: [&str; 3] = ["publicationBytes", "batch", "bodyTimeout"];

/// In place of a gateway's own address, which only its pod knows.
const SOME_ADDRESS: &str = "192.0.2.1";

/// Key of a Secret with the API's keys.
pub const KEYS_FILE: &str = "keys.yaml";

/// What the configuration is made from.
#[derive(Debug)]
pub struct Source<'a> {
    /// The manifest.
    pub spec: &'a PushClusterSpec,
    /// Names of everything.
    pub names: &'a Names,
    /// The NATS behind the gateways.
    pub nats: &'a NatsPlan,
    /// Its addresses.
    pub nats_url: String,
    /// First tokens of its subjects.
    pub prefix: &'a str,
    /// Copies of what is stored.
    pub stream_replicas: i32,
    /// `drain.delay`, `drain.period`
    pub drain: (gateway_config::Period, gateway_config::Period),
    /// The list of the API's keys, hashed, as it stands in its Secret.
    pub api_keys: &'a str,
    /// Values of the Secrets' keys that gateways get as variables.
    pub values: &'a BTreeMap<SecretKey, String>,
    /// Raised with every change of what is stored.
    pub generation: u64,
}

/// Why a manifest's configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The list of the API's keys isn't one.
    #[error("Secret \"{secret}\", key \"keys.yaml\": {message}")]
    Keys {
        /// Which Secret.
        secret: String,
        /// What is wrong.
        message: String,
    },
    /// Values that make no sense.
    #[error("{}", problems(.0))]
    Config(#[from] ConfigError),
    /// A fault of this program.
    #[error("the configuration cannot be written: {0}")]
    Write(String),
}

/// Rules as gateways get them. A manifest that says nothing about who may
/// connect lets everybody connect and nobody but apps publish.
pub fn rules(spec: &PushClusterSpec) -> Vec<ChannelRule> {
    let mut rules = spec.channels.clone();
    if is_open(spec) {
        for rule in &mut rules {
            rule.client_publish.get_or_insert(false);
        }
        if let Ok(everything) = Pattern::new(">") {
            rules.push(ChannelRule {
                matches: everything,
                history: None,
                client_publish: Some(false),
                anonymous: None,
                slow_consumer: gateway_config::SlowConsumer::default(),
                max_payload: None,
            });
        }
    }
    rules
}

/// Whether the manifest leaves open who may connect.
pub fn is_open(spec: &PushClusterSpec) -> bool {
    spec.auth.as_ref().is_none_or(|auth| auth.anonymous.is_none() && auth.jwt.is_none())
}

/// What the stream's settings follow from; another text is another generation.
pub fn stream_settings(spec: &PushClusterSpec, stream_replicas: i32) -> String {
    let history: Vec<_> =
        spec.channels.iter().map(|rule| (rule.matches.as_str(), &rule.history)).collect();
    hash::short(json!([history, stream_replicas]).to_string().as_bytes())
}

/// Makes and checks the configuration.
pub fn render(source: &Source<'_>) -> Result<ConfigPlan, Refused> {
    let mut boot = BTreeMap::new();
    flatten("", &boot_tree(source), &mut boot);
    let from_secrets = from_secrets(source);
    let file = file(source)?;
    let mut loaded = load(&boot, &from_secrets, source.values, &file)?;
    // A gateway reads them from their own file.
    loaded.api.keys = keys(source)?;
    // A gateway leaves out of its hash what differs from one to the other.
    loaded.peer.advertise = None;
    let boot_json = serde_json::to_vec(&boot).map_err(|error| Refused::Write(error.to_string()))?;
    let expected =
        serde_json::to_string(&loaded).map_err(|error| Refused::Write(error.to_string()))?;
    let keys = serde_json::to_string(&loaded.api.keys)
        .map_err(|error| Refused::Write(error.to_string()))?;
    Ok(ConfigPlan {
        keys,
        boot_hash: hash::short(&boot_json),
        boot,
        from_secrets,
        file,
        stream: (stream_settings(source.spec, source.stream_replicas), source.generation),
        expected_hash: Some(hash::short(expected.as_bytes())),
    })
}

/// What needs a restart, as a tree of sections.
fn boot_tree(source: &Source<'_>) -> Value {
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
    client.insert("listen".to_owned(), json!(listen(port::CLIENT)));
    let mut limits = spec.limits.keys.clone();
    limits.retain(|key, _| !RELOADED_LIMITS.contains(&key.as_str()));
    let auth = spec.auth.clone().unwrap_or_default();
    let anonymous = auth.anonymous.unwrap_or(auth.jwt.is_none());
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
    }
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
        "auth": {"anonymous": anonymous, "jwt": jwt},
        "limits": limits,
        "drain": {"delay": source.drain.0, "period": source.drain.1},
        "log": settings.log.keys,
    })
}

fn relay(source: &Source<'_>) -> Value {
    let mut relay = json!({
        "url": source.nats_url,
        "prefix": source.prefix,
        "replicas": source.stream_replicas,
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
fn from_secrets(source: &Source<'_>) -> BTreeMap<String, SecretKey> {
    let at = |name: String, key: &str| SecretKey { name, key: key.to_owned() };
    let mut all = BTreeMap::from([(
        "PUSH_PEER_SECRET".to_owned(),
        at(source.names.internal(), super::secrets::PEER),
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

/// The API's keys as their Secret has them.
fn keys(source: &Source<'_>) -> Result<Vec<gateway_config::ApiKey>, Refused> {
    let secret = source.spec.auth.as_ref().and_then(|auth| auth.api_keys_secret.as_ref());
    let secret = secret.map_or_else(|| source.names.api_key(), |secret| secret.name.clone());
    gateway_config::api_keys(source.api_keys.as_bytes(), KEYS_FILE).map_err(|error| {
        let lines: Vec<_> = error
            .problems
            .iter()
            .map(|problem| format!("{} {}", problem.path, problem.message).trim().to_owned())
            .collect();
        Refused::Keys { secret, message: lines.join("; ") }
    })
}

/// What reloads.
fn file(source: &Source<'_>) -> Result<String, Refused> {
    let mut limits = source.spec.limits.keys.clone();
    limits.retain(|key, _| RELOADED_LIMITS.contains(&key.as_str()));
    let tree = json!({
        "generation": source.generation,
        "channels": rules(source.spec),
        "limits": limits,
    });
    let yaml = serde_saphyr::to_string(&without_null(tree))
        .map_err(|error| Refused::Write(error.to_string()))?;
    Ok(format!("# Made by push-operator from PushCluster {}.\n{yaml}", source.names))
}

/// Reads it as a gateway of this version does.
fn load(
    boot: &BTreeMap<String, String>,
    from_secrets: &BTreeMap<String, SecretKey>,
    values: &BTreeMap<SecretKey, String>,
    file: &str,
) -> Result<Config, ConfigError> {
    // Keys of a newer gateway are not for this version to judge.
    let known: BTreeSet<String> =
        gateway_config::keys::keys().into_iter().map(|key| key.variable).collect();
    let secret = from_secrets
        .iter()
        .filter_map(|(variable, at)| Some((variable.clone(), values.get(at)?.clone())));
    let advertise = ("PUSH_PEER_ADVERTISE".to_owned(), SOME_ADDRESS.to_owned());
    let environment = boot
        .iter()
        .map(|(variable, value)| (variable.clone(), value.clone()))
        .chain([advertise])
        .chain(secret)
        .filter(|(variable, _)| known.contains(variable))
        .collect();
    Sources { file: None, environment, flags: Vec::new() }.load_bytes(file.as_bytes())
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

pub(super) fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_null(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        other => other,
    }
}

/// Problems of a configuration in the manifest's words.
fn problems(error: &ConfigError) -> String {
    let lines: Vec<_> = error
        .problems
        .iter()
        .map(|problem| {
            let path = manifest_path(&problem.path);
            if path.is_empty() {
                problem.message.clone()
            } else {
                format!("{path}: {}", problem.message)
            }
        })
        .collect();
    lines.join("; ")
}

/// Where the manifest has a key of the gateway's configuration.
fn manifest_path(path: &str) -> String {
    let section = path.split(['.', '[']).next().unwrap_or_default();
    match section {
        "" => String::new(),
        "client" | "socketio" | "log" => format!("spec.gateway.{path}"),
        "relay" => format!("spec.nats ({path})"),
        "api" => format!("the API's keys ({path})"),
        _ => format!("spec.{path}"),
    }
}

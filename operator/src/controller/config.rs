//! The gateways' configuration, made from the manifest.
//!
//! It reaches a gateway in three ways, told apart by what a change costs:
//! environment variables from an immutable `ConfigMap` (a restart), variables
//! from Secrets (a restart), and one file (nothing: gateways read it again).

use std::collections::{BTreeMap, BTreeSet};

use gateway_config::{ChannelRule, Config, ConfigError, Pattern, Sources};
use serde_json::{Value, json};

use super::names::Names;
use super::plan::{ConfigPlan, NatsPlan};
use crate::crd::{PushClusterSpec, SecretKey};
use crate::hash;

mod boot;

#[cfg(test)]
mod tests;

/// Keys of `limits` that take effect without a restart; see
/// docs/configuration.md.
const RELOADED_LIMITS: [&str; 10] = [
    "publicationBytes",
    "batch",
    "bodyTimeout",
    "connectionsPerAddress",
    "connectionsPerUser",
    "connectRate",
    "connectRatePerAddress",
    "memory",
    "messagesPerSecond",
    "bytesPerSecond",
];

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
    spec.auth
        .as_ref()
        .is_none_or(|auth| auth.anonymous.is_none() && auth.jwt.is_none() && !auth.asks_who())
}

/// What the stream's settings follow from; another text is another generation.
pub fn stream_settings(spec: &PushClusterSpec, stream_replicas: i32) -> String {
    let history: Vec<_> =
        spec.channels.iter().map(|rule| (rule.matches.as_str(), &rule.history)).collect();
    let mut settings = vec![json!(history), json!(stream_replicas)];
    // Only where it is set: without it the settings are those of operators
    // that didn't know it.
    if let Some(bytes) = spec.nats.as_ref().and_then(|nats| nats.history_bytes) {
        settings.push(json!(bytes));
    }
    hash::short(json!(settings).to_string().as_bytes())
}

/// Makes and checks the configuration.
pub fn render(source: &Source<'_>) -> Result<ConfigPlan, Refused> {
    let boot = boot::variables(source);
    let from_secrets = boot::from_secrets(source);
    let file = file(source)?;
    let mut loaded = load(&boot, &from_secrets, source.values, &file)
        .map_err(|error| where_it_stands(error, source.spec))?;
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
    let nats = source.spec.nats.as_ref();
    // With the generation, which is raised with them: gateways take all at once.
    let relay = json!({
        "replicas": source.stream_replicas,
        "historyBytes": nats.and_then(|nats| nats.history_bytes),
    });
    let tree = json!({
        "generation": source.generation,
        "channels": rules(source.spec),
        "limits": limits,
        "relay": relay,
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

/// A key that the manifest has in one of two places is blamed where it is.
fn where_it_stands(mut error: ConfigError, spec: &PushClusterSpec) -> ConfigError {
    if boot::proxies(spec).is_some() {
        for problem in &mut error.problems {
            if problem.path.starts_with("client.trustedProxies") {
                problem.path.insert_str(0, "service.");
            }
        }
    }
    error
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
        "relay" if path == "relay.historyBytes" => "spec.nats.historyBytes".to_owned(),
        "client" | "socketio" | "log" => format!("spec.gateway.{path}"),
        "relay" => format!("spec.nats ({path})"),
        "api" => format!("the API's keys ({path})"),
        _ => format!("spec.{path}"),
    }
}

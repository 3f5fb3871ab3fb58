//! From a manifest and what it refers to, to a plan. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;

use gateway_config::Period;
use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};
use kube::{Resource as _, ResourceExt as _};
use serde_json::Value;

use super::build;
use super::certificates;
use super::config::{self, KEYS_FILE, Refused, Source};
use super::names::Names;
use super::plan::{ExternalPlan, ImagePlan, Loaded, ManagedPlan, NatsPlan, Plan, Wire};
use super::secrets::{self, Reference};
use crate::crd::{Nats, PushCluster, PushClusterSpec, SecretKey};
use crate::hash;

/// What the operator was started with.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Image of gateways whose manifest names none.
    pub gateway_image: String,
    /// The same for NATS servers.
    pub nats_image: String,
    /// Where the operator runs.
    pub operator_namespace: Option<String>,
}

/// What was fetched.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Values by the Secret's name and key, the operator's own ones included.
    pub values: BTreeMap<SecretKey, String>,
    /// Secrets that are there.
    pub secrets: Vec<String>,
    /// Of the file that is in force: its stream settings and generation.
    pub stream: Option<(String, u64)>,
    /// Size of the NATS servers' claims, once they are there: a StatefulSet's
    /// template can't change.
    pub claim_size: Option<String>,
    /// How far managed NATS is on its way to TLS.
    pub wire: Wire,
}

/// Why a manifest can't be carried out. What is there stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A Secret is missing, or a key of one.
    #[error("{message}")]
    Secret {
        /// Whether NATS can't be reached without it.
        nats: bool,
        /// What is missing, and where the manifest asks for it.
        message: String,
    },
    /// The gateways would refuse their configuration.
    #[error(transparent)]
    Config(#[from] Refused),
    /// Something else that the API server didn't see.
    #[error("{0}")]
    Spec(String),
}

/// Makes a plan, or says why not.
pub fn validate(
    cluster: &PushCluster,
    defaults: &Defaults,
    found: &Found,
) -> Result<Plan, Invalid> {
    let spec = &cluster.spec;
    let names = Names::of(cluster);
    let owner = cluster
        .controller_owner_ref(&())
        .ok_or_else(|| Invalid::Spec("the manifest has no uid".to_owned()))?;
    complete(&secrets::references(spec), found)?;

    let nats = nats(spec, defaults, found)?;
    let prefix = match &nats {
        NatsPlan::External(_) => {
            let external = spec.nats.as_ref().and_then(|nats| nats.external.as_ref());
            external.and_then(|external| external.prefix.clone())
        }
        NatsPlan::Managed(_) => None,
    }
    .unwrap_or_else(|| format!("pushcluster.{}.{}", names.namespace, names.name));
    if let NatsPlan::Managed(_) = &nats {
        served(spec, &prefix)?;
    }
    let stream_replicas = spec.nats.as_ref().and_then(|nats| nats.stream_replicas);
    let stream_replicas = stream_replicas.unwrap_or(match &nats {
        NatsPlan::Managed(managed) => managed.replicas,
        NatsPlan::External(_) => 1,
    });
    let drain = spec.drain.clone().unwrap_or_default();
    let delay = drain.delay.unwrap_or(Period::from_secs(10));
    let period = drain.period.unwrap_or(Period::from_secs(60));
    let image = spec.image.clone().unwrap_or_default();
    let generation = cluster.meta().generation.unwrap_or_default();

    let mut plan = Plan {
        owner,
        generation,
        spec: spec.clone(),
        replicas: spec.replicas,
        image: ImagePlan {
            name: image.name.unwrap_or_else(|| defaults.gateway_image.clone()),
            policy: image.pull_policy.unwrap_or_default(),
            secrets: image
                .pull_secrets
                .into_iter()
                .map(|secret| LocalObjectReference { name: secret.name })
                .collect(),
        },
        nats,
        prefix,
        stream_replicas,
        drain_delay: delay.get(),
        drain_period: period.get(),
        max_draining: spec.rollout.as_ref().and_then(|r| r.max_draining).unwrap_or(1),
        config: super::plan::ConfigPlan::default(),
        secrets_hash: String::new(),
        nats_secrets_hash: String::new(),
        operator_namespace: defaults.operator_namespace.clone(),
        names,
    };
    plan.config = config::render(&Source {
        spec,
        names: &plan.names,
        nats: &plan.nats,
        nats_url: plan.nats_url(),
        prefix: &plan.prefix,
        stream_replicas,
        drain: (delay, period),
        api_keys: api_keys(spec, &plan.names, found),
        values: &found.values,
        generation: stream_generation(cluster, stream_replicas, found),
    })?;
    plan.secrets_hash = secrets_hash(&plan, found);
    plan.nats_secrets_hash = nats_secrets_hash(&plan.names, found);
    let loaded = plan.managed_nats().map(|managed| loaded(&plan, managed, found));
    if let (NatsPlan::Managed(managed), Some(loaded)) = (&mut plan.nats, loaded) {
        managed.loaded = loaded;
    }
    Ok(plan)
}

/// All that the manifest refers to is there.
fn complete(references: &[Reference], found: &Found) -> Result<(), Invalid> {
    for Reference { path, at, nats } in references {
        let message = if !found.secrets.contains(&at.name) {
            format!("{path}: there is no Secret \"{}\" in this namespace; make it", at.name)
        } else if found.values.get(at).is_none_or(String::is_empty) {
            format!("{path}: Secret \"{}\" has no key \"{}\"; add it", at.name, at.key)
        } else {
            continue;
        };
        return Err(Invalid::Secret { nats: *nats, message });
    }
    Ok(())
}

/// Apps can answer: in managed NATS their account may serve no other subjects.
fn served(spec: &PushClusterSpec, prefix: &str) -> Result<(), Invalid> {
    let Some(auth) = &spec.auth else { return Ok(()) };
    let callout = Value::Object(auth.callout.keys.clone());
    let rules = callout["subscribe"].as_array().into_iter().flatten().enumerate();
    let rules = rules.map(|(index, rule)| (format!("subscribe[{index}]"), rule));
    let own = format!("{prefix}.in.");
    for (place, question) in iter::once(("connect".to_owned(), &callout["connect"])).chain(rules) {
        if let Some(subject) = question["subject"].as_str()
            && !subject.starts_with(&own)
        {
            return Err(Invalid::Spec(format!(
                "spec.auth.callout.{place}.subject: apps of managed NATS may serve `{own}>` and no other subject; take one of these, or leave it out"
            )));
        }
    }
    Ok(())
}

fn nats(spec: &PushClusterSpec, defaults: &Defaults, found: &Found) -> Result<NatsPlan, Invalid> {
    let Nats { managed, external, .. } = spec.nats.clone().unwrap_or_default();
    if let Some(external) = external {
        return Ok(NatsPlan::External(ExternalPlan {
            url: external.url,
            credentials: external.credentials.map(|c| (c.kind, c.secret_ref)),
            tls: external.tls,
        }));
    }
    let managed = managed.unwrap_or_default();
    let storage = managed.storage.unwrap_or_default();
    let written = storage.size.map_or_else(|| "10Gi".to_owned(), |size| size.0);
    let size_bytes = bytes(&written).ok_or_else(|| {
        Invalid::Spec(format!(
            "spec.nats.managed.storage.size: `{written}` is not a size; write it as in 10Gi"
        ))
    })?;
    Ok(NatsPlan::Managed(ManagedPlan {
        replicas: managed.replicas.unwrap_or(3),
        image: managed.image.unwrap_or_else(|| defaults.nats_image.clone()),
        size: found.claim_size.clone().unwrap_or_else(|| written.clone()),
        wanted_size: written,
        size_bytes,
        class: storage.class_name.filter(|class| !class.is_empty()),
        retention: storage.retention.unwrap_or_default(),
        resources: managed
            .resources
            .as_ref()
            .map_or_else(ResourceRequirements::default, build::resources),
        wire: found.wire,
        // Apps that found it without TLS still can.
        plaintext: managed.allow_plaintext.unwrap_or(found.wire != Wire::Encrypted),
        loaded: Loaded::default(),
    }))
}

/// What servers should be seen to use once they have read it.
fn loaded(plan: &Plan, managed: &ManagedPlan, found: &Found) -> Loaded {
    let value = |key: &str| {
        let at = SecretKey { name: plan.names.nats_tls(), key: key.to_owned() };
        found.values.get(&at).map_or("", String::as_str)
    };
    let certificate = value(secrets::CERTIFICATE);
    let text = [build::nats::config(plan, managed).as_str(), certificate, value(secrets::BUNDLE)]
        .map(|text| hash::full(text.as_bytes()))
        .concat();
    Loaded {
        hash: hash::short(text.as_bytes()),
        until: certificates::look(certificate).map_or(0, |seen| seen.until),
        routes: managed.wire.routes() && managed.replicas > 1,
        clients: !managed.plaintext,
    }
}

fn api_keys<'a>(spec: &PushClusterSpec, names: &Names, found: &'a Found) -> &'a str {
    let secret = spec.auth.as_ref().and_then(|auth| auth.api_keys_secret.as_ref());
    let name = secret.map_or_else(|| names.api_key(), |secret| secret.name.clone());
    let at = SecretKey { name, key: KEYS_FILE.to_owned() };
    found.values.get(&at).map_or("", String::as_str)
}

/// Raised only with what the stream's settings follow from: a scaled manifest
/// has a new generation, too, and gateways should not notice.
///
/// It begins with the time at which the manifest was made, so that one made
/// anew beside a stream that is still there outranks the one before.
fn stream_generation(cluster: &PushCluster, stream_replicas: i32, found: &Found) -> u64 {
    let settings = config::stream_settings(&cluster.spec, stream_replicas);
    match &found.stream {
        Some((before, generation)) if *before == settings => *generation,
        _ => {
            let created = cluster.creation_timestamp().map_or(0, |time| time.0.as_second());
            let generation = cluster.meta().generation.unwrap_or_default();
            u64::try_from(created.saturating_add(generation)).unwrap_or_default()
        }
    }
}

/// A change of what gateways read from Secrets when they start restarts them.
fn secrets_hash(plan: &Plan, found: &Found) -> String {
    let mut text = String::new();
    for (variable, at) in &plan.config.from_secrets {
        let value = found.values.get(at).map_or("", String::as_str);
        // Writing into a String does not fail.
        let _ = writeln!(text, "{variable}={}", hash::full(value.as_bytes()));
    }
    // Files are mounted and read when a connection is made anew.
    hash::short(text.as_bytes())
}

fn nats_secrets_hash(names: &Names, found: &Found) -> String {
    let mut text = String::new();
    for (name, key) in [
        (names.nats_gateway(), "password"),
        (names.nats_app(), "password"),
        (names.internal(), secrets::NATS_ROUTE),
        (names.internal(), secrets::NATS_SYSTEM),
    ] {
        let at = SecretKey { name, key: key.to_owned() };
        let value = found.values.get(&at).map_or("", String::as_str);
        text.push_str(&hash::full(value.as_bytes()));
    }
    hash::short(text.as_bytes())
}

/// A Kubernetes quantity in bytes.
pub fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = quantity.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor: f64 = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "Pi" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let total = number * factor;
    // A size that makes sense is far from where a float counts in steps.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (total.is_finite() && (1.0..1e18).contains(&total)).then_some(total as u64)
}

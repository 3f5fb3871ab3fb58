//! What a manifest refers to, and what the operator keeps for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::apply::{Conflict, words};
use super::context::Context;
use super::kinds::Kind;
use super::memory::Memory;
use super::names::{GATEWAY, MANAGER, Names, STREAM};
use super::plan::Wire;
use super::secrets::{self, Circumstances, Kept, MakeError};
use super::validate::Found;
use crate::crd::{PushCluster, SecretKey};

/// How long what was read of a user's Secret is believed: the operator has no
/// watch on other people's Secrets.
const READ_AGAIN: Duration = Duration::from_mins(1);
/// The same for one that is missing or incomplete.
const MISSING_AGAIN: Duration = Duration::from_secs(10);

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The API server refused, or did not answer.
    #[error("Secret \"{name}\" cannot be {verb}: {}", words(source))]
    Request {
        /// Which.
        name: String,
        /// `read`, `made` or `completed`.
        verb: &'static str,
        /// Why.
        source: kube::Error,
    },
    /// No secret can be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// A name that is needed belongs to somebody else's object.
    #[error("{0}")]
    Conflict(Conflict),
}

/// Reads what the manifest refers to, and makes what the operator keeps for it.
pub async fn fetch(
    context: &Context,
    cluster: &PushCluster,
    memory: &mut Memory,
) -> Result<Found, FetchError> {
    let names = Names::of(cluster);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &names.namespace);
    let uid = cluster.uid().unwrap_or_default();
    let servers = context.world.get(Kind::StatefulSet, &names.namespace, &names.nats());
    let servers = servers.filter(|live| live.owner.as_deref() == Some(&uid));
    let mut found = Found { wire: Wire::next(servers.as_ref()), ..Found::default() };
    found.claim_size = servers.and_then(|live| live.workload?.claim_size);

    let now = Timestamp::now().as_second();
    for kept in secrets::kept(&cluster.spec, &names) {
        let of = Circumstances { names: &names, others: &found.values, wire: found.wire, now };
        let values = keep(context, cluster, &api, &of, &kept, memory).await?;
        found.secrets.push(kept.name.clone());
        for (key, value) in values {
            found.values.insert(SecretKey { name: kept.name.clone(), key }, value);
        }
    }
    let references = secrets::references(&cluster.spec);
    memory.read.retain(|name, _| references.iter().any(|reference| reference.at.name == *name));
    for reference in &references {
        let name = &reference.at.name;
        if let Some(values) = read(context, &api, name, &reference.at.key, memory).await? {
            if !found.secrets.contains(name) {
                found.secrets.push(name.clone());
            }
            if let Some(value) = values.get(&reference.at.key) {
                found.values.insert(reference.at.clone(), value.clone());
            }
        }
    }
    let config = context.world.get(Kind::Secret, &names.namespace, &names.config());
    found.stream = config.filter(|live| live.owner.as_deref() == Some(&uid)).and_then(|live| {
        let (settings, generation) = live.annotations.get(STREAM)?.split_once(':')?;
        Some((settings.to_owned(), generation.parse().ok()?))
    });
    Ok(found)
}

/// A user's Secret, if it is there.
async fn read(
    context: &Context,
    api: &Api<Secret>,
    name: &str,
    key: &str,
    memory: &mut Memory,
) -> Result<Option<BTreeMap<String, String>>, FetchError> {
    if let Some((when, values)) = memory.read.get(name) {
        let complete = values.as_ref().is_some_and(|values| values.contains_key(key));
        let believed = if complete { READ_AGAIN } else { MISSING_AGAIN };
        if when.elapsed() < believed {
            return Ok(values.clone());
        }
    }
    context.metrics.request("get", Kind::Secret);
    let secret = api.get_opt(name).await.map_err(|source| FetchError::Request {
        name: name.to_owned(),
        verb: "read",
        source,
    })?;
    let values = secret.map(content);
    memory.read.insert(name.to_owned(), (Instant::now(), values.clone()));
    Ok(values)
}

/// A Secret that the operator makes once and keeps.
async fn keep(
    context: &Context,
    cluster: &PushCluster,
    api: &Api<Secret>,
    of: &Circumstances<'_>,
    kept: &Kept,
    memory: &mut Memory,
) -> Result<BTreeMap<String, String>, FetchError> {
    let names = of.names;
    let live = context.world.get(Kind::Secret, &names.namespace, &kept.name);
    if let (Some(live), Some((version, values))) = (&live, memory.kept.get(&kept.name))
        && live.version == *version
        && kept.complete(values, of)?.is_empty()
    {
        return Ok(values.clone());
    }
    let failed = |verb: &'static str| {
        let name = kept.name.clone();
        move |source| FetchError::Request { name, verb, source }
    };
    let uid = cluster.uid().unwrap_or_default();
    let mut secret = None;
    if live.is_none() {
        let made = kept.complete(&BTreeMap::new(), of)?;
        let body = Secret {
            metadata: ObjectMeta {
                name: Some(kept.name.clone()),
                namespace: Some(names.namespace.clone()),
                labels: Some(names.labels(GATEWAY)),
                owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(bytes(&made)),
            ..Secret::default()
        };
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        context.metrics.request("create", Kind::Secret);
        match api.create(&params, &body).await {
            Ok(created) => secret = Some(created),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed("made")(error)),
        }
    }
    let secret = if let Some(secret) = secret {
        secret
    } else {
        context.metrics.request("get", Kind::Secret);
        api.get(&kept.name).await.map_err(failed("read"))?
    };
    let ours = secret
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid);
    if !ours {
        let conflict = Conflict { kind: Kind::Secret, name: kept.name.clone() };
        return Err(FetchError::Conflict(conflict));
    }
    let version = secret.resource_version().unwrap_or_default();
    let labelled =
        secret.labels().get("app.kubernetes.io/managed-by").map(String::as_str) == Some(MANAGER);
    let mut values = content(secret);
    let missing = kept.complete(&values, of)?;
    if missing.is_empty() && labelled {
        memory.kept.insert(kept.name.clone(), (version, values.clone()));
        return Ok(values);
    }
    let patch = json!({
        "metadata": {"labels": names.labels(GATEWAY)},
        "data": bytes(&missing),
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    context.metrics.request("patch", Kind::Secret);
    let patched =
        api.patch(&kept.name, &params, &Patch::Merge(&patch)).await.map_err(failed("completed"))?;
    values.extend(missing);
    memory.kept.insert(
        kept.name.clone(),
        (patched.resource_version().unwrap_or_default(), values.clone()),
    );
    Ok(values)
}

fn bytes(values: &BTreeMap<String, String>) -> BTreeMap<String, ByteString> {
    values
        .iter()
        .map(|(key, value)| (key.clone(), ByteString(value.clone().into_bytes())))
        .collect()
}

/// What is not UTF-8 is no credential that a gateway could take; it is left
/// out, as if it were missing.
fn content(secret: Secret) -> BTreeMap<String, String> {
    let data = secret.data.unwrap_or_default();
    data.into_iter()
        .filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?)))
        .map(|(key, value)| (key, value.trim_end_matches('\n').to_owned()))
        .collect()
}

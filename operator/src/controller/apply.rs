//! Makes what is there what it should be.
//!
//! An object is made by POST, so that nothing of a stranger's is taken over:
//! server-side apply would. Later changes are server-side apply, which gives
//! back every field that the operator sets. The API server takes the POST and
//! the apply for two owners of the same fields, and then a field that is no
//! longer applied would stay, as the POST still owns it. So the first apply is
//! preceded by a patch that turns the one into the other.

use std::fmt;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::build::Desired;
use super::context::Context;
use super::kinds::Kind;
use super::live::{Live, PodLive};
use super::memory::{Applied, Memory};
use super::names::{BOOT, Names};
use super::plan::Plan;
use crate::hash;

/// A failed request in the API server's own words.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// How long a name that a stranger holds is not asked for again.
const CONFLICT_AGAIN: Duration = Duration::from_mins(1);

/// An object of a stranger's with a name that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} \"{name}\" cannot be {verb}: {}", words(source))]
pub struct ApplyError {
    /// The object's kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// `made`, `changed` or `deleted`.
    pub verb: &'static str,
    /// Why.
    pub source: kube::Error,
}

/// What came of applying everything.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Names that strangers hold.
    pub conflicts: Vec<Conflict>,
    /// What failed.
    pub errors: Vec<ApplyError>,
    /// What was put right although nothing of the plan had changed.
    pub undone: Vec<String>,
    /// Fields that somebody else has set in the operator's objects.
    pub foreign: Vec<String>,
    /// The gateways wait until NATS is renewed.
    pub nats_first: bool,
    /// Something is being deleted, and will be made again.
    pub deleting: bool,
}

/// Applies everything, and deletes what is no longer wanted.
pub async fn apply(
    context: &Context,
    plan: &Plan,
    desired: &[Desired],
    pods: &[PodLive],
    memory: &mut Memory,
) -> Outcome {
    let mut outcome = Outcome::default();
    memory.conflicts.retain(|(kind, name), _| {
        desired.iter().any(|wanted| wanted.kind == *kind && wanted.name == *name)
    });
    for wanted in desired {
        if wanted.kind != Kind::Deployment {
            one(context, plan, wanted, memory, &mut outcome).await;
            continue;
        }
        match hold(context, plan, wanted, memory) {
            Hold::Go => {
                one(context, plan, wanted, memory, &mut outcome).await;
                memory.gateways_as = Some(wanted.body.clone());
            }
            // Scaled and put right, but not renewed.
            Hold::As(held) => {
                outcome.nats_first = true;
                one(context, plan, &held, memory, &mut outcome).await;
            }
            Hold::Still => outcome.nats_first = true,
        }
    }
    if outcome.errors.is_empty() && !outcome.nats_first {
        sweep(context, plan, desired, pods, memory, &mut outcome).await;
    }
    grow(context, plan, memory, &mut outcome).await;
    outcome
}

/// While NATS servers are being replaced, gateways are not.
enum Hold {
    /// They may be.
    Go,
    /// The Deployment as it was applied last, with the new number of gateways.
    As(Desired),
    /// How it was applied last is not known; it stays as it is.
    Still,
}

fn hold(context: &Context, plan: &Plan, wanted: &Desired, memory: &Memory) -> Hold {
    let namespace = &plan.names.namespace;
    let made = context.world.get(Kind::Deployment, namespace, &wanted.name).is_some();
    let servers = context.world.get(Kind::StatefulSet, namespace, &plan.names.nats());
    let replaced = plan.managed_nats().is_some()
        && servers.and_then(|live| live.workload).is_some_and(|servers| {
            servers.replicas > 0 && (!servers.observed || servers.updated < servers.wanted)
        });
    if !made || !replaced {
        return Hold::Go;
    }
    let Some(before) = &memory.gateways_as else { return Hold::Still };
    if before["spec"]["template"] == wanted.body["spec"]["template"] {
        return Hold::Go;
    }
    let mut body = before.clone();
    body["spec"]["replicas"] = wanted.body["spec"]["replicas"].clone();
    Hold::As(Desired { body, ..wanted.clone() })
}

async fn one(
    context: &Context,
    plan: &Plan,
    wanted: &Desired,
    memory: &mut Memory,
    outcome: &mut Outcome,
) {
    let Desired { kind, name, body } = wanted;
    let namespace = &plan.names.namespace;
    let key = (*kind, name.clone());
    let hash = hash::short(body.to_string().as_bytes());
    let error = |verb, source| ApplyError { kind: kind.name(), name: name.clone(), verb, source };

    let mut live = context.world.get(*kind, namespace, name);
    if live.is_none() {
        let recently =
            memory.conflicts.get(&key).is_some_and(|when| when.elapsed() < CONFLICT_AGAIN);
        if recently {
            outcome.conflicts.push(Conflict { kind: *kind, name: name.clone() });
            return;
        }
        match create(context, namespace, wanted).await {
            Ok(Some(created)) => {
                if let Some(before) = memory.applied.get(&key)
                    && before.wanted == hash
                {
                    outcome.undone.push(format!("{} \"{name}\" was deleted", kind.name()));
                }
                let fingerprint = created.fingerprint.clone();
                memory.applied.insert(key.clone(), Applied { wanted: hash, fingerprint });
                memory.conflicts.remove(&key);
                context.world.put(*kind, namespace, name, created);
                return;
            }
            // Somebody's, or ours without its label.
            Ok(None) => match read(context, namespace, *kind, name).await {
                Ok(there) => live = there,
                Err(source) => {
                    outcome.errors.push(error("read", source));
                    return;
                }
            },
            Err(source) => {
                outcome.errors.push(error("made", source));
                return;
            }
        }
    }
    let Some(live) = live else {
        // Deleted in between; the next look makes it.
        outcome.deleting = true;
        return;
    };
    if live.owner.as_deref() != Some(plan.owner.uid.as_str()) {
        memory.conflicts.insert(key, Instant::now());
        outcome.conflicts.push(Conflict { kind: *kind, name: name.clone() });
        return;
    }
    memory.conflicts.remove(&key);
    if live.deleting {
        outcome.deleting = true;
        return;
    }
    let before = memory.applied.get(&key);
    let as_before = before
        .is_some_and(|before| before.wanted == hash && before.fingerprint == live.fingerprint);
    if as_before {
        foreign(kind.name(), name, &live, outcome);
        return;
    }
    let drifted = before.is_some_and(|before| before.wanted == hash);
    let mut changed = change(context, namespace, wanted, &live).await;
    if matches!(&changed, Err(kube::Error::Api(status)) if status.code == 422)
        && wanted.body["spec"].is_object()
        && let Ok(replaced) = replace_lists(context, namespace, wanted, &live).await
    {
        changed = Ok(replaced);
    }
    match changed {
        Ok(changed) => {
            if drifted && changed.fingerprint != live.fingerprint {
                outcome.undone.push(format!("{} \"{name}\" was changed", kind.name()));
            }
            foreign(kind.name(), name, &changed, outcome);
            let fingerprint = changed.fingerprint.clone();
            memory.applied.insert(key, Applied { wanted: hash, fingerprint });
            context.world.put(*kind, namespace, name, changed);
        }
        // It has changed, or was deleted, since it was looked at.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            if !Kind::CORE.contains(kind) {
                // No watch says that it is gone.
                context.world.remove(*kind, namespace, name);
            }
            outcome.deleting = true;
        }
        Err(source) => outcome.errors.push(error("changed", source)),
    }
}

fn foreign(kind: &str, name: &str, live: &Live, outcome: &mut Outcome) {
    outcome.foreign.extend(live.foreign.iter().map(|who| format!("{kind} \"{name}\": {who}")));
}

fn api(context: &Context, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &kind.resource())
}

/// None: the name is taken.
async fn create(
    context: &Context,
    namespace: &str,
    wanted: &Desired,
) -> Result<Option<Live>, kube::Error> {
    let object: DynamicObject =
        serde_json::from_value(wanted.body.clone()).map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        field_manager: Some(super::names::MANAGER.to_owned()),
        ..PostParams::default()
    };
    context.metrics.request("create", wanted.kind);
    match api(context, namespace, wanted.kind).create(&params, &object).await {
        Ok(created) => Ok(Some(Live::reduce(wanted.kind, &created))),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read(
    context: &Context,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<Option<Live>, kube::Error> {
    context.metrics.request("get", kind);
    let found = api(context, namespace, kind).get_opt(name).await?;
    Ok(found.map(|object| Live::reduce(kind, &object)))
}

async fn change(
    context: &Context,
    namespace: &str,
    wanted: &Desired,
    live: &Live,
) -> Result<Live, kube::Error> {
    let api = api(context, namespace, wanted.kind);
    if let Some(index) = live.posted {
        let path = format!("/metadata/managedFields/{index}");
        let turned: json_patch::Patch = serde_json::from_value(json!([
            {"op": "test", "path": format!("{path}/manager"), "value": super::names::MANAGER},
            {"op": "replace", "path": format!("{path}/operation"), "value": "Apply"},
            // Refused if it has changed since.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live.version},
        ]))
        .map_err(kube::Error::SerdeError)?;
        context.metrics.request("patch", wanted.kind);
        api.patch(&wanted.name, &PatchParams::default(), &Patch::Json::<()>(turned)).await?;
    }
    let mut body = wanted.body.clone();
    // Not another one of the same name.
    body["metadata"]["uid"] = json!(live.uid);
    let params = PatchParams::apply(super::names::MANAGER).force();
    context.metrics.request("apply", wanted.kind);
    let changed = api.patch(&wanted.name, &params, &Patch::Apply(&body)).await?;
    Ok(Live::reduce(wanted.kind, &changed))
}

/// Undoes what an apply can't: elements of a list that are no longer known by
/// their key, such as a Service's port whose number was changed. To an apply
/// it is another port, of a name that is taken, and the API server refuses.
/// So the lists are replaced as a whole. Then an apply is an apply again.
async fn replace_lists(
    context: &Context,
    namespace: &str,
    wanted: &Desired,
    live: &Live,
) -> Result<Live, kube::Error> {
    let body = json!({
        // Refused if it is another one, or has changed since.
        "metadata": {"uid": live.uid, "resourceVersion": live.version},
        "spec": wanted.body["spec"],
    });
    let params = PatchParams {
        field_manager: Some(super::names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    context.metrics.request("patch", wanted.kind);
    let api = api(context, namespace, wanted.kind);
    let replaced = api.patch(&wanted.name, &params, &Patch::Merge(&body)).await?;
    change(context, namespace, wanted, &Live::reduce(wanted.kind, &replaced)).await
}

/// Sets labels or annotations of a pod. One that is gone needs none.
pub(super) async fn patch_pod(context: &Context, names: &Names, pod: &str, patch: &Value) {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &names.namespace);
    let params = PatchParams {
        field_manager: Some(super::names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    context.metrics.request_of("patch", "Pod");
    if let Err(error) = api.patch_metadata(pod, &params, &Patch::Merge(patch)).await {
        tracing::warn!(cluster = %names, pod, "the pod cannot be marked: {}", words(&error));
    }
}

/// Deletes what this `PushCluster` owns and its plan no longer asks for.
async fn sweep(
    context: &Context,
    plan: &Plan,
    desired: &[Desired],
    pods: &[PodLive],
    memory: &mut Memory,
    outcome: &mut Outcome,
) {
    let namespace = &plan.names.namespace;
    let kept = super::secrets::kept(&plan.spec, &plan.names);
    for (kind, name, live) in context.world.owned_by(&plan.owner.uid, namespace) {
        let wanted = desired.iter().any(|wanted| wanted.kind == kind && wanted.name == name)
            || (kind == Kind::Secret && kept.iter().any(|kept| kept.name == name));
        // A pod that starts again needs the configuration that it had.
        let in_use = live
            .labels
            .get(BOOT)
            .is_some_and(|boot| pods.iter().any(|pod| pod.boot.as_ref() == Some(boot)))
            || (live.labels.contains_key(BOOT) && rolling(context, plan));
        if wanted || in_use || live.deleting || !kind.comes_and_goes() {
            continue;
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(live.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        context.metrics.request("delete", kind);
        match api(context, namespace, kind).delete(&name, &params).await {
            Ok(_) => {
                tracing::info!(cluster = %plan.names, "{} \"{name}\" is no longer needed and deleted", kind.name());
                memory.applied.remove(&(kind, name.clone()));
                context.world.remove(kind, namespace, &name);
            }
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(source) => {
                let kind = kind.name();
                outcome.errors.push(ApplyError { kind, name, verb: "deleted", source });
            }
        }
    }
}

/// Whether the Deployment still makes pods of an older template.
fn rolling(context: &Context, plan: &Plan) -> bool {
    let live = context.world.get(Kind::Deployment, &plan.names.namespace, &plan.names.name);
    live.and_then(|live| live.workload)
        .is_none_or(|gateways| !gateways.observed || gateways.updated < gateways.replicas)
}

/// Grows the claims of NATS servers: their template can't change.
async fn grow(context: &Context, plan: &Plan, memory: &mut Memory, outcome: &mut Outcome) {
    let Some(managed) = plan.managed_nats() else { return };
    let wanted = &managed.wanted_size;
    if managed.size == *wanted || memory.claims.as_ref() == Some(wanted) {
        return;
    }
    let claims: Api<k8s_openapi::api::core::v1::PersistentVolumeClaim> =
        Api::namespaced(context.client.clone(), &plan.names.namespace);
    for index in 0..managed.replicas {
        let name = format!("{}-{}-{index}", super::build::statefulset::CLAIM, plan.names.nats());
        let patch = json!({"spec": {"resources": {"requests": {"storage": wanted}}}});
        let params = PatchParams {
            field_manager: Some(super::names::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match claims.patch(&name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => {}
            // Not made yet.
            Err(kube::Error::Api(status)) if status.code == 404 => return,
            Err(source) => {
                let kind = "PersistentVolumeClaim";
                outcome.errors.push(ApplyError { kind, name, verb: "grown", source });
                return;
            }
        }
    }
    memory.claims = Some(wanted.clone());
}

// === impl Conflict ===

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is a {} \"{}\" that this PushCluster did not make, and needs the name of; it is left alone: delete or rename it, or give the PushCluster another name",
            self.kind.name(),
            self.name
        )
    }
}

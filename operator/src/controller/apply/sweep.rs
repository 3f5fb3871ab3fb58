//! What is no longer asked for goes; volumes grow.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::request::api;
use super::{ApplyError, Outcome};
use crate::controller::build::Desired;
use crate::controller::build::statefulset::CLAIM;
use crate::controller::context::Context;
use crate::controller::kinds::Kind;
use crate::controller::live::PodLive;
use crate::controller::memory::Memory;
use crate::controller::names::{BOOT, MANAGER};
use crate::controller::plan::Plan;
use crate::controller::secrets;

/// Deletes what this `PushCluster` owns and its plan no longer asks for.
pub(super) async fn sweep(
    context: &Context,
    plan: &Plan,
    desired: &[Desired],
    pods: &[PodLive],
    memory: &mut Memory,
    outcome: &mut Outcome,
) {
    let namespace = &plan.names.namespace;
    let kept = secrets::kept(&plan.spec, &plan.names);
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
pub(super) async fn grow(
    context: &Context,
    plan: &Plan,
    memory: &mut Memory,
    outcome: &mut Outcome,
) {
    let Some(managed) = plan.managed_nats() else { return };
    let wanted = &managed.wanted_size;
    if managed.size == *wanted || memory.claims.as_ref() == Some(wanted) {
        return;
    }
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(context.client.clone(), &plan.names.namespace);
    for index in 0..managed.replicas {
        let name = format!("{}-{}-{index}", CLAIM, plan.names.nats());
        let patch = json!({"spec": {"resources": {"requests": {"storage": wanted}}}});
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
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

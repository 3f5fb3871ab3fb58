//! What is told of a look: the status, and Events.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::ReconcileError;
use crate::controller::apply::{self, Outcome};
use crate::controller::build::Capable;
use crate::controller::context::Context;
use crate::controller::kinds::Kind;
use crate::controller::live::PodLive;
use crate::controller::memory::Memory;
use crate::controller::names::{MANAGER, Names};
use crate::controller::plan::Plan;
use crate::controller::servers;
use crate::controller::status::{self, View};
use crate::controller::validate::Invalid;
use crate::controller::world::World;
use crate::crd::{PushCluster, PushClusterStatus};
use crate::events::{self, Say};

/// Writes the status, and says in Events what a person must know.
pub(super) async fn report(
    context: &Context,
    cluster: &PushCluster,
    plan: Result<&Plan, &Invalid>,
    outcome: &Outcome,
    capable: Capable,
    memory: &mut Memory,
) -> Result<(), ReconcileError> {
    let names = Names::of(cluster);
    let workload = |kind, name: &str| {
        let live = context.world.get(kind, &names.namespace, name)?;
        live.workload.filter(|_| live.owner == cluster.uid())
    };
    let pods = context.world.pods(&names);
    let fingerprint = context
        .world
        .get(Kind::Deployment, &names.namespace, &names.name)
        .map(|live| live.fingerprint)
        .unwrap_or_default();
    let gone = gone(memory.settled.as_ref(), &fingerprint, &pods);
    let server_pods = context.world.servers(&names);
    let stateful = context.world.get(Kind::StatefulSet, &names.namespace, &names.nats());
    let stateful = stateful.map(|live| live.fingerprint).unwrap_or_default();
    let servers_gone = servers_gone(memory.servers_settled.as_ref(), &stateful, &server_pods);
    let late = plan.as_ref().map_or_else(|_| Vec::new(), |plan| servers::late(plan, memory));
    let (before, _) = written(cluster, memory);
    let now = now();
    let view = View {
        cluster,
        plan,
        gateways: workload(Kind::Deployment, &names.name),
        servers: workload(Kind::StatefulSet, &names.nats()),
        pods: &pods,
        server_pods: &server_pods,
        seen: &memory.gateways,
        gone: &gone,
        servers_gone: &servers_gone,
        late: &late,
        before: &before,
        outcome,
        failed: None,
        capable,
        now: now.0.as_second(),
    };
    let status = status::status(&view, &now);
    let said = events::all(cluster, &view, &status);
    if status::is_settled(&status) {
        let all = pods.iter().filter(|pod| !pod.deleting).map(|pod| pod.name.clone());
        memory.settled = Some((fingerprint, all.collect()));
    }
    if view
        .servers
        .as_ref()
        .is_some_and(|all| all.observed && all.ready == all.wanted && all.updated == all.wanted)
    {
        let all = server_pods.iter().filter(|pod| !pod.deleting);
        let all = all.map(|pod| (pod.name.clone(), pod.uid.clone())).collect();
        memory.servers_settled = Some((stateful, all));
    }
    say(context, cluster, said, memory).await;
    write(context, cluster, status, memory).await
}

/// Pods that were there when all was well, and are no more although nothing of
/// the Deployment has changed.
pub(super) fn gone(
    settled: Option<&(String, Vec<String>)>,
    fingerprint: &str,
    pods: &[PodLive],
) -> Vec<String> {
    let Some((_, names)) = settled.filter(|(before, _)| before == fingerprint) else {
        return Vec::new();
    };
    let stays = |name: &String| pods.iter().any(|pod| pod.name == *name && !pod.deleting);
    names.iter().filter(|name| !stays(name)).cloned().collect()
}

/// The same of NATS servers: a new one has the name of the one before.
pub(super) fn servers_gone(
    settled: Option<&(String, BTreeMap<String, String>)>,
    fingerprint: &str,
    pods: &[PodLive],
) -> Vec<String> {
    let Some((_, known)) = settled.filter(|(before, _)| before == fingerprint) else {
        return Vec::new();
    };
    let stays = |uid: &String| pods.iter().any(|pod| pod.uid == *uid && !pod.deleting);
    known.iter().filter(|(_, uid)| !stays(uid)).map(|(name, _)| name.clone()).collect()
}

async fn say(context: &Context, cluster: &PushCluster, said: Vec<Say>, memory: &mut Memory) {
    memory
        .said
        .retain(|(reason, note)| said.iter().any(|say| say.reason == *reason && say.note == *note));
    let reference = cluster.object_ref(&());
    for say in said {
        if !memory.said.insert((say.reason, say.note.clone())) {
            continue;
        }
        if let Err(error) = context.recorder.publish(&say, &reference).await {
            tracing::warn!("an Event cannot be written: {}", apply::words(&error));
        }
    }
}

/// The status as it was written last, not as a watch has shown it, and how long
/// ago that was.
pub(super) fn written(cluster: &PushCluster, memory: &Memory) -> (PushClusterStatus, Duration) {
    match &memory.status {
        Some((status, when)) => (status.clone(), when.elapsed()),
        None => (cluster.status.clone().unwrap_or_default(), Duration::MAX),
    }
}

/// Writes a status if it is news.
pub(super) async fn write(
    context: &Context,
    cluster: &PushCluster,
    mut status: PushClusterStatus,
    memory: &mut Memory,
) -> Result<(), ReconcileError> {
    let (before, since) = written(cluster, memory);
    if !status::is_news(&before, &mut status, since) {
        return Ok(());
    }
    let names = Names::of(cluster);
    let api: Api<PushCluster> = Api::namespaced(context.client.clone(), &names.namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    context.metrics.request_of("patch", "PushCluster");
    match api.patch_status(&names.name, &params, &Patch::Merge(json!({"status": status}))).await {
        Ok(_) => {}
        // Deleted in between.
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(()),
        Err(error) => return Err(ReconcileError::Status(error)),
    }
    memory.status = Some((status, Instant::now()));
    Ok(())
}

/// A manifest that this version can't read: only its status is touched.
pub(super) async fn unreadable(
    context: &Context,
    object: &DynamicObject,
    memory: &mut Memory,
    message: &str,
) -> Result<(), ReconcileError> {
    let names =
        Names { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let message = format!(
        "the manifest cannot be read: {message}; is the operator older than the definition?"
    );
    tracing::warn!(cluster = %names, "{message}");
    let condition = Condition {
        type_: "Ready".to_owned(),
        status: "False".to_owned(),
        reason: "InvalidManifest".to_owned(),
        message,
        last_transition_time: now(),
        observed_generation: object.meta().generation,
    };
    let status = json!({"observedGeneration": object.meta().generation, "conditions": [condition]});
    let resource = World::clusters();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &names.namespace, &resource);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    memory.status = None;
    context.metrics.request_of("patch", "PushCluster");
    api.patch_status(&names.name, &params, &Patch::Merge(json!({"status": status})))
        .await
        .map_err(ReconcileError::Status)?;
    Ok(())
}

pub(super) fn now() -> Time {
    // Kubernetes keeps whole seconds.
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

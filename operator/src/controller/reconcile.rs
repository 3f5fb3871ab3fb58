//! One look at one `PushCluster`: fetch → validate → build → apply → status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::apply::{self, Outcome};
use super::build::{self, Capable};
use super::context::Context;
use super::fetch::{self, FetchError};
use super::gateways::{self, EVERY};
use super::kinds::Kind;
use super::live::PodLive;
use super::memory::Memory;
use super::names::{ACCEPTING, DELETION_COST, NUDGED, Names, RECONCILE};
use super::pace::{self, Pace};
use super::plan::Plan;
use super::servers;
use super::status;
use super::validate::{Invalid, validate};
use crate::crd::{PushCluster, SecretKey};

mod report;

use report::{now, report, unreadable, write, written};

#[cfg(test)]
mod tests;

/// Without any reason to, each is looked at so often.
const RESYNC: Duration = Duration::from_mins(10);

/// One in a namespace that has an operator of its own is looked at again: that
/// one may go.
const SOMEBODY_ELSES: Duration = Duration::from_mins(1);

/// Why a look at one failed. It is looked at again, ever more rarely.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something could not be read or made.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An object can't be written.
    #[error(transparent)]
    Build(#[from] build::BuildError),
    /// Some objects could not be changed.
    #[error("{0}")]
    Apply(String),
    /// The status could not be written.
    #[error("the status cannot be written: {}", apply::words(.0))]
    Status(#[source] kube::Error),
}

// === impl ReconcileError ===

impl ReconcileError {
    /// In metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "fetch",
            Self::Build(_) => "build",
            Self::Apply(_) => "apply",
            Self::Status(_) => "status",
        }
    }
}

/// Looks at one and puts it right.
pub async fn reconcile(
    object: Arc<DynamicObject>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let names =
        Names { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let uid = object.uid().unwrap_or_default();
    if object.meta().deletion_timestamp.is_some() {
        // Everything goes with its owner.
        return Ok(Action::await_change());
    }
    if context.everywhere && context.world.is_somebody_elses(&names.namespace) {
        tracing::debug!(cluster = %names, "an operator of its own looks after this namespace");
        context.forget(|other| *other != names);
        return Ok(Action::requeue(SOMEBODY_ELSES));
    }
    let started = Instant::now();
    let mut memory = context.take(&names, &uid);
    let result = look(&object, &context, &mut memory).await;
    memory.failures = if result.is_ok() { 0 } else { memory.failures.saturating_add(1) };
    let failures = memory.failures;
    context.keep(names.clone(), uid, memory);
    let label = result.as_ref().err().map_or("ok", ReconcileError::label);
    context.metrics.reconciled(label, started.elapsed());
    match result {
        Ok(action) => Ok(action),
        // Each by itself: one that can't be carried out slows no other down.
        Err(error) => {
            tracing::warn!(cluster = %names, failures, "{error}");
            Ok(Action::requeue(backoff(failures)))
        }
    }
}

/// 1 s, 2 s, 4 s … 2 minutes.
fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.clamp(1, 8).saturating_sub(1)).min(Duration::from_mins(2))
}

async fn look(
    object: &DynamicObject,
    context: &Context,
    memory: &mut Memory,
) -> Result<Action, ReconcileError> {
    let names =
        Names { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let cluster: PushCluster = match read(object) {
        Ok(cluster) => cluster,
        Err(message) => {
            unreadable(context, object, memory, &message).await?;
            return Ok(Action::await_change());
        }
    };
    if cluster.annotations().get(RECONCILE).is_some_and(|value| value == "disabled") {
        let (before, _) = written(&cluster, memory);
        let status = status::paused(&cluster, before, &now());
        write(context, &cluster, status, memory).await?;
        return Ok(Action::await_change());
    }
    let fetched = fetch::fetch(context, &cluster, memory).await;
    let found = match fetched {
        Ok(found) => found,
        Err(error) => {
            // What is there still runs; say what is wrong with the rest.
            let mut outcome = Outcome::default();
            if let FetchError::Conflict(conflict) = &error {
                outcome.conflicts.push(conflict.clone());
            }
            let plan = Err(&Invalid::Spec(error.to_string()));
            report(context, &cluster, plan, &outcome, Capable::default(), memory).await?;
            return match error {
                FetchError::Conflict(_) => Ok(Action::requeue(Duration::from_mins(1))),
                other => Err(other.into()),
            };
        }
    };
    let plan = match validate(&cluster, &context.defaults, &found) {
        Ok(plan) => plan,
        Err(invalid) => {
            ask(context, &names, None, memory).await;
            let outcome = Outcome::default();
            report(context, &cluster, Err(&invalid), &outcome, Capable::default(), memory).await?;
            // A missing Secret may come; nothing tells when.
            return Ok(Action::requeue(EVERY));
        }
    };
    let optional = plan.spec.http_route.is_some()
        || plan.spec.monitoring.as_ref().is_some_and(|m| m.pod_monitor == Some(true));
    let capable = if optional { context.capable().await } else { Capable::default() };
    let mut desired = build::all(&plan, capable)?;

    let token = found
        .values
        .get(&SecretKey { name: names.internal(), key: super::secrets::ADMIN_TOKEN.to_owned() });
    if shrinks(context, &plan) {
        // Who was empty ten seconds ago may not be any more.
        memory.asked = None;
    }
    ask(context, &names, token.map(String::as_str), memory).await;
    before_scale_down(context, &plan, memory).await;
    let pods = context.world.pods(&names);
    let live = context.world.get(Kind::Deployment, &names.namespace, &names.name);
    // Applying changes the rest of what is remembered.
    let (seen, gateways) = (memory.gateways.clone(), live.and_then(|live| live.workload));
    let pace = Pace {
        gateways: gateways.as_ref(),
        wanted: plan.replicas,
        at_once: plan.max_draining,
        pods: &pods,
        seen: &seen,
        now: now().0.as_second(),
    };
    let waits = pace.waits();
    if waits {
        pace::wait(&plan, &mut desired);
    }
    let mut outcome = apply::apply(context, &plan, &desired, &pace, memory).await;
    outcome.waits = waits;
    steer(context, &plan, memory).await;
    servers::keep_loaded(context, &plan, &found, memory).await;
    nudge(context, &plan, &pods, memory).await;
    report(context, &cluster, Ok(&plan), &outcome, capable, memory).await?;

    if let Some(error) = outcome.errors.first() {
        return Err(ReconcileError::Apply(error.to_string()));
    }
    let again = if outcome.deleting {
        Duration::from_secs(2)
    } else if !pods.is_empty() || !memory.conflicts.is_empty() {
        EVERY
    } else if !memory.read.is_empty() {
        Duration::from_mins(1)
    } else {
        RESYNC
    };
    Ok(Action::requeue(again))
}

/// The manifest as a type. A newer version's definition may have fields that
/// this one does not know.
fn read(object: &DynamicObject) -> Result<PushCluster, String> {
    let mut value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    if value.get("spec").is_none_or(Value::is_null) {
        value["spec"] = json!({});
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Asks gateways, not more often than it is worth.
async fn ask(context: &Context, names: &Names, token: Option<&str>, memory: &mut Memory) {
    let pods = context.world.pods(names);
    memory.gateways.retain(|name, _| pods.iter().any(|pod| pod.name == *name));
    let due = memory.asked.is_none_or(|when| when.elapsed() + Duration::from_secs(1) >= EVERY);
    let asked: Vec<_> = pods.iter().filter(|pod| due || memory.asks(pod)).cloned().collect();
    if asked.is_empty() {
        return;
    }
    let seen = gateways::ask(&context.http, &asked, token).await;
    if due {
        memory.gateways.clear();
        memory.asked = Some(Instant::now());
    }
    memory.gateways.extend(seen);
    memory.early.retain(|name| !asked.iter().any(|pod| pod.name == *name));
    memory.early.extend(asked.into_iter().filter(|pod| !pod.ready).map(|pod| pod.name));
}

/// Whether there are more gateways than there should be.
fn shrinks(context: &Context, plan: &Plan) -> bool {
    let live = context.world.get(Kind::Deployment, &plan.names.namespace, &plan.names.name);
    live.and_then(|live| live.workload).is_some_and(|gateways| gateways.wanted > plan.replicas)
}

/// A Deployment that shrinks deletes the pods that cost least.
async fn before_scale_down(context: &Context, plan: &Plan, memory: &Memory) {
    if !shrinks(context, plan) {
        return;
    }
    let pods = context.world.pods(&plan.names);
    for (pod, cost) in gateways::deletion_costs(&pods, &memory.gateways) {
        let patch = json!({"metadata": {"annotations": {DELETION_COST: cost.to_string()}}});
        apply::patch_pod(context, &plan.names, &pod, &patch).await;
    }
}

/// Steers new clients to the gateways that should get them.
async fn steer(context: &Context, plan: &Plan, memory: &Memory) {
    let full = plan.spec.limits.keys.get("connections").and_then(Value::as_u64);
    let full = full.unwrap_or(gateway_config::Limits::default().connections as u64);
    let pods = context.world.pods(&plan.names);
    for (pod, accepting) in gateways::accepting(&pods, &memory.gateways, full) {
        tracing::info!(cluster = %plan.names, pod, accepting, "new clients are steered");
        let patch = json!({"metadata": {"labels": {ACCEPTING: accepting.to_string()}}});
        apply::patch_pod(context, &plan.names, &pod, &patch).await;
    }
}

/// Has Kubernetes update the mounted file at once: it looks at a pod's mounts
/// when the pod changes, and else every minute or so. Once for each file, and
/// only where a gateway says that it has another.
async fn nudge(context: &Context, plan: &Plan, pods: &[PodLive], memory: &Memory) {
    let Some(expected) = &plan.config.expected_hash else { return };
    let late = pods.iter().filter(|pod| {
        !pod.deleting
            && pod.boot.as_ref() == Some(&plan.config.boot_hash)
            && pod.nudged.as_ref() != Some(expected)
            && matches!(memory.gateways.get(&pod.name), Some(gateways::Seen::Status(status))
                if status.version == status::VERSION && status.config_hash != *expected)
    });
    for pod in late {
        let patch = json!({"metadata": {"annotations": {NUDGED: expected}}});
        apply::patch_pod(context, &plan.names, &pod.name, &patch).await;
    }
}

//! What is there, reduced to what the operator looks at: a Kubernetes cluster
//! may hold many objects, and most of each is of no interest here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::kinds::Kind;
use super::names::{ACCEPTING, BOOT, DELETION_COST, GATEWAY, LOADED, MANAGER, NATS, NUDGED};
use crate::hash;

/// Fields of one person that are told of one object.
const PATHS: usize = 8;

/// Who may write into objects without being reported: the parts of Kubernetes
/// itself.
const SYSTEM: [&str; 5] = [
    "kube-controller-manager",
    "kube-scheduler",
    "kube-apiserver",
    "cloud-controller-manager",
    "kubelet",
];

/// An object that the operator made, or that says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Its identity.
    pub uid: String,
    /// Its version.
    pub version: String,
    /// The uid of the `PushCluster` that owns it.
    pub owner: Option<String>,
    /// Its kind's name and name of that owner.
    pub owner_name: Option<String>,
    /// Changes with everything but its status.
    pub fingerprint: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Where the operator's own POST stands in the list of those who own
    /// fields; see [`super::apply`].
    pub posted: Option<usize>,
    /// Fields of others: `kubectl-edit: spec.template.…`.
    pub foreign: Vec<String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What a Deployment or a StatefulSet says of itself.
    pub workload: Option<Workload>,
}

/// What a Deployment or a StatefulSet says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Pods that there should be.
    pub wanted: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Pods.
    pub replicas: i32,
    /// Whether its controller has seen the newest version of it.
    pub observed: bool,
    /// Why a rollout stands still.
    pub stalled: Option<String>,
    /// Why it can't make pods.
    pub failing: Option<String>,
    /// Size of the claims that its template makes.
    pub claim_size: Option<String>,
}

/// What runs in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A gateway.
    Gateway,
    /// A server of managed NATS.
    Nats,
}

/// A pod of a gateway or a NATS server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodLive {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Its address.
    pub ip: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is terminating.
    pub deleting: bool,
    /// When its grace period ends, in seconds since 1970, if it is.
    pub leaves_by: Option<i64>,
    /// Whether the client Service sends it new clients.
    pub accepting: bool,
    /// Which boot configuration it was started with.
    pub boot: Option<String>,
    /// What a scale-down goes by.
    pub cost: Option<String>,
    /// What keeps it from running, in Kubernetes' words.
    pub problem: Option<String>,
    /// How often its container was started again.
    pub restarts: i32,
    /// The file that its mounts should have by now.
    pub nudged: Option<String>,
    /// What a NATS server was seen to use.
    pub loaded: Option<String>,
    /// When its container was started last, or else ended; a pod without one,
    /// when it came to its node. In seconds since 1970.
    pub started: Option<i64>,
}

// === impl Live ===

impl Live {
    /// Reduces an object.
    pub fn reduce(kind: Kind, object: &DynamicObject) -> Self {
        let meta = object.meta();
        let owner = object
            .owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true) && owner.kind == "PushCluster");
        let version = object.resource_version().unwrap_or_default();
        // A Secret has no status, and its content is not watched.
        let fingerprint = if kind == Kind::Secret {
            version.clone()
        } else {
            let mut data = object.data.clone();
            if let Some(fields) = data.as_object_mut() {
                fields.remove("status");
            }
            // The Deployment controller's own notes are no change.
            let annotations: BTreeMap<_, _> = object
                .annotations()
                .iter()
                .filter(|(key, _)| !key.starts_with("deployment.kubernetes.io/"))
                .collect();
            let all = json!([meta.labels, annotations, meta.owner_references, data]);
            hash::short(all.to_string().as_bytes())
        };
        let workload = matches!(kind, Kind::Deployment | Kind::StatefulSet)
            .then(|| Workload::read(&object.data, meta.generation));
        let managed = object.managed_fields();
        let posted = managed.iter().position(|entry| {
            entry.manager.as_deref() == Some(MANAGER)
                && entry.operation.as_deref() == Some("Update")
                && entry.subresource.is_none()
        });
        let foreign = managed
            .iter()
            .filter(|entry| entry.subresource.is_none())
            .filter_map(|entry| {
                let who = entry.manager.as_deref().unwrap_or("somebody");
                if who == MANAGER || SYSTEM.contains(&who) {
                    return None;
                }
                let fields = &entry.fields_v1.as_ref()?.0;
                let mut paths = Vec::new();
                for section in ["spec", "data"] {
                    if let Some(inner) = fields.get(format!("f:{section}")) {
                        leaves(inner, section, &mut paths);
                    }
                }
                paths.retain(|path| !path.contains("kubectl.kubernetes.io/restartedAt"));
                let more = paths.len().saturating_sub(PATHS);
                paths.truncate(PATHS);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                (!paths.is_empty()).then(|| format!("{who}: {}{more}", paths.join(", ")))
            })
            .collect();
        Self {
            uid: object.uid().unwrap_or_default(),
            version,
            owner: owner.map(|owner| owner.uid.clone()),
            owner_name: owner.map(|owner| owner.name.clone()),
            fingerprint,
            deleting: meta.deletion_timestamp.is_some(),
            posted,
            foreign,
            annotations: object.annotations().clone(),
            labels: object.labels().clone(),
            workload,
        }
    }
}

// === impl Workload ===

impl Workload {
    fn read(data: &Value, generation: Option<i64>) -> Self {
        let number = |path: &str| {
            let number = data.pointer(path).and_then(Value::as_i64).unwrap_or_default();
            i32::try_from(number).unwrap_or(i32::MAX)
        };
        let condition = |kind: &str, status: &str| {
            let all = data.pointer("/status/conditions").and_then(Value::as_array);
            let one = all
                .into_iter()
                .flatten()
                .find(|condition| condition["type"] == kind && condition["status"] == status)?;
            Some(one["message"].as_str().unwrap_or_default().to_owned())
        };
        let observed = data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        Self {
            wanted: number("/spec/replicas"),
            ready: number("/status/readyReplicas"),
            available: number("/status/availableReplicas"),
            updated: number("/status/updatedReplicas"),
            replicas: number("/status/replicas"),
            observed: observed >= generation,
            stalled: condition("Progressing", "False"),
            failing: condition("ReplicaFailure", "True"),
            claim_size: data
                .pointer("/spec/volumeClaimTemplates/0/spec/resources/requests/storage")
                .and_then(Value::as_str)
                .map(str::to_owned),
        }
    }
}

/// The paths of a set of fields: `f:spec`, `k:{"name":"gateway"}`.
fn leaves(fields: &Value, path: &str, paths: &mut Vec<String>) {
    let Some(inner) = fields.as_object().filter(|inner| inner.keys().any(|key| key != ".")) else {
        paths.push(path.to_owned());
        return;
    };
    for (key, value) in inner.iter().filter(|(key, _)| *key != ".") {
        let name = key.split_once(':').map_or(key.as_str(), |(_, name)| name);
        let path = if key.starts_with("f:") {
            format!("{path}.{name}")
        } else {
            format!("{path}[{name}]")
        };
        // An element that is somebody's as a whole hides no other field.
        if key.starts_with("k:") && value.get(".").is_some() {
            paths.push(path);
            continue;
        }
        leaves(value, &path, paths);
    }
}

// === impl PodLive ===

impl PodLive {
    /// Reduces a pod; none if it is neither a gateway's nor a NATS server's.
    /// With the name of its `PushCluster`.
    pub fn reduce(pod: &Pod) -> Option<(String, Role, Self)> {
        let labels = pod.labels();
        let role = match labels.get("app.kubernetes.io/name").map(String::as_str) {
            Some(GATEWAY) => Role::Gateway,
            Some(NATS) => Role::Nats,
            _ => return None,
        };
        let cluster = labels.get("app.kubernetes.io/instance")?.clone();
        let status = pod.status.clone().unwrap_or_default();
        let container = status.container_statuses.as_ref().and_then(|all| all.first());
        let waiting = container
            .and_then(|container| container.state.as_ref())
            .and_then(|state| state.waiting.as_ref())
            // What every pod goes through.
            .filter(|waiting| {
                !matches!(waiting.reason.as_deref(), Some("ContainerCreating" | "PodInitializing"))
            })
            .map(|waiting| {
                let reason = waiting.reason.as_deref().unwrap_or("waiting");
                waiting.message.as_ref().map_or_else(
                    || reason.to_owned(),
                    |message| format!("{reason}: {}", first_line(message)),
                )
            });
        let last = container
            .and_then(|container| container.last_state.as_ref())
            .and_then(|state| state.terminated.as_ref())
            .and_then(|ended| ended.message.as_deref())
            .map(first_line);
        let unschedulable = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        let restarts = container.map_or(0, |container| container.restart_count);
        let runs = container.and_then(|container| container.state.as_ref()?.running.as_ref());
        let ended =
            container.and_then(|container| container.last_state.as_ref()?.terminated.as_ref());
        let started = runs
            .and_then(|running| running.started_at.clone())
            .or_else(|| ended.and_then(|ended| ended.finished_at.clone()))
            .or(status.start_time);
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let problem = match (waiting, last) {
            (Some(waiting), Some(last)) => Some(format!("{waiting}; it ended with: {last}")),
            (Some(waiting), None) => Some(waiting),
            (None, Some(last)) if restarts > 0 && !ready => {
                Some(format!("started again, not ready; before, it ended with: {last}"))
            }
            (None, _) => unschedulable.map(|condition| {
                format!("cannot be placed: {}", condition.message.as_deref().unwrap_or_default())
            }),
        };
        Some((
            cluster,
            role,
            Self {
                name: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
                ip: status.pod_ip.filter(|_| status.phase.as_deref() == Some("Running")),
                ready,
                deleting: pod.meta().deletion_timestamp.is_some(),
                leaves_by: pod.meta().deletion_timestamp.as_ref().map(|time| time.0.as_second()),
                accepting: labels.get(ACCEPTING).is_some_and(|value| value == "true"),
                boot: labels.get(BOOT).cloned(),
                cost: pod.annotations().get(DELETION_COST).cloned(),
                problem,
                restarts,
                nudged: pod.annotations().get(NUDGED).cloned(),
                loaded: pod.annotations().get(LOADED).cloned(),
                started: started.map(|time| time.0.as_second()),
            },
        ))
    }
}

fn first_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    // What a program says last is why it ended.
    lines.last().map(|line| line.chars().take(300).collect()).unwrap_or_default()
}

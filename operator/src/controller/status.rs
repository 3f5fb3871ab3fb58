//! What is reported: conditions in words, and the rest of the status. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::apply::Outcome;
use super::build::Capable;
use super::gateways::{GatewayStatus, Seen};
use super::live::{PodLive, Workload};
use super::names::{Names, port};
use super::plan::{NatsPlan, Plan};
use super::validate::Invalid;
use crate::crd::{Endpoints, NatsStatus, PushCluster, PushClusterStatus, Secrets};

mod conditions;

pub use conditions::is_rolling;

#[cfg(test)]
mod tests;

/// Whether the status says that nothing is under way.
pub fn is_settled(status: &PushClusterStatus) -> bool {
    status.conditions.iter().any(|one| one.type_ == "Progressing" && one.reason == "Settled")
}

/// The operator's version; gateways of the same one load configurations to
/// the same hash.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a status is made from.
#[derive(Debug)]
pub struct View<'a> {
    /// The manifest.
    pub cluster: &'a PushCluster,
    /// What is to be, or why nothing can be done.
    pub plan: Result<&'a Plan, &'a Invalid>,
    /// What the gateways' Deployment says.
    pub gateways: Option<Workload>,
    /// What the NATS servers' StatefulSet says.
    pub servers: Option<Workload>,
    /// The gateways' pods.
    pub pods: &'a [PodLive],
    /// The NATS servers' pods.
    pub server_pods: &'a [PodLive],
    /// What gateways say.
    pub seen: &'a BTreeMap<String, Seen>,
    /// Pods that are gone although nobody asked for it.
    pub gone: &'a [String],
    /// The same of NATS servers.
    pub servers_gone: &'a [String],
    /// NATS servers that don't use their newest certificate or configuration.
    pub late: &'a [String],
    /// The status as it was written last.
    pub before: &'a PushClusterStatus,
    /// What came of applying the plan.
    pub outcome: &'a Outcome,
    /// What could not be read or made before that.
    pub failed: Option<String>,
    /// Which optional kinds there are.
    pub capable: Capable,
    /// Seconds since 1970.
    pub now: i64,
}

/// One condition, before it is known since when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `Ready`
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word.
    pub reason: &'static str,
    /// What holds, and what to do.
    pub message: String,
}

/// The status of one that is left alone; `status` was written last.
pub fn paused(
    cluster: &PushCluster,
    mut status: PushClusterStatus,
    now: &Time,
) -> PushClusterStatus {
    let finding = Finding::new(
        "Paused",
        "True",
        "Disabled",
        "the annotation pushcluster.io/reconcile: disabled keeps the operator away; remove it, or run kubectl push resume",
    );
    let before = status.conditions.clone();
    let mut conditions: Vec<Condition> =
        before.iter().filter(|condition| condition.type_ != "Paused").cloned().collect();
    let generation = cluster.metadata.generation;
    conditions.extend(settle(vec![finding], &before, generation, now));
    status.conditions = conditions;
    status
}

/// The status.
pub fn status(view: &View<'_>, now: &Time) -> PushClusterStatus {
    let cluster = view.cluster;
    let names = Names::of(cluster);
    let before = view.before.clone();
    let generation = cluster.metadata.generation;
    let answers: Vec<&GatewayStatus> =
        conditions::answering(view).into_iter().map(|(_, status)| status).collect();
    let gateways = view.gateways.clone().unwrap_or_default();
    let here = view.pods.iter().filter(|pod| !pod.deleting).count();
    let draining = view
        .pods
        .iter()
        .filter(|pod| {
            pod.deleting
                || matches!(view.seen.get(&pod.name), Some(Seen::Status(status)) if status.draining)
        })
        .count();
    let hashes: BTreeSet<&str> = answers.iter().map(|status| status.config_hash.as_str()).collect();
    let config_hash = (answers.len() == here && hashes.len() == 1)
        .then(|| hashes.first().map(|hash| (*hash).to_owned()))
        .flatten();
    let conditions = settle(conditions::all(view), &before.conditions, generation, now);
    let mut status = PushClusterStatus {
        observed_generation: generation,
        replicas: count(here),
        ready_replicas: gateways.ready,
        updated_replicas: gateways.updated,
        draining_replicas: count(draining),
        connections: i64::try_from(answers.iter().map(|status| status.connections).sum::<u64>())
            .unwrap_or(i64::MAX),
        selector: Some(names.selector_text()),
        config_hash,
        conditions,
        ..before
    };
    if let Ok(plan) = view.plan {
        let managed = plan.managed_nats().is_some();
        status.desired_replicas = plan.replicas;
        status.image = Some(plan.image.name.clone());
        status.endpoints = Some(Endpoints {
            client: format!("{}:{}", names.host(&names.name), port::SERVICE),
            api: format!("{}:{}", names.host(&names.api()), port::SERVICE),
            nats: managed.then(|| format!("{}:{}", names.host(&names.nats()), port::NATS)),
        });
        let own_keys = plan.spec.auth.as_ref().is_none_or(|auth| auth.api_keys_secret.is_none());
        status.secrets = Some(Secrets {
            api_key: own_keys.then(|| names.api_key()),
            nats_app: managed.then(|| names.nats_app()),
        });
        let version = answers.iter().find_map(|status| status.nats.version.clone());
        status.nats = Some(NatsStatus {
            prefix: plan.prefix.clone(),
            stream: plan.stream(),
            version: version.or_else(|| status.nats.and_then(|nats| nats.version)),
            stream_replicas: plan.stream_replicas,
        });
    }
    status
}

/// Whether a status is worth writing: connections alone are only after 30 s
/// and a change of 5 %. Takes the old number over where they are not.
pub fn is_news(
    before: &PushClusterStatus,
    now: &mut PushClusterStatus,
    since: std::time::Duration,
) -> bool {
    let (old, new) = (before.connections, now.connections);
    let moved = (new - old).abs() * 20 >= old.max(1);
    if new != old && !(moved && since.as_secs() >= 30) {
        now.connections = old;
    }
    before != now
}

/// Conditions with the time since which they hold.
fn settle(
    findings: Vec<Finding>,
    before: &[Condition],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    findings
        .into_iter()
        .map(|finding| {
            let since = before
                .iter()
                .find(|old| old.type_ == finding.kind && old.status == finding.status)
                .map_or_else(|| now.clone(), |old| old.last_transition_time.clone());
            Condition {
                type_: finding.kind.to_owned(),
                status: finding.status.to_owned(),
                reason: finding.reason.to_owned(),
                // The API server takes 32 KiB; nobody reads that much.
                message: finding.message.chars().take(1_500).collect(),
                last_transition_time: since,
                observed_generation: generation,
            }
        })
        .collect()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Where NATS is, for people.
fn nats_url(plan: &Plan) -> String {
    match &plan.nats {
        NatsPlan::External(external) => external.url.clone(),
        NatsPlan::Managed(_) => {
            format!("tls://{}:{}", plan.names.host(&plan.names.nats()), port::NATS)
        }
    }
}

// === impl Finding ===

impl Finding {
    fn new(
        kind: &'static str,
        status: &'static str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, status, reason, message: message.into() }
    }
}

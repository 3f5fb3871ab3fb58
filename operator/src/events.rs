//! Events: what a person must know, once.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::controller::config::is_open;
use crate::controller::live::PodLive;
use crate::controller::plan::{Plan, Wire};
use crate::controller::status::{self, View};
use crate::controller::validate::Invalid;
use crate::crd::{PushCluster, PushClusterStatus};
use crate::hash;

/// Writes Events. Each is an object of its own: what kube's recorder takes for
/// a repetition (same reason, another text) is another thing here.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    identity: String,
}

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// Whether somebody should do something.
    pub warning: bool,
    /// One word.
    pub reason: &'static str,
    /// What happened, and what to do.
    pub note: String,
    /// What it is of, where it happens once: another operator that comes to
    /// act does not say it again.
    pub once: Option<String>,
}

/// As long API servers keep Events (`--event-ttl`, one hour unless set). What
/// is older is no news, and nobody can tell any more whether it was said.
const KEPT: i64 = 3_600;

/// What is said of something that holds for a while, not of something that
/// happened.
const HOLD: [&str; 10] = [
    "ApplyFailed",
    "Degraded",
    "ForeignFields",
    "InvalidManifest",
    "NatsPlaintext",
    "NatsUnreachable",
    "OpenToEverybody",
    "Ready",
    "ResourceConflict",
    "SecretMissing",
];

/// All that is to be said of what was seen now. What was said already is not
/// said again.
pub fn all(cluster: &PushCluster, view: &View<'_>, status: &PushClusterStatus) -> Vec<Say> {
    let mut all: Vec<_> = restarted(view, "GatewayRestarted", "gateway", view.pods).collect();
    all.extend(restarted(view, "NatsServerRestarted", "NATS server", view.server_pods));
    let mut warn = |reason, note: String| all.push(Say::warning(reason, note));
    match view.plan {
        Err(Invalid::Secret { message, .. }) => warn("SecretMissing", message.clone()),
        Err(invalid) if view.outcome.conflicts.is_empty() => {
            warn("InvalidManifest", invalid.to_string());
        }
        Ok(_) if is_open(&cluster.spec) => warn(
            "OpenToEverybody",
            "the manifest has neither auth.jwt nor auth.anonymous: everybody may connect and subscribe, and only apps publish; set one of them".to_owned(),
        ),
        Err(_) | Ok(_) => {}
    }
    if let Some(conflict) = view.outcome.conflicts.first() {
        warn("ResourceConflict", conflict.to_string());
    }
    if let Some(error) = view.outcome.errors.first() {
        warn("ApplyFailed", error.to_string());
    }
    if !view.outcome.foreign.is_empty() {
        warn("ForeignFields", view.outcome.foreign.join("; "));
    }
    for gone in view.gone {
        let note = format!(
            "gateway {gone} is gone: deleted, evicted or its node lost; another takes its place, and its clients come back to any"
        );
        warn("GatewayGone", note);
    }
    for gone in view.servers_gone {
        let note = format!(
            "NATS server {gone} is gone: deleted, evicted or its node lost; it is made anew with its volume, and the others go on meanwhile"
        );
        warn("NatsServerGone", note);
    }
    let condition = |kind: &str| status.conditions.iter().find(|one| one.type_ == kind);
    if let Some(nats) = condition("NatsReady").filter(|one| one.reason == "Unreachable") {
        warn("NatsUnreachable", nats.message.clone());
    }
    if let Some(degraded) = condition("Degraded").filter(|one| {
        one.status == "True" && one.reason != "ForeignFields" && one.reason != "ApplyFailed"
    }) {
        warn("Degraded", degraded.message.clone());
    }
    if !view.outcome.undone.is_empty() {
        warn("DriftUndone", format!("put right: {}", view.outcome.undone.join("; ")));
    }
    if let Some(plan) = view.plan.ok().filter(|plan| is_upgraded(plan)) {
        let note = format!(
            "NATS still takes clients without TLS, as it was made before there was TLS: have apps read url and ca.crt in the Secret \"{}\" again, then set nats.managed.allowPlaintext: false",
            plan.names.nats_app()
        );
        warn("NatsPlaintext", note);
    }
    let (rolled, rolls) = (status::is_rolling(view.before), status::is_rolling(status));
    let mut tell = |reason, note: String| all.push(Say::normal(reason, note));
    let progress = status.conditions.iter().find(|one| one.type_ == "Progressing");
    let words = progress.map(|one| one.message.clone()).unwrap_or_default();
    let generation = status.observed_generation.unwrap_or_default();
    if rolls && !rolled {
        tell("RolloutStarted", format!("of generation {generation}: {words}"));
    }
    if rolled && status::is_settled(status) {
        tell("RolloutFinished", format!("of generation {generation}: {words}"));
    }
    if let Some(ready) = condition("Ready").filter(|one| one.status == "True") {
        all.push(Say::normal("Ready", ready.message.clone()));
    }
    let since = since(cluster, status);
    for say in all.iter_mut().filter(|say| HOLD.contains(&say.reason)) {
        say.once = Some(format!("{since} {}", say.note));
    }
    all
}

/// Tells one time that something holds from another: the manifest or a
/// condition has changed in between. To every operator that looks it is the same.
fn since(cluster: &PushCluster, status: &PushClusterStatus) -> String {
    let (uid, generation) = (cluster.metadata.uid.as_deref(), cluster.metadata.generation);
    let mut since = format!("{} {}", uid.unwrap_or_default(), generation.unwrap_or_default());
    for condition in &status.conditions {
        let (kind, at) = (&condition.type_, &condition.last_transition_time.0);
        // Writing into a String does not fail.
        let _ = write!(since, " {kind} {}", at.as_second());
    }
    since
}

/// Pods whose container was started again not long ago.
fn restarted(
    view: &View<'_>,
    reason: &'static str,
    what: &str,
    pods: &[PodLive],
) -> impl Iterator<Item = Say> {
    let recent = |pod: &&PodLive| pod.started.is_none_or(|at| view.now - at < KEPT);
    let pods = pods.iter().filter(|pod| !pod.deleting && pod.restarts > 0).filter(recent);
    pods.map(move |pod| {
        let PodLive { name, uid, restarts, .. } = pod;
        let note = format!("{what} {name} was started again, {restarts} times by now");
        Say { once: Some(format!("{uid} {restarts}")), ..Say::warning(reason, note) }
    })
}

/// Whether NATS takes clients without TLS only because it always has.
fn is_upgraded(plan: &Plan) -> bool {
    let nats = plan.spec.nats.as_ref().and_then(|nats| nats.managed.as_ref());
    let unsaid = nats.and_then(|managed| managed.allow_plaintext).is_none();
    unsaid && plan.managed_nats().is_some_and(|managed| managed.wire == Wire::Upgraded)
}

// === impl Say ===

impl Say {
    /// Somebody should do something.
    pub fn warning(reason: &'static str, note: String) -> Self {
        Self { warning: true, reason, note, once: None }
    }

    /// Good to know.
    pub fn normal(reason: &'static str, note: String) -> Self {
        Self { warning: false, reason, note, once: None }
    }

    /// The Event's name; that of what happens once follows from what it is.
    fn name(&self, about: &str, now: Timestamp) -> String {
        match &self.once {
            // As kubectl's own are named.
            None => format!("{about}.{:x}", now.as_nanosecond()),
            Some(once) => {
                format!("{about}.{}", hash::short(format!("{} {once}", self.reason).as_bytes()))
            }
        }
    }
}

// === impl Recorder ===

impl Recorder {
    /// For this replica.
    pub fn new(client: Client, identity: &str) -> Self {
        Self { client, identity: identity.to_owned() }
    }

    /// Says it of an object.
    pub async fn publish(&self, say: &Say, about: &ObjectReference) -> Result<(), kube::Error> {
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let now = Timestamp::now();
        let name = say.name(about.name.as_deref().unwrap_or("push"), now);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(if say.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(say.reason.to_owned()),
            // 1 kB is all that fits.
            note: Some(say.note.chars().take(900).collect()),
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about.clone()),
            reporting_controller: Some("pushcluster.io/push-operator".to_owned()),
            reporting_instance: Some(self.identity.clone()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        match api.create(&PostParams::default(), &event).await {
            // The operator that acted before has said it.
            Err(kube::Error::Api(answer)) if answer.code == 409 && say.once.is_some() => Ok(()),
            created => created.map(|_| ()),
        }
    }
}

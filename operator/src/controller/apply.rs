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

use super::build::Desired;
use super::context::Context;
use super::kinds::Kind;
use super::live::Live;
use super::memory::{Applied, Memory};
use super::pace::Pace;
use super::plan::Plan;
use crate::hash;

mod request;
mod sweep;

pub(super) use request::patch_pod;
use request::{change, create, read, replace_lists};

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

/// What comes before another version of the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// NATS servers are renewed.
    Nats,
    /// Gateways drain.
    Drain,
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
    /// Another version of the gateways is wanted, and waits for something.
    pub held: Option<Held>,
    /// A rollout waits until a gateway has drained.
    pub waits: bool,
    /// Something is being deleted, and will be made again.
    pub deleting: bool,
}

/// Applies everything, and deletes what is no longer wanted.
pub async fn apply(
    context: &Context,
    plan: &Plan,
    desired: &[Desired],
    pace: &Pace<'_>,
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
        let nats_first = nats_is_renewed(context, plan);
        match hold(context, plan, wanted, nats_first, pace, memory) {
            Hold::Go => {
                one(context, plan, wanted, memory, &mut outcome).await;
                memory.gateways_as = Some(wanted.body.clone());
                continue;
            }
            // Scaled and put right, but not renewed.
            Hold::As(held) => one(context, plan, &held, memory, &mut outcome).await,
            Hold::Still => {}
        }
        outcome.held = Some(if nats_first { Held::Nats } else { Held::Drain });
    }
    if outcome.errors.is_empty() && outcome.held.is_none() {
        sweep::sweep(context, plan, desired, pace.pods, memory, &mut outcome).await;
    }
    sweep::grow(context, plan, memory, &mut outcome).await;
    outcome
}

/// Whether gateways may be renewed: not while NATS servers are, and not while too
/// many drain.
enum Hold {
    /// They may be.
    Go,
    /// The Deployment as it was applied last, with the new number of gateways.
    As(Desired),
    /// How it was applied last is not known; it stays as it is.
    Still,
}

/// Whether servers of managed NATS are being replaced.
fn nats_is_renewed(context: &Context, plan: &Plan) -> bool {
    let servers = context.world.get(Kind::StatefulSet, &plan.names.namespace, &plan.names.nats());
    plan.managed_nats().is_some()
        && servers.and_then(|live| live.workload).is_some_and(|servers| {
            servers.replicas > 0 && (!servers.observed || servers.updated < servers.wanted)
        })
}

fn hold(
    context: &Context,
    plan: &Plan,
    wanted: &Desired,
    nats_first: bool,
    pace: &Pace<'_>,
    memory: &Memory,
) -> Hold {
    let made = context.world.get(Kind::Deployment, &plan.names.namespace, &wanted.name).is_some();
    let Some(before) = memory.gateways_as.as_ref().filter(|_| made) else {
        return if made && nats_first { Hold::Still } else { Hold::Go };
    };
    let renews = before["spec"]["template"] != wanted.body["spec"]["template"];
    if !renews || !(nats_first || pace.renewal_waits()) {
        return Hold::Go;
    }
    let mut body = before.clone();
    for field in ["replicas", "minReadySeconds", "progressDeadlineSeconds"] {
        body["spec"][field] = wanted.body["spec"][field].clone();
    }
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

//! How fast a rollout goes: no faster than gateways drain.
//!
//! Kubernetes goes by `minReadySeconds` alone: it has the next gateway drain
//! however long the one before takes. So while as many drain as may, that is
//! raised.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::build::deployment::STALLED_AFTER;
use super::build::{Desired, seconds};
use super::gateways::Seen;
use super::kinds::Kind;
use super::live::{PodLive, Workload};
use super::plan::Plan;

#[cfg(test)]
mod tests;

/// After the end of its grace period a pod is gone within so long, wherever
/// there is a kubelet to end it. Later it is on a node that is lost, with all of
/// its clients, and nothing waits for it.
const LOST_AFTER: Duration = Duration::from_mins(2);

/// The gateways of one `PushCluster`, as they are looked at for their pace.
#[derive(Debug)]
pub struct Pace<'a> {
    /// What their Deployment says.
    pub gateways: Option<&'a Workload>,
    /// How many there should be.
    pub wanted: i32,
    /// How many may drain at once.
    pub at_once: i32,
    /// All of their pods.
    pub pods: &'a [PodLive],
    /// What they say.
    pub seen: &'a BTreeMap<String, Seen>,
    /// Seconds since 1970.
    pub now: i64,
}

// === impl Pace ===

impl Pace<'_> {
    /// Whether Kubernetes must not have another gateway drain now.
    ///
    /// A rollout deletes as many old gateways as there are more than wanted
    /// that have been ready for `minReadySeconds`. That is longer than a look
    /// takes: so it is enough to look at those that are ready.
    pub fn waits(&self) -> bool {
        let rolls = self.gateways.is_some_and(|all| !all.observed || all.updated < all.replicas);
        rolls && self.is_too_much(|pod| pod.ready)
    }

    /// Whether there must be no newer template now. In the middle of a rollout
    /// it ends gateways at once that have just started for the one before.
    pub fn renewal_waits(&self) -> bool {
        self.is_too_much(|_| true)
    }

    /// Whether too many would drain, if as many of these went as there are more
    /// than wanted.
    fn is_too_much(&self, these: impl Fn(&PodLive) -> bool) -> bool {
        let draining = self.pods.iter().filter(|pod| self.drains(pod)).count();
        let staying = self.pods.iter().filter(|pod| !pod.deleting && these(pod)).count();
        let may_go = staying.saturating_sub(usize::try_from(self.wanted).unwrap_or_default());
        let at_once = usize::try_from(self.at_once).unwrap_or_default();
        draining > 0 && may_go > 0 && draining + may_go > at_once
    }

    /// Whether a gateway sends its clients away: because its pod goes, or
    /// because somebody has told it to.
    fn drains(&self, pod: &PodLive) -> bool {
        if pod.deleting {
            return pod.leaves_by.is_none_or(|end| self.now < end + seconds(LOST_AFTER));
        }
        matches!(self.seen.get(&pod.name), Some(Seen::Status(status))
            if status.draining && status.drain_remaining.is_some_and(|left| left > 0))
    }
}

/// Has Kubernetes wait with the rollout: no new gateway has been ready for long
/// enough, until this is no longer so. If no operator comes to say that, it goes on
/// when whoever drains now must be gone.
pub fn wait(plan: &Plan, desired: &mut [Desired]) {
    let ready = seconds(plan.min_ready() + plan.grace() + LOST_AFTER);
    for gateways in desired.iter_mut().filter(|one| one.kind == Kind::Deployment) {
        let spec = &mut gateways.body["spec"];
        spec["minReadySeconds"] = json!(ready);
        // Kubernetes wants it to be more.
        spec["progressDeadlineSeconds"] = json!(ready + i64::from(STALLED_AFTER));
    }
}

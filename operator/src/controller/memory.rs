//! What the operator remembers of a `PushCluster` between two looks at it. All
//! of it may be lost: it saves requests, and decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use super::gateways::Seen;
use super::kinds::Kind;
use super::live::PodLive;
use crate::crd::PushClusterStatus;

/// What is remembered of one `PushCluster`.
#[derive(Debug, Default)]
pub struct Memory {
    /// Of each object what was applied last, and what it looked like then.
    pub applied: HashMap<(Kind, String), Applied>,
    /// The gateways' Deployment as it was wanted last.
    pub gateways_as: Option<serde_json::Value>,
    /// Objects of strangers, and when they were last found in the way.
    pub conflicts: BTreeMap<(Kind, String), Instant>,
    /// The operator's own Secrets: their version and content.
    pub kept: HashMap<String, (String, BTreeMap<String, String>)>,
    /// Users' Secrets: when they were read, and their content if they are there.
    pub read: HashMap<String, (Instant, Option<BTreeMap<String, String>>)>,
    /// What gateways said last, by the pod's name.
    pub gateways: BTreeMap<String, Seen>,
    /// Those that were not ready yet when they said it.
    pub early: BTreeSet<String>,
    /// When they were last asked.
    pub asked: Option<Instant>,
    /// Gateways' pods when all was as it should be, and the Deployment then.
    pub settled: Option<(String, Vec<String>)>,
    /// The same of NATS servers: the StatefulSet then, and each pod's identity.
    pub servers_settled: Option<(String, BTreeMap<String, String>)>,
    /// NATS servers that don't use yet what they should.
    pub servers: BTreeMap<String, Behind>,
    /// The status as it was last written, and when.
    pub status: Option<(PushClusterStatus, Instant)>,
    /// Failures in a row.
    pub failures: u32,
    /// Size to which claims were last grown.
    pub claims: Option<String>,
    /// What was said in Events and still holds, by reason and text.
    pub said: HashSet<(&'static str, String)>,
}

/// A NATS server that does not use yet what it should.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Since when that is known.
    pub since: Instant,
    /// When it was last asked.
    pub asked: Instant,
    /// When its pod was last changed so that Kubernetes mounts what is new.
    pub nudged: Option<Instant>,
    /// What went wrong.
    pub trouble: Option<String>,
}

/// What was applied last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Hash of what was wanted.
    pub wanted: String,
    /// What came of it; see [`super::live::Live::fingerprint`].
    pub fingerprint: String,
}

// === impl Memory ===

impl Memory {
    /// Whether a gateway is to be asked at once: because it is new, or was when
    /// it said that it takes no clients yet.
    pub fn asks(&self, pod: &PodLive) -> bool {
        let known = self.gateways.contains_key(&pod.name);
        pod.ip.is_some() && (!known || (pod.ready && self.early.contains(&pod.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, PodLive, Seen};
    use crate::controller::gateways::GatewayStatus;

    #[test]
    fn a_gateway_is_asked_when_it_is_new_and_when_it_is_ready() {
        let pod = |ip: Option<&str>, ready| PodLive {
            name: "a".to_owned(),
            ip: ip.map(str::to_owned),
            ready,
            ..PodLive::default()
        };
        let mut memory = Memory::default();
        assert!(!memory.asks(&pod(None, false)), "it has no address yet");
        assert!(memory.asks(&pod(Some("10.0.0.1"), false)), "it is new");
        memory.gateways.insert("a".to_owned(), Seen::Status(GatewayStatus::default()));
        memory.early.insert("a".to_owned());
        assert!(!memory.asks(&pod(Some("10.0.0.1"), false)), "it has said that it starts");
        assert!(memory.asks(&pod(Some("10.0.0.1"), true)), "that is over");
        memory.early.clear();
        assert!(!memory.asks(&pod(Some("10.0.0.1"), true)));
    }
}

//! What every reconcile works with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;

use super::build::Capable;
use super::kinds::Kind;
use super::memory::Memory;
use super::names::Names;
use super::validate::Defaults;
use super::world::World;
use crate::events::Recorder;
use crate::metrics::Metrics;

/// Kinds that an API server may gain are looked for again after so long.
const DISCOVER_AGAIN: Duration = Duration::from_mins(5);

/// What every reconcile works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What is there.
    pub world: Arc<World>,
    /// What the operator was started with.
    pub defaults: Defaults,
    /// Counts.
    pub metrics: Metrics,
    /// Asks gateways.
    pub http: reqwest::Client,
    /// Tells people.
    pub recorder: Recorder,
    /// Whether this operator looks after all namespaces, but for those that
    /// have one of their own.
    pub everywhere: bool,
    memory: Mutex<HashMap<Names, (String, Memory)>>,
    capable: Mutex<Option<(Instant, Capable)>>,
}

// === impl Context ===

impl Context {
    /// Knows nothing yet.
    pub fn new(
        client: Client,
        world: Arc<World>,
        defaults: Defaults,
        metrics: Metrics,
        http: reqwest::Client,
        recorder: Recorder,
        everywhere: bool,
    ) -> Self {
        let (memory, capable) = (Mutex::default(), Mutex::default());
        Self { client, world, defaults, metrics, http, recorder, everywhere, memory, capable }
    }

    /// Takes what is remembered of one; nobody else looks at it meanwhile. One
    /// of the same name that was made anew begins from nothing.
    pub fn take(&self, names: &Names, uid: &str) -> Memory {
        let mut all = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(names).filter(|(before, _)| before == uid).map(|(_, m)| m).unwrap_or_default()
    }

    /// Remembers.
    pub fn keep(&self, names: Names, uid: String, memory: Memory) {
        let mut all = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(names, (uid, memory));
    }

    /// Forgets those that are gone.
    pub fn forget(&self, there: impl Fn(&Names) -> bool) {
        let mut all = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|names, _| there(names));
    }

    /// Which optional kinds the API server has. Asked only for a manifest that
    /// wants one, and not often.
    pub async fn capable(&self) -> Capable {
        let known = *self.capable.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, capable)) = known
            && when.elapsed() < DISCOVER_AGAIN
        {
            return capable;
        }
        let capable = Capable {
            http_route: self.has(Kind::HttpRoute).await,
            pod_monitor: self.has(Kind::PodMonitor).await,
        };
        *self.capable.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), capable));
        capable
    }

    async fn has(&self, kind: Kind) -> bool {
        let resource = kind.resource();
        let found = self.client.list_api_group_resources(&resource.api_version).await;
        found.is_ok_and(|list| list.resources.iter().any(|one| one.kind == resource.kind))
    }
}

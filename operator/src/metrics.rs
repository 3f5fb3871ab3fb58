//! What the operator counts.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::controller::kinds::Kind;

/// What the operator counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    requests: Family<Request, Counter>,
    /// 1 while this replica leads.
    pub leading: Gauge,
    /// `PushCluster`s that are watched.
    pub clusters: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    kind: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// All at zero, and where they are read.
    pub fn new() -> (Self, Arc<Registry>) {
        let mut registry = Registry::with_prefix("push_operator");
        let metrics = Self {
            reconciles: Family::default(),
            duration: Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
            requests: Family::default(),
            leading: Gauge::default(),
            clusters: Gauge::default(),
        };
        registry.register(
            "reconciles",
            "Looks at a PushCluster, by what failed",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Time that a look at a PushCluster took",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "requests",
            "Requests to the API server, but for watches, leases and events",
            metrics.requests.clone(),
        );
        registry.register("leading", "1 while this replica leads", metrics.leading.clone());
        registry.register("clusters", "PushClusters", metrics.clusters.clone());
        (metrics, Arc::new(registry))
    }

    /// A request for an object of the operator's.
    pub fn request(&self, verb: &'static str, kind: Kind) {
        self.request_of(verb, kind.name());
    }

    /// A request for another kind.
    pub fn request_of(&self, verb: &'static str, kind: &'static str) {
        self.requests.get_or_create(&Request { verb, kind }).inc();
    }

    /// A look at a `PushCluster`; `ok`, or the stage that failed.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }
}

//! What the Prometheus operator reads.

use serde_json::{Value, json};

use super::{meta, select};
use crate::controller::names::GATEWAY;
use crate::controller::plan::Plan;

/// The monitor, if the manifest asks for one.
pub fn gateway(plan: &Plan) -> Option<Value> {
    let written = plan.spec.monitoring.as_ref().filter(|m| m.pod_monitor == Some(true))?;
    let mut metadata = meta(plan, plan.names.name.clone(), GATEWAY);
    if let Some(labels) = &mut metadata.labels {
        // Ours win: by them it is found again.
        let mut all = written.labels.clone();
        all.append(labels);
        *labels = all;
    }
    Some(json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata,
        "spec": {
            "selector": select(plan, GATEWAY),
            "podMetricsEndpoints": [{"port": "admin", "path": "/metrics"}],
        },
    }))
}

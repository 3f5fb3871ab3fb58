//! How many pods a node's drain may evict at once.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{meta, select};
use crate::controller::names::{GATEWAY, NATS};
use crate::controller::plan::Plan;

/// The gateways'.
pub fn gateway(plan: &Plan) -> PodDisruptionBudget {
    budget(plan, plan.names.name.clone(), GATEWAY, plan.max_draining)
}

/// The NATS servers': one less than a majority of three.
pub fn nats(plan: &Plan) -> PodDisruptionBudget {
    budget(plan, plan.names.nats(), NATS, 1)
}

fn budget(plan: &Plan, name: String, app: &str, unavailable: i32) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: meta(plan, name, app),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(unavailable)),
            selector: Some(select(plan, app)),
            // A pod that is broken anyway must not hold up a node's drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

//! Configuration that is no secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{meta, nats as conf};
use crate::controller::names::{BOOT, GATEWAY, NATS};
use crate::controller::plan::{ManagedPlan, Plan};

/// File of a NATS server's configuration.
pub const NATS_CONF: &str = "nats.conf";

/// What gateways read when they start. Named by its content and immutable: a
/// pod that starts again in the middle of a rollout gets what it had.
pub fn boot(plan: &Plan) -> ConfigMap {
    let mut metadata = meta(plan, plan.names.boot(&plan.config.boot_hash), GATEWAY);
    if let Some(labels) = &mut metadata.labels {
        labels.insert(BOOT.to_owned(), plan.config.boot_hash.clone());
    }
    ConfigMap {
        metadata,
        immutable: Some(true),
        data: Some(plan.config.boot.clone()),
        ..ConfigMap::default()
    }
}

/// The NATS servers' configuration. Passwords come from the environment.
pub fn nats(plan: &Plan, managed: &ManagedPlan) -> ConfigMap {
    ConfigMap {
        metadata: meta(plan, plan.names.nats(), NATS),
        immutable: Some(false),
        data: Some(BTreeMap::from([(NATS_CONF.to_owned(), conf::config(plan, managed))])),
        ..ConfigMap::default()
    }
}

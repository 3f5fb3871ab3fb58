//! Pods' identities. They may do nothing at the API server, and get no token.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::meta;
use crate::controller::names::{GATEWAY, NATS};
use crate::controller::plan::Plan;

/// The gateways'.
pub fn gateway(plan: &Plan) -> ServiceAccount {
    ServiceAccount {
        metadata: meta(plan, plan.names.name.clone(), GATEWAY),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The NATS servers'.
pub fn nats(plan: &Plan) -> ServiceAccount {
    ServiceAccount {
        metadata: meta(plan, plan.names.nats(), NATS),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

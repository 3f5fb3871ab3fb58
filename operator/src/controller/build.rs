//! Builds every object from a plan. Pure: no client, no clock.
//!
//! # Layout
//!
//! One file per kind: [`configmap`], [`deployment`], [`httproute`],
//! [`ingress`], [`networkpolicy`], [`podmonitor`], [`poddisruptionbudget`],
//! [`secret`], [`service`], [`serviceaccount`], [`statefulset`]; [`nats`],
//! the text of a NATS server's configuration; and `pod`, what every pod of
//! ours has.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use super::kinds::Kind;
use super::plan::Plan;
use crate::crd::Resources;

pub mod configmap;
pub mod deployment;
pub mod httproute;
pub mod ingress;
pub mod nats;
pub mod networkpolicy;
mod pod;
pub mod poddisruptionbudget;
pub mod podmonitor;
pub mod secret;
pub mod service;
pub mod serviceaccount;
pub mod statefulset;

#[cfg(test)]
pub(crate) mod tests;

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it, as it is applied.
    pub body: Value,
}

/// Which optional kinds the API server knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capable {
    /// The Gateway API's routes.
    pub http_route: bool,
    /// The Prometheus operator's monitors.
    pub pod_monitor: bool,
}

/// Why an object can't be built.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name} cannot be written as JSON: {source}")]
pub struct BuildError {
    /// Which kind.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// Why.
    pub source: serde_json::Error,
}

/// Everything that a plan asks for, in the order in which it is applied: what
/// others refer to comes first, NATS before gateways.
pub fn all(plan: &Plan, capable: Capable) -> Result<Vec<Desired>, BuildError> {
    let mut all = vec![
        desired(Kind::ServiceAccount, &serviceaccount::gateway(plan))?,
        desired(Kind::ConfigMap, &configmap::boot(plan))?,
        desired(Kind::Secret, &secret::config(plan))?,
    ];
    if let Some(managed) = plan.managed_nats() {
        all.push(desired(Kind::ServiceAccount, &serviceaccount::nats(plan))?);
        all.push(desired(Kind::ConfigMap, &configmap::nats(plan, managed))?);
        all.push(desired(Kind::Service, &service::nats(plan))?);
        all.push(desired(Kind::PodDisruptionBudget, &poddisruptionbudget::nats(plan))?);
        if networkpolicy::enabled(plan) {
            all.push(desired(Kind::NetworkPolicy, &networkpolicy::nats(plan))?);
        }
        all.push(desired(Kind::StatefulSet, &statefulset::nats(plan, managed))?);
    }
    all.push(desired(Kind::Service, &service::client(plan))?);
    all.push(desired(Kind::Service, &service::api(plan))?);
    all.push(desired(Kind::PodDisruptionBudget, &poddisruptionbudget::gateway(plan))?);
    if networkpolicy::enabled(plan) {
        all.push(desired(Kind::NetworkPolicy, &networkpolicy::gateway(plan))?);
    }
    all.push(desired(Kind::Deployment, &deployment::gateway(plan))?);
    if let Some(ingress) = ingress::client(plan) {
        all.push(desired(Kind::Ingress, &ingress)?);
    }
    if capable.http_route
        && let Some(body) = httproute::client(plan)
    {
        all.push(Desired { kind: Kind::HttpRoute, name: plan.names.name.clone(), body });
    }
    if capable.pod_monitor
        && let Some(body) = podmonitor::gateway(plan)
    {
        all.push(Desired { kind: Kind::PodMonitor, name: plan.names.name.clone(), body });
    }
    Ok(all)
}

fn desired<K>(kind: Kind, object: &K) -> Result<Desired, BuildError>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let name = object.meta().name.clone().unwrap_or_default();
    match serde_json::to_value(object) {
        Ok(body) => Ok(Desired { kind, name, body }),
        Err(source) => Err(BuildError { kind: kind.name(), name, source }),
    }
}

/// Name, namespace, labels, owner.
fn meta(plan: &Plan, name: String, app: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(plan.names.namespace.clone()),
        labels: Some(plan.names.labels(app)),
        owner_references: Some(vec![plan.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn select(plan: &Plan, app: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(plan.names.selector(app)), ..LabelSelector::default() }
}

/// Seconds, as Kubernetes takes them: whole ones, rounded up.
pub(super) fn seconds(duration: std::time::Duration) -> i64 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX)
}

/// The same for fields of 32 bits.
fn seconds32(duration: std::time::Duration) -> i32 {
    i32::try_from(seconds(duration)).unwrap_or(i32::MAX)
}

/// Resources as a pod has them.
pub(super) fn resources(written: &Resources) -> ResourceRequirements {
    let quantities = |map: &BTreeMap<String, IntOrString>| {
        let quantity = |value: &IntOrString| match value {
            IntOrString::Int(number) => Quantity(number.to_string()),
            IntOrString::String(text) => Quantity(text.clone()),
        };
        (!map.is_empty())
            .then(|| map.iter().map(|(name, value)| (name.clone(), quantity(value))).collect())
    };
    ResourceRequirements {
        requests: quantities(&written.requests),
        limits: quantities(&written.limits),
        claims: None,
    }
}

//! Which traffic is let in. What goes out is not restricted: gateways fetch
//! issuers' keys from anywhere.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{meta, select};
use crate::controller::names::{GATEWAY, NATS, port};
use crate::controller::plan::Plan;

/// Whether there is to be one.
pub fn enabled(plan: &Plan) -> bool {
    plan.spec.network_policy.as_ref().and_then(|policy| policy.enabled).unwrap_or(true)
}

/// The gateways': clients from everywhere, apps of the namespace, other
/// gateways, and whoever reads metrics.
pub fn gateway(plan: &Plan) -> NetworkPolicy {
    let written = plan.spec.network_policy.clone().unwrap_or_default();
    let api_from = if written.api_from.is_empty() { vec![namespace()] } else { written.api_from };
    // No list is everybody.
    let metrics_from = (!written.metrics_from.is_empty())
        .then(|| written.metrics_from.into_iter().chain(operator(plan)).collect());
    policy(
        plan,
        plan.names.name.clone(),
        GATEWAY,
        vec![
            rule(port::CLIENT, None),
            rule(port::API, Some(api_from)),
            rule(port::PEER, Some(vec![pods(plan, GATEWAY)])),
            rule(port::ADMIN, metrics_from),
        ],
    )
}

/// The NATS servers': gateways and apps of the namespace, each other, and the
/// operator, which tells them to read a new certificate.
pub fn nats(plan: &Plan) -> NetworkPolicy {
    policy(
        plan,
        plan.names.nats(),
        NATS,
        vec![
            rule(port::NATS, Some([namespace()].into_iter().chain(operator(plan)).collect())),
            rule(port::NATS_ROUTE, Some(vec![pods(plan, NATS)])),
        ],
    )
}

fn policy(
    plan: &Plan,
    name: String,
    app: &str,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: meta(plan, name, app),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(select(plan, app)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

fn rule(port: i32, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from,
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(port)),
            protocol: Some("TCP".to_owned()),
            end_port: None,
        }]),
    }
}

/// The operator, wherever it runs.
fn operator(plan: &Plan) -> Option<NetworkPolicyPeer> {
    let name = plan.operator_namespace.as_ref()?;
    Some(NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", name)),
        ..NetworkPolicyPeer::default()
    })
}

/// Every pod of the namespace.
fn namespace() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    }
}

fn pods(plan: &Plan, app: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(select(plan, app)), ..NetworkPolicyPeer::default() }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(key.to_owned(), value.to_owned())].into()),
        ..LabelSelector::default()
    }
}

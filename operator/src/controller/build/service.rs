//! Ways to the pods.

use std::collections::BTreeMap;

use gateway_config::Period;
use k8s_openapi::api::core::v1::{
    ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{meta, seconds32};
use crate::controller::names::{ACCEPTING, GATEWAY, NATS, port};
use crate::controller::plan::Plan;
use crate::crd::{AffinityKind, IpFamilyPolicy, ServiceType, TrafficPolicy};

/// How long an address stays with a gateway after its last packet: longer
/// than the default pingInterval and pingTimeout together.
const AFFINITY: Period = Period::from_secs(90);

/// The Service for clients. Its clients stay with their gateway, and it sends
/// new ones only to gateways that accept.
pub fn client(plan: &Plan) -> Service {
    let written =
        plan.spec.service.as_ref().and_then(|service| service.client.clone()).unwrap_or_default();
    let kind = written.kind.unwrap_or_default();
    let affinity = written.session_affinity.unwrap_or_default();
    let sticky = affinity.kind.unwrap_or_default() == AffinityKind::ClientIP;
    let timeout = affinity.timeout.unwrap_or(AFFINITY);
    let mut selector = plan.names.selector(GATEWAY);
    selector.insert(ACCEPTING.to_owned(), "true".to_owned());

    let mut metadata = meta(plan, plan.names.name.clone(), GATEWAY);
    metadata.annotations = some(written.annotations);
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_name(kind).to_owned()),
            selector: Some(selector),
            ports: Some(vec![tcp("client", port::SERVICE, "client")]),
            session_affinity: Some(if sticky { "ClientIP" } else { "None" }.to_owned()),
            session_affinity_config: sticky.then(|| SessionAffinityConfig {
                client_ip: Some(ClientIPConfig { timeout_seconds: Some(seconds32(timeout.get())) }),
            }),
            external_traffic_policy: (kind != ServiceType::ClusterIP).then(|| {
                match written.external_traffic_policy.unwrap_or_default() {
                    TrafficPolicy::Local => "Local",
                    TrafficPolicy::Cluster => "Cluster",
                }
                .to_owned()
            }),
            ip_family_policy: written.ip_family_policy.map(|policy| {
                match policy {
                    IpFamilyPolicy::SingleStack => "SingleStack",
                    IpFamilyPolicy::PreferDualStack => "PreferDualStack",
                    IpFamilyPolicy::RequireDualStack => "RequireDualStack",
                }
                .to_owned()
            }),
            publish_not_ready_addresses: Some(false),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Service for apps: any gateway will do, also one that takes no clients.
pub fn api(plan: &Plan) -> Service {
    let written =
        plan.spec.service.as_ref().and_then(|service| service.api.clone()).unwrap_or_default();
    let mut metadata = meta(plan, plan.names.api(), GATEWAY);
    metadata.annotations = some(written.annotations);
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_name(written.kind.unwrap_or_default()).to_owned()),
            selector: Some(plan.names.selector(GATEWAY)),
            ports: Some(vec![tcp("api", port::SERVICE, "api")]),
            session_affinity: Some("None".to_owned()),
            publish_not_ready_addresses: Some(false),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The NATS servers' names and addresses. Headless: clients learn each
/// server's address; and servers find each other before they are ready.
pub fn nats(plan: &Plan) -> Service {
    Service {
        metadata: meta(plan, plan.names.nats(), NATS),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("None".to_owned()),
            selector: Some(plan.names.selector(NATS)),
            ports: Some(vec![
                tcp("nats", port::NATS, "nats"),
                tcp("cluster", port::NATS_ROUTE, "cluster"),
            ]),
            session_affinity: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn tcp(name: &str, port: i32, target: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(target.to_owned())),
        ..ServicePort::default()
    }
}

fn type_name(kind: ServiceType) -> &'static str {
    match kind {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

fn some(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

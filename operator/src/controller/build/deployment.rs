//! The gateways.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, Container, EnvFromSource, EnvVar, PodSpec, PodTemplateSpec,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{meta, pod, seconds, seconds32, select};
use crate::controller::names::{ACCEPTING, BOOT, GATEWAY, SECRETS, port};
use crate::controller::plan::Plan;
use crate::crd::{PullPolicy, SecretKey};

mod mounts;

pub use mounts::{
    ADMIN_TOKEN, API_KEYS, NATS_CA, NATS_CERT, NATS_CREDENTIALS, NATS_KEY, PEER_CA, PEER_CERT,
    PEER_KEY,
};

/// Time that a rollout may stand still beyond what one gateway needs.
pub const STALLED_AFTER: i32 = 600;

/// The gateways.
pub fn gateway(plan: &Plan) -> Deployment {
    let min_ready = seconds32(plan.min_ready());
    Deployment {
        metadata: meta(plan, plan.names.name.clone(), GATEWAY),
        spec: Some(DeploymentSpec {
            replicas: Some(plan.replicas),
            selector: select(plan, GATEWAY),
            // Without it all old gateways would drain as soon as the new
            // ones are ready.
            min_ready_seconds: Some(min_ready),
            progress_deadline_seconds: Some(min_ready.saturating_add(STALLED_AFTER)),
            revision_history_limit: Some(3),
            paused: Some(false),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(plan.max_draining)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template(plan),
        }),
        ..Deployment::default()
    }
}

fn template(plan: &Plan) -> PodTemplateSpec {
    let mut labels = plan.names.labels(GATEWAY);
    labels.insert(ACCEPTING.to_owned(), "true".to_owned());
    labels.insert(BOOT.to_owned(), plan.config.boot_hash.clone());
    let wanted = plan.spec.pod.clone().unwrap_or_default();
    let mut annotations = wanted.annotations;
    annotations.insert(SECRETS.to_owned(), plan.secrets_hash.clone());
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), "gateway".to_owned());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            termination_grace_period_seconds: Some(seconds(plan.grace())),
            topology_spread_constraints: spread(plan, wanted.topology_keys),
            volumes: Some(mounts::volumes(plan)),
            containers: vec![container(plan)],
            ..pod::spec(plan, plan.names.name.clone())
        }),
    }
}

fn container(plan: &Plan) -> Container {
    let resources =
        plan.spec.pod.as_ref().and_then(|pod| pod.resources.as_ref()).map(super::resources);
    Container {
        name: "gateway".to_owned(),
        image: Some(plan.image.name.clone()),
        image_pull_policy: Some(
            match plan.image.policy {
                PullPolicy::Always => "Always",
                PullPolicy::IfNotPresent => "IfNotPresent",
                PullPolicy::Never => "Never",
            }
            .to_owned(),
        ),
        command: Some(vec!["/push-gateway".to_owned()]),
        args: Some(vec![
            "serve".to_owned(),
            "--config".to_owned(),
            format!("{}/{}", mounts::CONFIG_DIR, super::secret::CONFIG_FILE),
        ]),
        env_from: Some(vec![EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: plan.names.boot(&plan.config.boot_hash),
                optional: Some(false),
            }),
            ..EnvFromSource::default()
        }]),
        env: Some(environment(plan)),
        ports: Some(pod::ports(&[
            ("client", port::CLIENT),
            ("api", port::API),
            ("peer", port::PEER),
            ("admin", port::ADMIN),
        ])),
        resources: Some(resources.unwrap_or_default()),
        // While it starts, it may wait for NATS for a minute.
        startup_probe: Some(pod::probe("admin", "/livez", 2, 45)),
        liveness_probe: Some(pod::probe("admin", "/livez", 10, 6)),
        readiness_probe: Some(pod::probe("admin", "/readyz", 2, 2)),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts::mounts(plan)),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// Variables that differ from pod to pod, or whose values are secrets. Their
/// order is that of their names: of two the later may refer to the earlier.
fn environment(plan: &Plan) -> Vec<EnvVar> {
    let pod_ip = pod::field("POD_IP", "status.podIP");
    let advertise = EnvVar {
        name: "PUSH_PEER_ADVERTISE".to_owned(),
        // Without a port, an IPv6 address needs no brackets.
        value: Some("$(POD_IP)".to_owned()),
        ..EnvVar::default()
    };
    let secret = |(name, at): (&String, &SecretKey)| pod::secret(name, at.clone());
    let secrets: BTreeMap<_, _> = plan.config.from_secrets.iter().collect();
    [pod_ip, advertise].into_iter().chain(secrets.into_iter().map(secret)).collect()
}

/// Over zones and nodes, as far as there are any.
fn spread(plan: &Plan, keys: Option<Vec<String>>) -> Option<Vec<TopologySpreadConstraint>> {
    let keys = keys.unwrap_or_else(|| {
        vec!["topology.kubernetes.io/zone".to_owned(), "kubernetes.io/hostname".to_owned()]
    });
    let constraints = keys.into_iter().map(|key| TopologySpreadConstraint {
        // Each version of the template by itself, else a rollout is lopsided.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..pod::spread(plan, GATEWAY, key)
    });
    Some(constraints.collect::<Vec<_>>()).filter(|constraints| !constraints.is_empty())
}

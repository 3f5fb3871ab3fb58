//! The gateways.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource,
    HTTPGetAction, ObjectFieldSelector, PodSpec, PodTemplateSpec, Probe, SecretKeySelector,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{container_security, meta, pod_security, seconds, seconds32, select};
use crate::controller::names::{ACCEPTING, BOOT, GATEWAY, SECRETS, port};
use crate::controller::plan::Plan;
use crate::crd::PullPolicy;

mod mounts;

pub use mounts::{NATS_CA, NATS_CERT, NATS_CREDENTIALS, NATS_KEY};

/// Time that a rollout may stand still beyond what one gateway needs.
const STALLED_AFTER: i32 = 600;

/// The gateways. Fields that matter to security are set even where they have
/// their default: server-side apply gives back what is set, and only that.
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
    let pod = plan.spec.pod.clone().unwrap_or_default();
    let mut annotations = pod.annotations;
    annotations.insert(SECRETS.to_owned(), plan.secrets_hash.clone());
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), "gateway".to_owned());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(plan.names.name.clone()),
            automount_service_account_token: Some(false),
            // A Service named `push-api` would set `PUSH_API_PORT`, which the
            // gateway takes for a setting.
            enable_service_links: Some(false),
            host_network: Some(false),
            host_pid: Some(false),
            host_ipc: Some(false),
            share_process_namespace: Some(false),
            restart_policy: Some("Always".to_owned()),
            dns_policy: Some("ClusterFirst".to_owned()),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: Some(seconds(plan.grace())),
            image_pull_secrets: (!plan.image.secrets.is_empty())
                .then(|| plan.image.secrets.clone()),
            node_selector: (!pod.node_selector.is_empty()).then_some(pod.node_selector),
            tolerations: (!pod.tolerations.is_empty()).then_some(pod.tolerations),
            priority_class_name: pod.priority_class_name.filter(|name| !name.is_empty()),
            topology_spread_constraints: spread(plan, pod.topology_keys),
            volumes: Some(mounts::volumes(plan)),
            containers: vec![container(plan)],
            ..PodSpec::default()
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
        ports: Some(
            [
                ("client", port::CLIENT),
                ("api", port::API),
                ("peer", port::PEER),
                ("admin", port::ADMIN),
            ]
            .map(|(name, port)| ContainerPort {
                name: Some(name.to_owned()),
                container_port: port,
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            })
            .to_vec(),
        ),
        resources: Some(resources.unwrap_or_default()),
        // While it starts, it may wait for NATS for a minute.
        startup_probe: Some(probe("/livez", 2, 45)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts::mounts(plan)),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// Variables that differ from pod to pod, or whose values are secrets. Their
/// order is that of their names: of two the later may refer to the earlier.
fn environment(plan: &Plan) -> Vec<EnvVar> {
    let pod_ip = EnvVar {
        name: "POD_IP".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "status.podIP".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let advertise = EnvVar {
        name: "PUSH_PEER_ADVERTISE".to_owned(),
        value: Some(format!("$(POD_IP):{}", port::PEER)),
        ..EnvVar::default()
    };
    let secret = |(name, at): (&String, &crate::crd::SecretKey)| EnvVar {
        name: name.clone(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: at.name.clone(),
                key: at.key.clone(),
                optional: Some(false),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let secrets: BTreeMap<_, _> = plan.config.from_secrets.iter().collect();
    [pod_ip, advertise].into_iter().chain(secrets.into_iter().map(secret)).collect()
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

/// Over zones and nodes, as far as there are any.
fn spread(plan: &Plan, keys: Option<Vec<String>>) -> Option<Vec<TopologySpreadConstraint>> {
    let keys = keys.unwrap_or_else(|| {
        vec!["topology.kubernetes.io/zone".to_owned(), "kubernetes.io/hostname".to_owned()]
    });
    let constraints = keys.into_iter().map(|key| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(select(plan, GATEWAY)),
        // Each version of the template by itself, else a rollout is lopsided.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    });
    Some(constraints.collect::<Vec<_>>()).filter(|constraints| !constraints.is_empty())
}

//! Managed NATS.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, ExecAction, KeyToPath,
    Lifecycle, LifecycleHandler, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec,
    PodTemplateSpec, SecretVolumeSource, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::configmap::NATS_CONF;
use super::{meta, nats as conf, pod, select};
use crate::controller::names::{NATS, SECRETS, WIRE, port};
use crate::controller::plan::{ManagedPlan, Plan};
use crate::controller::secrets;
use crate::crd::{Retention, SecretKey};
use crate::hash;

/// Annotation of the pod template: a change of it restarts the servers.
const CONFIG: &str = "pushcluster.io/config";
/// Name of the volume claim; claims are called `data-<pod>`.
pub const CLAIM: &str = "data";

/// The NATS servers.
pub fn nats(plan: &Plan, managed: &ManagedPlan) -> StatefulSet {
    StatefulSet {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([(WIRE.to_owned(), managed.wire.name().to_owned())])),
            ..meta(plan, plan.names.nats(), NATS)
        },
        spec: Some(StatefulSetSpec {
            replicas: Some(managed.replicas),
            service_name: Some(plan.names.nats()),
            selector: select(plan, NATS),
            // All at once: a server alone is never healthy in a cluster.
            // Updates still go one by one, each when the one before is ready.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            min_ready_seconds: Some(10),
            revision_history_limit: Some(3),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(
                        match managed.retention {
                            Retention::Retain => "Retain",
                            Retention::Delete => "Delete",
                        }
                        .to_owned(),
                    ),
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            template: template(plan, managed),
            volume_claim_templates: Some(vec![claim(plan, managed)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn template(plan: &Plan, managed: &ManagedPlan) -> PodTemplateSpec {
    let config = hash::short(conf::at_start(plan, managed).as_bytes());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(plan.names.labels(NATS)),
            annotations: Some(BTreeMap::from([
                (CONFIG.to_owned(), config),
                (SECRETS.to_owned(), plan.nats_secrets_hash.clone()),
            ])),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            // Lame duck takes 10 s and 30 s.
            termination_grace_period_seconds: Some(60),
            topology_spread_constraints: Some(vec![pod::spread(
                plan,
                NATS,
                "kubernetes.io/hostname".to_owned(),
            )]),
            containers: vec![container(plan, managed)],
            volumes: Some(vec![
                Volume {
                    name: "config".to_owned(),
                    config_map: Some(ConfigMapVolumeSource {
                        name: plan.names.nats(),
                        default_mode: Some(0o444),
                        optional: Some(false),
                        items: None,
                    }),
                    ..Volume::default()
                },
                Volume {
                    name: "tls".to_owned(),
                    secret: Some(SecretVolumeSource {
                        secret_name: Some(plan.names.nats_tls()),
                        default_mode: Some(0o440),
                        optional: Some(false),
                        items: Some(
                            [secrets::CERTIFICATE, secrets::CERTIFICATE_KEY, secrets::BUNDLE]
                                .map(|key| KeyToPath {
                                    key: key.to_owned(),
                                    path: key.to_owned(),
                                    mode: None,
                                })
                                .into(),
                        ),
                    }),
                    ..Volume::default()
                },
                Volume {
                    name: "run".to_owned(),
                    empty_dir: Some(EmptyDirVolumeSource::default()),
                    ..Volume::default()
                },
            ]),
            ..pod::spec(plan, plan.names.nats())
        }),
    }
}

fn container(plan: &Plan, managed: &ManagedPlan) -> Container {
    // What clients and servers tell each other: names, which certificates have.
    let own = format!("$(POD_NAME).{}", plan.names.host(&plan.names.nats()));
    let mut args = vec![
        "-c".to_owned(),
        format!("/etc/nats/{NATS_CONF}"),
        "--client_advertise".to_owned(),
        format!("{own}:{}", port::NATS),
    ];
    if managed.replicas > 1 {
        args.extend(["--cluster_advertise".to_owned(), format!("{own}:{}", port::NATS_ROUTE)]);
        let routes: Vec<_> = plan
            .nats_hosts(managed)
            .map(|host| format!("nats://route:$(ROUTE_PASSWORD)@{host}:{}", port::NATS_ROUTE))
            .collect();
        args.extend(["--routes".to_owned(), routes.join(",")]);
    }
    let names = &plan.names;
    Container {
        name: "nats".to_owned(),
        image: Some(managed.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/nats-server".to_owned()]),
        args: Some(args),
        env: Some(vec![
            pod::field("POD_NAME", "metadata.name"),
            secret("GATEWAY_PASSWORD", names.nats_gateway(), "password"),
            secret("APP_PASSWORD", names.nats_app(), "password"),
            secret("ROUTE_PASSWORD", names.internal(), "nats-route"),
            secret("SYSTEM_PASSWORD", names.internal(), "nats-system"),
        ]),
        ports: Some(pod::ports(&[
            ("nats", port::NATS),
            ("cluster", port::NATS_ROUTE),
            ("monitor", port::NATS_MONITOR),
        ])),
        resources: Some(managed.resources.clone()),
        // Ready for the first time when its streams are.
        startup_probe: Some(pod::probe("monitor", "/healthz", 2, 150)),
        readiness_probe: Some(pod::probe("monitor", "/healthz?js-server-only=true", 5, 3)),
        liveness_probe: Some(pod::probe("monitor", "/healthz?js-enabled-only=true", 15, 4)),
        // Clients and leaders move before the server goes; a SIGTERM during
        // that changes nothing.
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction {
                    command: Some(vec![
                        "/nats-server".to_owned(),
                        "--signal".to_owned(),
                        "ldm=/run/nats/nats.pid".to_owned(),
                    ]),
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![
            mount("config", "/etc/nats", true),
            mount("tls", conf::TLS_DIR, true),
            mount("run", "/run/nats", false),
            mount(CLAIM, "/data", false),
        ]),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn claim(plan: &Plan, managed: &ManagedPlan) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(CLAIM.to_owned()),
            labels: Some(plan.names.labels(NATS)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: managed.class.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(managed.size.clone()),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn secret(variable: &str, name: String, key: &str) -> EnvVar {
    pod::secret(variable, SecretKey { name, key: key.to_owned() })
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}

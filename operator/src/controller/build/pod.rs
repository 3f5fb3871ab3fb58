//! What every pod of ours has. Fields that matter to security are set even
//! where they have their default: server-side apply gives back what is set,
//! and only that.

use k8s_openapi::api::core::v1::{
    Capabilities, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector,
    PodSecurityContext, PodSpec, Probe, SeccompProfile, SecretKeySelector, SecurityContext,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::select;
use crate::controller::plan::Plan;
use crate::crd::SecretKey;

/// User and group of every container: nobody in particular.
const NOBODY: i64 = 65_532;

/// A pod without containers, as the manifest's `pod` and `image` ask for it.
pub(super) fn spec(plan: &Plan, service_account: String) -> PodSpec {
    let pod = plan.spec.pod.clone().unwrap_or_default();
    PodSpec {
        service_account_name: Some(service_account),
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
        security_context: Some(security()),
        image_pull_secrets: (!plan.image.secrets.is_empty()).then(|| plan.image.secrets.clone()),
        node_selector: (!pod.node_selector.is_empty()).then_some(pod.node_selector),
        tolerations: (!pod.tolerations.is_empty()).then_some(pod.tolerations),
        priority_class_name: pod.priority_class_name.filter(|name| !name.is_empty()),
        ..PodSpec::default()
    }
}

/// As Pod Security's `restricted` demands.
fn security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NOBODY),
        run_as_group: Some(NOBODY),
        fs_group: Some(NOBODY),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(seccomp()),
        ..PodSecurityContext::default()
    }
}

/// The same for its containers.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_group: Some(NOBODY),
        run_as_non_root: Some(true),
        run_as_user: Some(NOBODY),
        seccomp_profile: Some(seccomp()),
        ..SecurityContext::default()
    }
}

fn seccomp() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

/// Spread over what the key names, as far as there is more than one.
pub(super) fn spread(plan: &Plan, app: &str, key: String) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(select(plan, app)),
        ..TopologySpreadConstraint::default()
    }
}

/// TCP ports by their names.
pub(super) fn ports(named: &[(&str, i32)]) -> Vec<ContainerPort> {
    let port = |(name, port): &(&str, i32)| ContainerPort {
        name: Some((*name).to_owned()),
        container_port: *port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    named.iter().map(port).collect()
}

/// A probe over HTTP, every `period` seconds.
pub(super) fn probe(port: &str, path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
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

/// A variable with the value of one of the pod's own fields.
pub(super) fn field(variable: &str, path: &str) -> EnvVar {
    from(
        variable,
        EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        },
    )
}

/// A variable with a Secret's value.
pub(super) fn secret(variable: &str, at: SecretKey) -> EnvVar {
    from(
        variable,
        EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: at.name,
                key: at.key,
                optional: Some(false),
            }),
            ..EnvVarSource::default()
        },
    )
}

fn from(variable: &str, source: EnvVarSource) -> EnvVar {
    EnvVar { name: variable.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

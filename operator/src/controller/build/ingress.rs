//! A way in for clients from outside.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::meta;
use crate::controller::names::GATEWAY;
use crate::controller::plan::Plan;

/// The Ingress, if the manifest has one.
pub fn client(plan: &Plan) -> Option<Ingress> {
    let written = plan.spec.ingress.clone()?;
    let mut metadata = meta(plan, plan.names.name.clone(), GATEWAY);
    metadata.annotations = (!written.annotations.is_empty()).then_some(written.annotations);
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: plan.names.name.clone(),
            port: Some(ServiceBackendPort {
                name: Some("client".to_owned()),
                ..ServiceBackendPort::default()
            }),
        }),
        ..IngressBackend::default()
    };
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: written.class_name,
            rules: Some(vec![IngressRule {
                host: Some(written.host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".to_owned()),
                        path_type: "Prefix".to_owned(),
                        backend,
                    }],
                }),
            }]),
            tls: written.tls_secret.map(|secret| {
                vec![IngressTLS { hosts: Some(vec![written.host]), secret_name: Some(secret) }]
            }),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    })
}

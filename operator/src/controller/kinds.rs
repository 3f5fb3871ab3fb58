//! The kinds of objects that the operator makes.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Gateways.
    Deployment,
    /// NATS servers.
    StatefulSet,
    /// Ways in.
    Service,
    /// Configuration.
    ConfigMap,
    /// Credentials, and the part of the configuration that reloads.
    Secret,
    /// Pods' identity, which may do nothing.
    ServiceAccount,
    /// What may be evicted at once.
    PodDisruptionBudget,
    /// Which traffic is let in.
    NetworkPolicy,
    /// A way in from outside.
    Ingress,
    /// Another, of the Gateway API.
    HttpRoute,
    /// What Prometheus reads.
    PodMonitor,
}

// === impl Kind ===

impl Kind {
    /// Kinds that every API server has.
    pub const CORE: [Self; 9] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::Service,
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::Ingress,
    ];

    /// Whether a manifest may ask for one and later no longer. The others go
    /// with their `PushCluster`, and the operator has no right to delete them.
    pub fn comes_and_goes(self) -> bool {
        matches!(
            self,
            Self::ConfigMap
                | Self::Secret
                | Self::NetworkPolicy
                | Self::Ingress
                | Self::HttpRoute
                | Self::PodMonitor
        )
    }

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        self.parts().2
    }

    /// For requests.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.parts();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::PodDisruptionBudget => {
                ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
            }
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::Ingress => ("networking.k8s.io", "v1", "Ingress", "ingresses"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::PodMonitor => ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
        }
    }
}

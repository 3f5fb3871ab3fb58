//! What a manifest asks for, with every default resolved: what builders see.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::live::Live;
use super::names::{Names, WIRE};
use crate::crd::{
    CredentialsKind, CredentialsRef, NatsTls, PullPolicy, PushClusterSpec, Retention, SecretKey,
};

/// So soon some operator has looked at a gateway that is ready: also where the
/// one that acts is killed, and another must take its place first
/// ([`crate::leader::DURATION`], and some time to list what there is).
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// A valid manifest with defaults resolved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names of everything.
    pub names: Names,
    /// The owner of everything.
    pub owner: OwnerReference,
    /// The manifest's generation.
    pub generation: i64,
    /// As it was written; for what needs no default.
    pub spec: PushClusterSpec,
    /// Gateways.
    pub replicas: i32,
    /// The gateways' image.
    pub image: ImagePlan,
    /// The NATS behind them.
    pub nats: NatsPlan,
    /// First tokens of every NATS subject.
    pub prefix: String,
    /// Copies of what is stored.
    pub stream_replicas: i32,
    /// How long new clients are still accepted.
    pub drain_delay: Duration,
    /// Over how long clients are then disconnected.
    pub drain_period: Duration,
    /// Gateways that may drain at once.
    pub max_draining: i32,
    /// The gateways' configuration.
    pub config: ConfigPlan,
    /// A hash of the secrets that gateways read when they start.
    pub secrets_hash: String,
    /// A hash of the secrets that NATS servers read when they start.
    pub nats_secrets_hash: String,
    /// Where the operator runs, so that network policies let it in.
    pub operator_namespace: Option<String>,
}

/// A container's image.
#[derive(Clone, Debug)]
pub struct ImagePlan {
    /// Name and tag.
    pub name: String,
    /// When it is pulled.
    pub policy: PullPolicy,
    /// With which credentials.
    pub secrets: Vec<LocalObjectReference>,
}

/// The NATS behind the gateways.
#[derive(Clone, Debug)]
pub enum NatsPlan {
    /// The operator's own.
    Managed(ManagedPlan),
    /// Somebody else's.
    External(ExternalPlan),
}

/// NATS servers that the operator runs.
#[derive(Clone, Debug)]
pub struct ManagedPlan {
    /// Servers.
    pub replicas: i32,
    /// Their image.
    pub image: String,
    /// Size of each one's volume as its claim's template has it, which can't
    /// change.
    pub size: String,
    /// Size of each one's volume as the manifest has it.
    pub wanted_size: String,
    /// The same in bytes.
    pub size_bytes: u64,
    /// Storage class; the default one when absent.
    pub class: Option<String>,
    /// What becomes of volumes.
    pub retention: Retention,
    /// What the container may use.
    pub resources: ResourceRequirements,
    /// How far it is on its way to TLS.
    pub wire: Wire,
    /// Whether clients may connect without TLS.
    pub plaintext: bool,
    /// Names of what servers read again when they are told to: configuration,
    /// certificate, authorities.
    pub loaded: Loaded,
}

/// What a NATS server should be seen to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Changes with everything that servers read again when they are told to.
    pub hash: String,
    /// Seconds since 1970 until which the certificate holds.
    pub until: i64,
    /// Whether servers speak TLS to each other.
    pub routes: bool,
    /// Whether clients must.
    pub clients: bool,
}

/// How far managed NATS is on its way to TLS. Servers that were made before
/// there was TLS can't speak it to each other one after the other: half a
/// cluster would not find the other half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// Everything is encrypted from the first day on.
    #[default]
    Encrypted,
    /// Made without TLS: servers are renewed one by one, and then offer it to
    /// clients; among each other they go on as before.
    Upgrading,
    /// All of them were: each is told to encrypt routes too, which they take
    /// without a restart.
    Upgraded,
}

/// NATS servers that are there already.
#[derive(Clone, Debug)]
pub struct ExternalPlan {
    /// Where.
    pub url: String,
    /// How gateways log in.
    pub credentials: Option<(CredentialsKind, CredentialsRef)>,
    /// TLS.
    pub tls: Option<NatsTls>,
}

/// The gateways' configuration, in the three ways in which it reaches them.
#[derive(Clone, Debug, Default)]
pub struct ConfigPlan {
    /// Environment variables: what needs a restart.
    pub boot: BTreeMap<String, String>,
    /// Hash of `boot`, in the `ConfigMap`'s name.
    pub boot_hash: String,
    /// Environment variables whose values are in Secrets.
    pub from_secrets: BTreeMap<String, SecretKey>,
    /// The file of the API's keys, as hashes. It reloads, too.
    pub keys: String,
    /// The file: what reloads.
    pub file: String,
    /// What the stream's settings follow from, as a hash, and the generation
    /// that they have.
    pub stream: (String, u64),
    /// What a gateway of the operator's own version reports once it has
    /// loaded all of it.
    pub expected_hash: Option<String>,
}

// === impl Wire ===

impl Wire {
    /// As it is remembered at the StatefulSet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Upgrading => "upgrading",
            Self::Upgraded => "upgraded",
        }
    }

    /// Where it goes from what is there: `servers` is the StatefulSet, if there
    /// is one.
    pub fn next(servers: Option<&Live>) -> Self {
        let Some(servers) = servers else { return Self::Encrypted };
        let renewed = servers.workload.as_ref().is_some_and(|all| {
            all.observed
                && all.replicas == all.wanted
                && all.updated == all.wanted
                // Not at once: the last one may still be finding the others.
                && all.available == all.wanted
        });
        match servers.annotations.get(WIRE).map(String::as_str) {
            Some("encrypted") => Self::Encrypted,
            Some("upgraded") => Self::Upgraded,
            Some("upgrading") if renewed => Self::Upgraded,
            _ => Self::Upgrading,
        }
    }

    /// Whether servers speak TLS to each other.
    pub fn routes(self) -> bool {
        self != Self::Upgrading
    }
}

// === impl Plan ===

impl Plan {
    /// From SIGTERM to SIGKILL: the drain and 15 s for what is left.
    pub fn grace(&self) -> Duration {
        self.drain_delay + self.drain_period + Duration::from_secs(15)
    }

    /// How long a new gateway must be ready before Kubernetes has the next one
    /// drain: as long as a drain is to take. A longer one is waited for (see
    /// [`super::pace`]), and there must be time to notice it.
    pub fn min_ready(&self) -> Duration {
        (self.drain_delay + self.drain_period).max(NOTICED_WITHIN)
    }

    /// The JetStream stream's name.
    pub fn stream(&self) -> String {
        format!("PUSH_{}", self.prefix.replace('.', "_"))
    }

    /// Whether the operator runs NATS.
    pub fn managed_nats(&self) -> Option<&ManagedPlan> {
        match &self.nats {
            NatsPlan::Managed(managed) => Some(managed),
            NatsPlan::External(_) => None,
        }
    }

    /// The NATS servers' addresses as clients dial them.
    pub fn nats_url(&self) -> String {
        match &self.nats {
            NatsPlan::External(external) => external.url.clone(),
            NatsPlan::Managed(managed) => {
                let servers: Vec<_> = self
                    .nats_hosts(managed)
                    .map(|host| format!("tls://{host}:{}", super::names::port::NATS))
                    .collect();
                servers.join(",")
            }
        }
    }

    /// Each managed server's name in DNS.
    pub fn nats_hosts(&self, managed: &ManagedPlan) -> impl Iterator<Item = String> {
        let name = self.names.nats();
        let service = self.names.host(&name);
        (0..managed.replicas).map(move |index| format!("{name}-{index}.{service}"))
    }
}

//! Files in a gateway's container.

use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use crate::controller::build::secret::CONFIG_FILE;
use crate::controller::config::KEYS_FILE;
use crate::controller::plan::{NatsPlan, Plan};
use crate::controller::secrets;
use crate::crd::CredentialsKind;

/// Where the part of the configuration that reloads is.
pub const CONFIG_DIR: &str = "/etc/push";
/// A credentials file or an nkey's seed.
pub const NATS_CREDENTIALS: &str = "/run/push/nats/credentials";
/// The certificate of NATS' authority.
pub const NATS_CA: &str = "/run/push/nats-ca/ca.crt";
/// The certificate that gateways identify themselves with.
pub const NATS_CERT: &str = "/run/push/nats-client/tls.crt";
/// Its key.
pub const NATS_KEY: &str = "/run/push/nats-client/tls.key";

/// Keys of the HTTP API.
pub const API_KEYS: &str = "/etc/push/keys.yaml";
/// The admin listener's token.
pub const ADMIN_TOKEN: &str = "/run/push/admin/token";
/// The certificate that gateways show each other.
pub const PEER_CERT: &str = "/run/push/peer/tls.crt";
/// Its key.
pub const PEER_KEY: &str = "/run/push/peer/tls.key";
/// Whose certificates they take.
pub const PEER_CA: &str = "/run/push/peer/ca.crt";

/// Read by the pod's user and group only.
const MODE: i32 = 0o440;

/// A Secret and where it is mounted.
struct Mounted {
    volume: &'static str,
    directory: &'static str,
    secret: String,
    /// Keys of the Secret and the files that they become.
    files: Vec<(String, &'static str)>,
}

pub(super) fn volumes(plan: &Plan) -> Vec<Volume> {
    let volume = |mounted: Mounted| Volume {
        name: mounted.volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(mounted.secret),
            default_mode: Some(MODE),
            optional: Some(false),
            items: Some(
                mounted
                    .files
                    .into_iter()
                    .map(|(key, path)| KeyToPath { key, path: path.to_owned(), mode: None })
                    .collect(),
            ),
        }),
        ..Volume::default()
    };
    mounted(plan).into_iter().map(volume).collect()
}

pub(super) fn mounts(plan: &Plan) -> Vec<VolumeMount> {
    // A whole directory: Kubernetes doesn't update a file that is mounted
    // alone (`subPath`).
    let mount = |mounted: Mounted| VolumeMount {
        name: mounted.volume.to_owned(),
        mount_path: mounted.directory.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    mounted(plan).into_iter().map(mount).collect()
}

fn mounted(plan: &Plan) -> Vec<Mounted> {
    let mut all = vec![Mounted {
        volume: "config",
        directory: CONFIG_DIR,
        secret: plan.names.config(),
        files: [CONFIG_FILE, KEYS_FILE].map(|key| (key.to_owned(), key)).into(),
    }];
    let names = &plan.names;
    all.push(Mounted {
        volume: "admin",
        directory: "/run/push/admin",
        secret: names.internal(),
        files: vec![(secrets::ADMIN_TOKEN.to_owned(), "token")],
    });
    all.push(Mounted {
        volume: "peer",
        directory: "/run/push/peer",
        secret: names.peer_tls(),
        files: [secrets::CERTIFICATE, secrets::CERTIFICATE_KEY, secrets::BUNDLE]
            .map(|key| (key.to_owned(), key))
            .into(),
    });
    let NatsPlan::External(external) = &plan.nats else {
        all.push(Mounted {
            volume: "nats-ca",
            directory: "/run/push/nats-ca",
            secret: names.nats_tls(),
            files: vec![(secrets::BUNDLE.to_owned(), "ca.crt")],
        });
        return all;
    };
    if let Some((CredentialsKind::CredsFile | CredentialsKind::NKey, at)) = &external.credentials {
        all.push(Mounted {
            volume: "nats-credentials",
            directory: "/run/push/nats",
            secret: at.name.clone(),
            files: vec![(at.key.clone().unwrap_or_default(), "credentials")],
        });
    }
    let Some(tls) = &external.tls else { return all };
    if let Some(ca) = &tls.ca {
        all.push(Mounted {
            volume: "nats-ca",
            directory: "/run/push/nats-ca",
            secret: ca.name.clone(),
            files: vec![(ca.key.clone(), "ca.crt")],
        });
    }
    if let Some(client) = &tls.client_certificate {
        all.push(Mounted {
            volume: "nats-client",
            directory: "/run/push/nats-client",
            secret: client.name.clone(),
            files: vec![("tls.crt".to_owned(), "tls.crt"), ("tls.key".to_owned(), "tls.key")],
        });
    }
    all
}

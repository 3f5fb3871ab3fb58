//! Secrets that the operator makes once and keeps, and those of users that it
//! reads.

use std::collections::BTreeMap;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::config::KEYS_FILE;
use super::names::{Names, port};
use crate::crd::{CredentialsKind, PushClusterSpec, SecretKey};
use crate::hash;

/// Key of `<name>-internal`: what gateways share.
pub const PEER: &str = "peer";
/// Key of `<name>-internal`: the admin listener's token.
pub const ADMIN_TOKEN: &str = "admin-token";
/// Key of `<name>-internal`: how NATS servers log in to each other.
pub const NATS_ROUTE: &str = "nats-route";
/// Key of `<name>-internal`: the system account's password.
pub const NATS_SYSTEM: &str = "nats-system";

/// A Secret that the operator makes once and keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The keys that it must have.
    pub keys: Vec<&'static str>,
    /// What makes them.
    pub kind: KeptKind,
}

/// What a kept Secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptKind {
    /// What gateways share, and passwords that nobody needs to know.
    Internal,
    /// A key of the HTTP API.
    ApiKey,
    /// How gateways log in to managed NATS.
    NatsGateway,
    /// How apps do.
    NatsApp,
}

/// A key of a Secret that the manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where in the manifest.
    pub path: &'static str,
    /// Which key.
    pub at: SecretKey,
    /// Whether NATS can't be reached without it.
    pub nats: bool,
}

/// No randomness: the kernel gave none.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system has no random numbers, so no secret can be made")]
pub struct NoRandomness;

/// The Secrets that a manifest needs and the operator makes.
pub fn kept(spec: &PushClusterSpec, names: &Names) -> Vec<Kept> {
    let managed = spec.nats.as_ref().is_none_or(|nats| nats.external.is_none());
    let mut all = vec![Kept {
        name: names.internal(),
        keys: vec![PEER, ADMIN_TOKEN, NATS_ROUTE, NATS_SYSTEM],
        kind: KeptKind::Internal,
    }];
    if spec.auth.as_ref().is_none_or(|auth| auth.api_keys_secret.is_none()) {
        let keys = vec!["key", KEYS_FILE];
        all.push(Kept { name: names.api_key(), keys, kind: KeptKind::ApiKey });
    }
    if managed {
        let keys = vec!["username", "password"];
        all.push(Kept { name: names.nats_gateway(), keys, kind: KeptKind::NatsGateway });
        let keys = vec!["url", "username", "password"];
        all.push(Kept { name: names.nats_app(), keys, kind: KeptKind::NatsApp });
    }
    all
}

/// The Secrets of users that a manifest refers to.
pub fn references(spec: &PushClusterSpec) -> Vec<Reference> {
    let mut all = Vec::new();
    let mut add = |path, name: &str, key: &str, nats| {
        let at = SecretKey { name: name.to_owned(), key: key.to_owned() };
        all.push(Reference { path, at, nats });
    };
    if let Some(auth) = &spec.auth {
        if let Some(secret) = &auth.api_keys_secret {
            add("spec.auth.apiKeysSecret", &secret.name, KEYS_FILE, false);
        }
        let jwt = auth.jwt.clone().unwrap_or_default();
        if let Some(at) = &jwt.secret {
            add("spec.auth.jwt.secret", &at.name, &at.key, false);
        }
        if let Some(at) = &jwt.public_key {
            add("spec.auth.jwt.publicKey", &at.name, &at.key, false);
        }
    }
    let Some(external) = spec.nats.as_ref().and_then(|nats| nats.external.as_ref()) else {
        return all;
    };
    if let Some(credentials) = &external.credentials {
        let path = "spec.nats.external.credentials.secretRef";
        let at = &credentials.secret_ref;
        if credentials.kind == CredentialsKind::UserPassword {
            add(path, &at.name, "username", true);
            add(path, &at.name, "password", true);
        } else {
            add(path, &at.name, at.key.as_deref().unwrap_or_default(), true);
        }
    }
    if let Some(tls) = &external.tls {
        if let Some(at) = &tls.ca {
            add("spec.nats.external.tls.ca", &at.name, &at.key, true);
        }
        if let Some(secret) = &tls.client_certificate {
            let path = "spec.nats.external.tls.clientCertificate";
            add(path, &secret.name, "tls.crt", true);
            add(path, &secret.name, "tls.key", true);
        }
    }
    all
}

// === impl Kept ===

impl Kept {
    /// What is missing in what is there, made anew. Keys that are there stay.
    pub fn complete(
        &self,
        names: &Names,
        there: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, NoRandomness> {
        let lacks = |key: &str| there.get(key).is_none_or(String::is_empty);
        let mut made = BTreeMap::new();
        match self.kind {
            KeptKind::Internal => {
                for key in self.keys.iter().filter(|key| lacks(key)) {
                    made.insert((*key).to_owned(), random()?);
                }
            }
            // The hash belongs to the key; one alone is useless.
            KeptKind::ApiKey => {
                if lacks("key") {
                    let key = random()?;
                    made.insert(KEYS_FILE.to_owned(), keys_file(&key));
                    made.insert("key".to_owned(), key);
                } else if lacks(KEYS_FILE)
                    && let Some(key) = there.get("key")
                {
                    made.insert(KEYS_FILE.to_owned(), keys_file(key));
                }
            }
            KeptKind::NatsGateway | KeptKind::NatsApp => {
                let user = if self.kind == KeptKind::NatsApp { "app" } else { "gateway" };
                if lacks("password") {
                    made.insert("password".to_owned(), random()?);
                }
                if lacks("username") {
                    made.insert("username".to_owned(), user.to_owned());
                }
                if self.kind == KeptKind::NatsApp && lacks("url") {
                    let url = format!("nats://{}:{}", names.host(&names.nats()), port::NATS);
                    made.insert("url".to_owned(), url);
                }
            }
        }
        Ok(made)
    }
}

/// 256 random bits. A letter comes first: nats-server takes a variable's
/// value for a number if it looks like one.
fn random() -> Result<String, NoRandomness> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    let text = URL_SAFE_NO_PAD.encode(bytes).replace(['-', '_'], "x");
    Ok(format!("p{text}"))
}

/// One key, for everything.
fn keys_file(key: &str) -> String {
    let list = json!([{
        "name": "default",
        "sha256": hash::full(key.as_bytes()),
        "scopes": ["publish", "read", "admin"],
    }]);
    serde_saphyr::to_string(&list).unwrap_or_else(|_| list.to_string())
}

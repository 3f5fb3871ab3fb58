//! Secrets that the operator makes once and keeps, and those of users that it
//! reads.

use std::collections::BTreeMap;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::certificates::{self, CertificateError, Pair};
use super::config::KEYS_FILE;
use super::names::{Names, port};
use super::plan::Wire;
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
/// Key of a certificate.
pub const CERTIFICATE: &str = "tls.crt";
/// Key of its key.
pub const CERTIFICATE_KEY: &str = "tls.key";
/// Key of the certificates of those who are trusted.
pub const BUNDLE: &str = "ca.crt";

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
    /// Who signs the certificates.
    Authority,
    /// The NATS servers' certificate.
    NatsCertificate,
    /// The certificate that gateways show each other.
    PeerCertificate,
}

/// What a kept Secret's content follows from, beside what is there.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Of whom.
    pub names: &'a Names,
    /// The kept Secrets before it in the list.
    pub others: &'a BTreeMap<SecretKey, String>,
    /// How far managed NATS is on its way to TLS.
    pub wire: Wire,
    /// Seconds since 1970.
    pub now: i64,
}

/// Why a Secret's content can't be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
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
    let pair = || vec![CERTIFICATE, CERTIFICATE_KEY, BUNDLE];
    all.push(Kept { name: names.ca(), keys: pair(), kind: KeptKind::Authority });
    all.push(Kept { name: names.peer_tls(), keys: pair(), kind: KeptKind::PeerCertificate });
    if managed {
        all.push(Kept { name: names.nats_tls(), keys: pair(), kind: KeptKind::NatsCertificate });
        let keys = vec!["username", "password"];
        all.push(Kept { name: names.nats_gateway(), keys, kind: KeptKind::NatsGateway });
        let keys = vec!["url", "username", "password", BUNDLE];
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
    /// What is missing in what is there, or has had its time, made anew. All
    /// else stays.
    pub fn complete(
        &self,
        there: &BTreeMap<String, String>,
        of: &Circumstances<'_>,
    ) -> Result<BTreeMap<String, String>, MakeError> {
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
                if self.kind == KeptKind::NatsApp {
                    made.extend(way_in(there, of));
                }
            }
            KeptKind::Authority => made.extend(authority(there, of)?),
            KeptKind::NatsCertificate => {
                made.extend(certificate(there, &of.names.nats_hosts(), of)?);
            }
            KeptKind::PeerCertificate => {
                made.extend(certificate(there, &[of.names.peer_host()], of)?);
            }
        }
        Ok(made)
    }
}

// === impl Circumstances ===

impl Circumstances<'_> {
    fn value(&self, name: String, key: &str) -> &str {
        let at = SecretKey { name, key: key.to_owned() };
        self.others.get(&at).map_or("", String::as_str)
    }
}

/// Where apps find NATS, and whom they trust there.
fn way_in(there: &BTreeMap<String, String>, of: &Circumstances<'_>) -> BTreeMap<String, String> {
    let mut made = BTreeMap::new();
    let url = |scheme| format!("{scheme}://{}:{}", of.names.host(&of.names.nats()), port::NATS);
    let wanted = url(if of.wire == Wire::Upgrading { "nats" } else { "tls" });
    let before = there.get("url").map_or("", String::as_str);
    // Another one is a person's.
    if before.is_empty() || (before != wanted && before == url("nats")) {
        made.insert("url".to_owned(), wanted);
    }
    let bundle = of.value(of.names.nats_tls(), BUNDLE);
    if there.get(BUNDLE).is_none_or(|before| before != bundle) {
        made.insert(BUNDLE.to_owned(), bundle.to_owned());
    }
    made
}

fn pair(there: &BTreeMap<String, String>) -> Pair {
    let value = |key: &str| there.get(key).cloned().unwrap_or_default();
    Pair { certificate: value(CERTIFICATE), key: value(CERTIFICATE_KEY) }
}

/// The authority, and with it in the bundle those before it that still hold.
fn authority(
    there: &BTreeMap<String, String>,
    of: &Circumstances<'_>,
) -> Result<BTreeMap<String, String>, CertificateError> {
    let mut made = BTreeMap::new();
    let mut pair = pair(there);
    if certificates::authority_is_due(&pair, of.now) {
        pair = certificates::authority(&of.names.to_string(), of.now)?;
        made.extend(written(&pair));
    }
    made.extend(bundle(&pair.certificate, there, of.now));
    Ok(made)
}

/// A certificate for these hosts. Its own bundle is the authority's and what
/// it had before: so an authority's Secret that is lost loses nobody's trust.
fn certificate(
    there: &BTreeMap<String, String>,
    hosts: &[String],
    of: &Circumstances<'_>,
) -> Result<BTreeMap<String, String>, CertificateError> {
    let value = |key| of.value(of.names.ca(), key).to_owned();
    let authority = Pair { certificate: value(CERTIFICATE), key: value(CERTIFICATE_KEY) };
    let mut made = bundle(&value(BUNDLE), there, of.now);
    let trusted = made.get(BUNDLE).or_else(|| there.get(BUNDLE)).cloned().unwrap_or_default();
    if certificates::certificate_is_due(&pair(there), hosts, &authority, &trusted, of.now) {
        made.extend(written(&certificates::sign(&authority, hosts, of.now)?));
    }
    Ok(made)
}

/// A bundle that is not what it should be.
fn bundle(first: &str, there: &BTreeMap<String, String>, now: i64) -> BTreeMap<String, String> {
    let before = there.get(BUNDLE).map_or("", String::as_str);
    let wanted = certificates::bundle(first, before, now).trim_end().to_owned();
    if wanted == before {
        return BTreeMap::new();
    }
    BTreeMap::from([(BUNDLE.to_owned(), wanted)])
}

fn written(pair: &Pair) -> BTreeMap<String, String> {
    // As it is read again.
    let text = |pem: &str| pem.replace("\r\n", "\n").trim_end().to_owned();
    BTreeMap::from([
        (CERTIFICATE.to_owned(), text(&pair.certificate)),
        (CERTIFICATE_KEY.to_owned(), text(&pair.key)),
    ])
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

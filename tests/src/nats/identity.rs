//! Who speaks to a nats-server: nkeys, JWTs of an operator's accounts, and
//! certificates of an authority of our own.

// A harness fails the test that it serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::gateway::scratch;

/// A folder of secrets that ends with its value.
pub struct Secrets {
    folder: PathBuf,
}

/// An operator with one account, which has `JetStream`.
pub struct Operator {
    itself: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

/// An authority's certificate and those that it signed are files in a folder:
/// `ca.crt`, and `<name>.crt` with `<name>.key`.
pub struct Authority<'a> {
    secrets: &'a Secrets,
    name: &'static str,
}

// === impl Secrets ===

impl Default for Secrets {
    fn default() -> Self {
        let folder = scratch("secrets");
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }
}

impl Secrets {
    /// Writes a file; its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A file's path.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// An authority that nobody knows yet.
    ///
    /// # Panics
    ///
    /// When there is no `openssl`.
    pub fn authority(&self, name: &'static str) -> Authority<'_> {
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"];
        openssl(&self.folder, name, &extensions, None);
        Authority { secrets: self, name }
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

// === impl Authority ===

impl Authority<'_> {
    /// Its own certificate.
    pub fn certificate(&self) -> String {
        self.secrets.path(&format!("{}.crt", self.name))
    }

    /// Signs a certificate for 127.0.0.1; the paths of it and of its key.
    pub fn sign(&self, name: &str) -> (String, String) {
        self.sign_for(name, "IP:127.0.0.1")
    }

    /// The same for other names: `DNS:live-peers`.
    pub fn sign_for(&self, name: &str, names: &str) -> (String, String) {
        let names = format!("subjectAltName={names}");
        let extensions = ["basicConstraints=CA:FALSE", &names];
        openssl(&self.secrets.folder, name, &extensions, Some(self.name));
        (self.secrets.path(&format!("{name}.crt")), self.secrets.path(&format!("{name}.key")))
    }
}

/// Makes a key and its certificate.
fn openssl(folder: &Path, name: &str, extensions: &[&str], by: Option<&str>) {
    let config = folder.join("openssl.conf");
    std::fs::write(&config, "[req]\ndistinguished_name = name\n[name]\n").unwrap();
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-config", "openssl.conf"]);
    command.args(["-subj", &format!("/CN={name}")]);
    command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
    if let Some(by) = by {
        command.args(["-CA", &format!("{by}.crt"), "-CAkey", &format!("{by}.key")]);
    }
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    let output = command.stdin(Stdio::null()).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

// === impl Operator ===

impl Default for Operator {
    fn default() -> Self {
        Self {
            itself: KeyPair::new_operator(),
            // JetStream doesn't start without one.
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
        }
    }
}

impl Operator {
    /// What a server's configuration says of them.
    pub fn config(&self) -> String {
        let operator = jwt(&self.itself, &self.itself, json!({"type": "operator"}));
        let account = |key: &KeyPair, storage: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1,
                "mem_storage": storage, "disk_storage": storage, "streams": storage,
                "consumer": storage,
            });
            jwt(&self.itself, key, json!({"type": "account", "limits": limits}))
        };
        let system = self.system.public_key();
        format!(
            "operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{\n{system}: {}\n{}: {}\n}}\n",
            account(&self.system, 0),
            self.account.public_key(),
            account(&self.account, -1),
        )
    }

    /// The credentials file of a user of the account.
    pub fn credentials(&self) -> String {
        let user = KeyPair::new_user();
        let claims = json!({"type": "user", "subs": -1, "data": -1, "payload": -1});
        let jwt = jwt(&self.account, &user, claims);
        let seed = user.seed().unwrap();
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

fn jwt(issuer: &KeyPair, subject: &KeyPair, mut claims: Value) -> String {
    claims["version"] = 2.into();
    let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let sub = subject.public_key();
    let body = encode(&json!({
        "jti": sub, "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": sub,
        "name": "test", "nats": claims,
    }));
    let signed = format!("{header}.{body}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

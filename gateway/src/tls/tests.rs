#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Duration;

use super::ListenerTls;
use crate::metrics::Metrics;

/// A folder with files of this test alone.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("push-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn certified() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn open(cert: &str, key: &str) -> Result<ListenerTls, String> {
    let config = gateway_config::ListenerTls { cert: cert.to_owned(), key: key.to_owned() };
    ListenerTls::open("client.tls", &config, Duration::from_secs(1), Metrics::default())
        .map_err(|trouble| trouble.to_string())
}

#[test]
fn what_cannot_be_used_is_told_with_its_file_and_key() {
    let folder = Folder::new("bad");
    let (cert, key) = certified();
    let (_, other) = certified();
    let cert = folder.file("cert", &cert);
    let key = folder.file("key", &key);
    let other = folder.file("other", &other);
    let empty = folder.file("empty", "");
    let missing = folder.0.join("missing").display().to_string();
    assert!(open(&cert, &key).is_ok());
    for (cert, key, file, setting, why) in [
        (&missing, &key, &missing, "client.tls.cert", "No such file"),
        (&cert, &missing, &missing, "client.tls.key", "No such file"),
        (&empty, &key, &empty, "client.tls.cert", "no certificate"),
        (&cert, &empty, &empty, "client.tls.key", "no private key"),
        (&key, &key, &key, "client.tls.cert", "no certificate"),
        (&cert, &other, &other, "client.tls.key", "eys"),
    ] {
        let trouble = open(cert, key).err().unwrap();
        for part in [file.as_str(), setting, why] {
            assert!(trouble.contains(part), "{part} in {trouble}");
        }
        assert!(!trouble.contains("PRIVATE"), "{trouble}");
    }
}

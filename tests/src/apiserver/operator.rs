//! Starts the built `push-operator` and ends it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::ApiServer;

/// A running operator. It ends with its value.
pub struct Operator {
    child: Child,
    log: PathBuf,
    listen: String,
}

/// Where the binary is: `PUSHCLUSTER_OPERATOR_BIN`, or beside this test's.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PUSHCLUSTER_OPERATOR_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(|deps| deps.parent()).unwrap().join("push-operator");
    assert!(path.exists(), "no {}: cargo build -p operator", path.display());
    path
}

/// What the definition is applied from.
pub(super) fn crd() -> String {
    let output = Command::new(binary()).arg("crd").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

// === impl Operator ===

impl Operator {
    /// Starts a replica of this name, as the user `operator`, with more flags.
    pub fn start(kubernetes: &ApiServer, identity: &str, flags: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{}", super::free_port());
        let log = kubernetes.folder.join(format!("operator-{identity}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let child = super::tethered(&binary())
            .env("KUBECONFIG", kubernetes.kubeconfig("operator"))
            .args(["--identity", identity, "--listen", &listen])
            .args((!flags.contains(&"--lease-namespace")).then_some("--lease-namespace=default"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log, listen }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What its URLs begin with.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Its memory in MiB, as the kernel counts it.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or_default() / 1024
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A real Kubernetes: the one that `tests/cluster/cluster` starts, or the one
//! that `KUBECONFIG` names.
//!
//! # Layout
//!
//! - here: the cluster, kubectl and helm
//! - [`client`]: clients with an address of their own
//! - [`images`]: what the images are called
//! - [`live`]: a push service as the chart and the operator make it
//! - [`namespace`]: a test's own namespace, gone with it
//! - [`traffic`]: clients and an app that notice whatever is lost
//! - [`watch`]: what pods go through while something happens

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

pub mod client;
pub mod images;
pub mod live;
pub mod namespace;
pub mod traffic;
pub mod watch;

pub use client::Client;
pub use live::{Live, Place};
pub use namespace::Namespace;
pub use traffic::{Load, Traffic};
pub use watch::Watch;

/// Longest wait for what Kubernetes must bring about: images, volumes and
/// probes take their time, on a busy machine more of it.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// A cluster that runs.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `tests/cluster/cluster`.
    script: PathBuf,
    /// Whether it is one that was there before.
    foreign: bool,
}

// === impl Cluster ===

impl Cluster {
    /// The cluster; or nothing, after a line that says why: then the test is
    /// skipped, and `tests/run` counts it so.
    ///
    /// `PUSHCLUSTER_REQUIRED` names the parts that must not be skipped; with
    /// `cluster` among them there must be one.
    ///
    /// # Panics
    ///
    /// When there is none and there must be.
    pub async fn find() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/cluster");
        let mut cluster = Self { script, foreign: false };
        let why = match cluster.run("status", &[], None).await {
            Ok(status) => {
                cluster.foreign = status.starts_with("foreign");
                return Some(cluster);
            }
            Err(why) => why.lines().last().unwrap_or("it does not answer").to_owned(),
        };
        skip(&format!("no cluster: {why}"));
        None
    }

    /// The cluster, if it has faults and clients on demand: an own one has not.
    ///
    /// # Panics
    ///
    /// Like [`Self::find`].
    pub async fn find_ours() -> Option<Self> {
        let cluster = Self::find().await?;
        if cluster.foreign {
            println!("skipped: {}: not with a cluster from KUBECONFIG", test_name());
            return None;
        }
        Some(cluster)
    }

    /// `tests/cluster/cluster`.
    pub fn script(&self) -> &Path {
        &self.script
    }

    /// Whether it was there before, and may hold other things.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Runs kubectl; what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        expect(arguments, self.try_kubectl(arguments).await)
    }

    /// The same, where it may fail: then what it said.
    pub async fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("kubectl", arguments, None).await
    }

    /// Runs helm; what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub async fn helm(&self, arguments: &[&str]) -> String {
        expect(arguments, self.try_helm(arguments).await)
    }

    /// The same, where it may fail: then what it said.
    pub async fn try_helm(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("helm", arguments, None).await
    }

    /// Runs `kubectl push`, as kubectl runs a plugin that it finds on the path;
    /// what it printed.
    ///
    /// # Panics
    ///
    /// When it fails, or is not built.
    pub async fn kubectl_push(&self, arguments: &[&str]) -> String {
        let test = std::env::current_exe().expect("a running program has a path");
        // target/<profile>/deps/<test>
        let built = test.parent().and_then(Path::parent).expect("a test is in target/");
        assert!(
            built.join("kubectl-push").exists(),
            "{} has no kubectl-push: run `cargo build -p operator`",
            built.display()
        );
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(&self.script);
        command.env("PATH", format!("{}:{path}", built.display()));
        command.args(["kubectl", "push"]).args(arguments);
        expect(arguments, run(command, None).await)
    }

    /// Gives a loaded image another name, too.
    ///
    /// # Panics
    ///
    /// When it isn't loaded.
    pub async fn tag(&self, image: &str, other: &str) {
        expect(&["tag"], self.run("tag", &[image, other], None).await);
    }

    /// Loads the images of the version before this one; its chart's folder. Or
    /// nothing, after a line that says why: then the test is skipped.
    ///
    /// # Panics
    ///
    /// When there is none and `PUSHCLUSTER_REQUIRED` names `cluster`.
    pub async fn previous(&self) -> Option<PathBuf> {
        match self.run("previous", &[], None).await {
            Ok(folder) => Some(folder.trim().into()),
            Err(why) => {
                skip(why.lines().last().unwrap_or("it can't be had"));
                None
            }
        }
    }

    /// One object, or a list of them, as JSON: `get` with these arguments.
    ///
    /// # Panics
    ///
    /// When it isn't there.
    pub async fn get(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl get: {error}: {text}"))
    }

    /// Applies manifests.
    ///
    /// # Panics
    ///
    /// When one is refused.
    pub async fn apply(&self, namespace: &str, manifests: &str) {
        expect(&["apply"], self.try_apply(namespace, manifests).await);
    }

    /// The same, where one may be refused: then why.
    pub async fn try_apply(&self, namespace: &str, manifests: &str) -> Result<String, String> {
        self.run("kubectl", &["-n", namespace, "apply", "-f", "-"], Some(manifests)).await
    }

    /// Makes a fault, or ends one: `pod kill ns/name`, `part pause etcd`; see
    /// `tests/cluster/cluster help`.
    ///
    /// # Panics
    ///
    /// When it can't be made.
    pub async fn fault(&self, arguments: &[&str]) {
        let (command, rest) = arguments.split_first().expect("a fault");
        expect(arguments, self.run(command, rest, None).await);
    }

    /// Looks again and again until what kubectl prints satisfies `enough`.
    ///
    /// # Panics
    ///
    /// After [`PATIENCE`], with what was printed last.
    pub async fn wait(&self, what: &str, arguments: &[&str], enough: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let until = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < until {
            last = match self.try_kubectl(arguments).await {
                Ok(printed) if enough(&printed) => return,
                Ok(printed) | Err(printed) => printed,
            };
            tokio::time::sleep(LOOK).await;
        }
        panic!("waited {PATIENCE:?} in vain for {what}; kubectl {arguments:?}:\n{last}");
    }

    async fn run(
        &self,
        command: &str,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<String, String> {
        let mut script = Command::new(&self.script);
        script.arg(command).args(arguments);
        run(script, input).await
    }
}

/// Runs a command to its end: what it printed, or with that why it failed.
async fn run(mut command: Command, input: Option<&str>) -> Result<String, String> {
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A command that ends early says why on stderr.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let Output { status, stdout, stderr } =
        child.wait_with_output().await.map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&stdout).into_owned();
    if status.success() {
        Ok(printed)
    } else {
        Err(format!("{printed}{}", String::from_utf8_lossy(&stderr)))
    }
}

/// Says that the test is skipped, and why, as `tests/run` counts it.
fn skip(why: &str) {
    let required = std::env::var("PUSHCLUSTER_REQUIRED").unwrap_or_default();
    assert!(!required.split_whitespace().any(|part| part == "cluster"), "{why}");
    println!("skipped: {}: {why}", test_name());
}

fn expect(arguments: &[&str], result: Result<String, String>) -> String {
    result.unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// The running test's name: libtest gives it to the thread.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

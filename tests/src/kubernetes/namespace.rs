//! A test's own namespace, gone with it.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::Cluster;

/// A namespace of its own. It is deleted when this is dropped, unless the test
/// fails: then it stays until the cluster goes, for the logs.
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

// === impl Namespace ===

impl Namespace {
    /// Makes one whose name begins so. Pods in it must satisfy the restricted
    /// Pod Security Standard.
    ///
    /// # Panics
    ///
    /// When it can't be made.
    pub async fn new(cluster: &Cluster, begin: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{begin}-{}-{number}", std::process::id());
        cluster.kubectl(&["create", "namespace", &name]).await;
        let namespace = Self { cluster: cluster.clone(), name };
        namespace
            .cluster
            .kubectl(&[
                "label",
                "namespace",
                &namespace.name,
                "pod-security.kubernetes.io/enforce=restricted",
            ])
            .await;
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// kubectl in it; what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&self.within(arguments)).await
    }

    /// `kubectl get` in it, as JSON.
    ///
    /// # Panics
    ///
    /// When it isn't there.
    pub async fn get(&self, arguments: &[&str]) -> Value {
        self.cluster.get(&self.within(arguments)).await
    }

    /// Applies manifests in it.
    ///
    /// # Panics
    ///
    /// When one is refused.
    pub async fn apply(&self, manifests: &str) {
        self.cluster.apply(&self.name, manifests).await;
    }

    /// Waits until `kubectl wait --for` is satisfied, also with objects that
    /// are not there yet: `wait_for("condition=Ready", "push/live")`.
    ///
    /// # Panics
    ///
    /// When it isn't in time.
    pub async fn wait_for(&self, condition: &str, object: &str) {
        let wanted = format!("--for={condition}");
        let arguments = self.within(&["wait", &wanted, object, "--timeout=2s"]);
        self.cluster.wait(&format!("{condition} of {object}"), &arguments, |_| true).await;
    }

    /// Waits until a workload has all its pods, all of its present template.
    ///
    /// # Panics
    ///
    /// When it hasn't in time.
    pub async fn rolled_out(&self, workload: &str) {
        let arguments = self.within(&["rollout", "status", workload, "--timeout=2s"]);
        self.cluster.wait(&format!("the rollout of {workload}"), &arguments, |_| true).await;
    }

    /// Address and port of a Service, by the port's name.
    ///
    /// # Panics
    ///
    /// When it has no such port.
    pub async fn service(&self, service: &str, port: &str) -> String {
        let object = self.get(&["service", service]).await;
        let number = object["spec"]["ports"]
            .as_array()
            .and_then(|ports| ports.iter().find(|each| each["name"] == port))
            .unwrap_or_else(|| panic!("Service {service} has no port {port}: {object}"));
        format!("{}:{}", object["spec"]["clusterIP"].as_str().unwrap_or_default(), number["port"])
    }

    /// Names and addresses of the running pods that a selector matches.
    ///
    /// # Panics
    ///
    /// When the API server doesn't answer.
    pub async fn pods(&self, selector: &str) -> Vec<(String, String)> {
        let list = self.get(&["pods", "-l", selector]).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|pod| pod["status"]["phase"] == "Running")
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| (text(&pod["metadata"]["name"]), text(&pod["status"]["podIP"])))
            .collect()
    }

    /// A pod's name as the cluster's faults take it.
    pub fn path(&self, pod: &str) -> String {
        format!("{}/{pod}", self.name)
    }

    fn within<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["-n", self.name.as_str()], arguments].concat()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the namespace {} stays, for its logs", self.name);
            return;
        }
        let _ = Command::new(&self.cluster.script)
            .args(["kubectl", "delete", "namespace", &self.name, "--wait=false"])
            .stdout(Stdio::null())
            .status();
    }
}

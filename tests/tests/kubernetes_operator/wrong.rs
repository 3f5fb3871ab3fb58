//! What a person gets wrong is said within half a minute, and heals.

use std::time::Duration;

use serde_json::Value;
use tests::kubernetes::live::{condition, install};
use tests::kubernetes::{Cluster, Namespace, images};
use tokio::time::{Instant, sleep, sleep_until};

use super::CALM;

/// How long a person has to wait for an answer, at most.
const SOON: Duration = Duration::from_secs(30);
/// Longer than a gateway has ever waited for NATS before it gave up.
const LONG: Duration = Duration::from_secs(75);

/// Its NATS isn't there, yet.
const NOWHERE: &str = r#"
apiVersion: pushcluster.io/v1alpha1
kind: PushCluster
metadata: {name: nowhere}
spec:
  replicas: 1
  nats: {external: {url: "nats://late:4222"}}
"#;

/// Its Secret isn't there, yet.
const KEYLESS: &str = r#"
apiVersion: pushcluster.io/v1alpha1
kind: PushCluster
metadata: {name: keyless}
spec:
  replicas: 1
  nats: {external: {url: "nats://late:4222"}}
  auth: {apiKeysSecret: {name: forgotten}}
"#;

/// That NATS.
const LATE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: late}
spec: {selector: {app: late}, ports: [{name: nats, port: 4222}]}
---
apiVersion: v1
kind: Pod
metadata: {name: late, labels: {app: late}}
spec:
  enableServiceLinks: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: nats
    image: {{nats}}
    imagePullPolicy: IfNotPresent
    args: [--jetstream, --store_dir=/data, --http_port=8222]
    readinessProbe: {httpGet: {path: /healthz, port: 8222}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
";

/// That Secret.
const FORGOTTEN: &str = "
apiVersion: v1
kind: Secret
metadata: {name: forgotten}
stringData:
  keys.yaml: |
    - {name: own, sha256: 62af8704764faf8ea82fc61ce9c4c3908b6cb97d463a634e9e587d7c885db0ef, scopes: [publish]}
";

#[tokio::test]
async fn a_wrong_nats_url_and_a_missing_secret_are_said_soon_and_end_no_gateway() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    install(&cluster).await;
    let namespace = Namespace::new(&cluster, "wrong").await;
    let calm = CALM.read().await;

    namespace.apply(NOWHERE).await;
    namespace.apply(KEYLESS).await;
    let applied = Instant::now();
    said(&namespace, "nowhere", "NatsReady", "nats://late:4222").await;
    said(&namespace, "keyless", "Ready", "\"forgotten\"").await;
    drop(calm);

    sleep_until(applied + LONG).await;
    let pods = namespace.get(&["pods", "-l", "app.kubernetes.io/instance=nowhere"]).await;
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 1);
    let container = &pods[0]["status"]["containerStatuses"][0];
    assert_eq!(container["restartCount"], 0, "{container:#}");
    assert!(container["state"]["running"].is_object(), "{container:#}");
    let none = namespace.get(&["pods", "-l", "app.kubernetes.io/instance=keyless"]).await;
    assert_eq!(none["items"].as_array().unwrap().len(), 0, "there is nothing to start yet");

    // Both come, and nobody has to touch the manifests.
    namespace.apply(&LATE.replace("{{nats}}", &images::nats())).await;
    namespace.apply(FORGOTTEN).await;
    namespace.wait_for("condition=Ready", "push/nowhere").await;
    namespace.wait_for("condition=Ready", "push/keyless").await;
    let pods = namespace.get(&["pods", "-l", "app.kubernetes.io/instance=nowhere"]).await;
    assert_eq!(pods["items"][0]["status"]["containerStatuses"][0]["restartCount"], 0);
}

/// Waits until a condition is false and its message names something.
async fn said(namespace: &Namespace, name: &str, kind: &str, what: &str) {
    let until = Instant::now() + SOON;
    loop {
        let object = namespace.get(&["push", name]).await;
        let found = condition(&object["status"], kind);
        let names_it = found["message"].as_str().is_some_and(|message| message.contains(what));
        if found["status"] == "False" && names_it {
            return;
        }
        let all: &Value = &object["status"]["conditions"];
        assert!(Instant::now() < until, "after {SOON:?}, {kind} does not name {what}: {all:#}");
        sleep(Duration::from_millis(250)).await;
    }
}

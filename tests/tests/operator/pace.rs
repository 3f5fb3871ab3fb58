//! A rollout by Kubernetes' own controllers, where the test takes the kubelet's
//! place: a gateway is ready, or gone, when it says so.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Operator};

use super::life::{made, manifest};

const NAMESPACE: &str = "pace";
/// Drains are short, so a new gateway must be ready for half a minute.
const SPEC: &str = "{replicas: 2, nats: {external: {url: 'nats://nats.example.com:4222'}}, drain: {delay: 0s, period: 1s}MORE}";
const MIN_READY: u64 = 30;
/// Keeps a pod that is deleted, as a gateway does that drains.
const DRAINS: &str = "example.com/drains";

pub(super) fn kept(kubernetes: &ApiServer) {
    let operator = Operator::start(kubernetes, "pace", &[]);
    made(kubernetes, NAMESPACE, &SPEC.replace("MORE", ""));
    let old = kubernetes.eventually("two gateways", || {
        let all = pods(kubernetes).0;
        (all.len() == 2).then_some(all)
    });
    for pod in &old {
        ready(kubernetes, pod);
    }
    kubernetes.eventually("both to be ready", || {
        let gateways = kubernetes.get(NAMESPACE, "deployment/live")?;
        (gateways["status"]["readyReplicas"] == 2).then_some(())
    });
    assert_eq!(min_ready(kubernetes), MIN_READY);

    let version = |number: u8| {
        let more = format!(", pod: {{annotations: {{example.com/version: '{number}'}}}}");
        kubernetes.apply(NAMESPACE, &manifest("live", &SPEC.replace("MORE", &more)));
    };
    // Another version: one new gateway, and when it has been ready for long
    // enough, an old one is asked to go. It drains, and does not come to an end.
    version(2);
    let first = another(kubernetes, &old);
    ready(kubernetes, &first);
    let slow = kubernetes
        .eventually("an old gateway to be asked to go", || draining(kubernetes).first().cloned());
    assert!(old.contains(&slow), "{slow} is none of {old:?}");
    let second = another(kubernetes, &[&old[..], &[first]].concat());
    ready(kubernetes, &second);
    kubernetes.eventually(&format!("the rollout to wait\n{}", operator.log()), || {
        let (_, _, said) = kubernetes.condition(NAMESPACE, "live", "Progressing")?;
        said.ends_with("1 drains, and the next waits until that has ended").then_some(())
    });
    assert!(min_ready(kubernetes) > 2 * MIN_READY);

    // Another version still: it must end nobody now.
    version(3);
    kubernetes.eventually("the newest version to wait", || {
        let (_, _, said) = kubernetes.condition(NAMESPACE, "live", "Progressing")?;
        said.starts_with("another version is wanted").then_some(())
    });
    version(2);
    // By now the second one has been ready for long enough.
    std::thread::sleep(Duration::from_secs(MIN_READY + 5));
    assert_eq!(draining(kubernetes), std::slice::from_ref(&slow), "nobody but who drained before");

    // It has gone; the other one may.
    gone(kubernetes, &slow);
    let last = kubernetes
        .eventually("the other one to be asked to go", || draining(kubernetes).first().cloned());
    assert!(old.contains(&last) && last != slow, "{last} is not the other one of {old:?}");
    gone(kubernetes, &last);
    kubernetes.eventually("the rollout to be over", || {
        let (_, reason, _) = kubernetes.condition(NAMESPACE, "live", "Progressing")?;
        (reason == "Settled" && min_ready(kubernetes) == MIN_READY).then_some(())
    });
}

/// Names of the gateways' pods, and those that were asked to go.
fn pods(kubernetes: &ApiServer) -> (Vec<String>, Vec<String>) {
    let selector = "app.kubernetes.io/name=pushcluster-gateway";
    let list = kubernetes.must(&["get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let all = list["items"].as_array().unwrap().iter();
    let (staying, leaving): (Vec<_>, Vec<_>) =
        all.partition(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let names = |pods: Vec<&Value>| {
        pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    (names(staying), names(leaving))
}

fn draining(kubernetes: &ApiServer) -> Vec<String> {
    pods(kubernetes).1
}

/// A gateway that is none of these.
fn another(kubernetes: &ApiServer, known: &[String]) -> String {
    kubernetes.eventually("a new gateway", || {
        pods(kubernetes).0.into_iter().find(|pod| !known.contains(pod))
    })
}

/// What a kubelet would say, and that it takes its time to go.
fn ready(kubernetes: &ApiServer, pod: &str) {
    let keep = json!({"metadata": {"finalizers": [DRAINS]}}).to_string();
    kubernetes.must(&["patch", "-n", NAMESPACE, "pod", pod, "--type=merge", "-p", &keep]);
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    let now = String::from_utf8(now).unwrap();
    let status = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": now.trim()},
    ]}});
    let patch = ["--subresource=status", "--type=merge", "-p", &status.to_string()];
    kubernetes.must(&[&["patch", "-n", NAMESPACE, "pod", pod][..], &patch].concat());
}

fn gone(kubernetes: &ApiServer, pod: &str) {
    let none = r#"{"metadata": {"finalizers": null}}"#;
    kubernetes.must(&["patch", "-n", NAMESPACE, "pod", pod, "--type=merge", "-p", none]);
}

fn min_ready(kubernetes: &ApiServer) -> u64 {
    let gateways = kubernetes.get(NAMESPACE, "deployment/live").unwrap();
    gateways["spec"]["minReadySeconds"].as_u64().unwrap()
}

//! Two replicas of the operator.

use tests::apiserver::{ApiServer, Operator, rights};

use super::life::manifest;

fn holder(kubernetes: &ApiServer) -> Option<String> {
    let lease = kubernetes.get("default", "lease/push-operator")?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned).filter(|holder| !holder.is_empty())
}

pub(super) fn takes_over(kubernetes: &ApiServer) {
    let first = Operator::start(kubernetes, "first", &[]);
    kubernetes.eventually("the first to lead", || (holder(kubernetes)? == "first").then_some(()));
    let second = Operator::start(kubernetes, "second", &[]);
    kubernetes.eventually("both to be ready", || {
        let ready = |operator| answer(operator, "readyz").is_some();
        (ready(&first) && ready(&second)).then_some(())
    });
    assert_eq!(holder(kubernetes).as_deref(), Some("first"));

    assert!(first.stop().success(), "it ends with 0");
    // Given back: nobody waits for it to run out.
    assert_ne!(holder(kubernetes).as_deref(), Some("first"));
    kubernetes.eventually("the second to lead", || (holder(kubernetes)? == "second").then_some(()));
    kubernetes.namespace("taken-over");
    kubernetes.apply("taken-over", &manifest("live", "{}"));
    kubernetes.eventually("its work", || kubernetes.get("taken-over", "deployment/live"));
    restarted(kubernetes, "taken-over", "live-nats-1");
    kubernetes.eventually("an Event of it", || {
        let said = events_of(kubernetes, "taken-over", "PushCluster");
        said.iter().any(|one| one.0.starts_with(RESTARTED)).then_some(())
    });
    // Killed, it gives nothing back; who comes after it says so.
    drop(second);
    let third = Operator::start(kubernetes, "third", &[]);
    kubernetes.eventually("the third to lead", || (holder(kubernetes)? == "third").then_some(()));
    kubernetes.eventually("an Event of each", || {
        let said = events(kubernetes);
        let all = [
            "LeaderStopped first does not act any more",
            "LeaderElected second acts",
            "LeaderElected third acts from now on, instead of second",
        ];
        all.iter().all(|what| said.iter().any(|one| one.starts_with(what))).then_some(())
    });
    kubernetes.eventually("the third to have looked at it", || {
        let metrics = answer(&third, "metrics")?;
        metrics.contains("push_operator_reconciles_total{outcome=\"ok\"}").then_some(())
    });
    // What has happened was said, and what still holds, too.
    let said = events_of(kubernetes, "taken-over", "PushCluster");
    for (what, _) in &said {
        let times = said.iter().filter(|one| one.0 == *what).count();
        assert_eq!(times, 1, "{what}: {said:?}");
    }
    assert!(said.iter().any(|one| one.0.starts_with("OpenToEverybody")), "{said:?}");
    drop(third);
}

/// What an operator answers, where it does so with success.
fn answer(operator: &Operator, path: &str) -> Option<String> {
    let url = format!("{}/{path}", operator.url());
    let output = std::process::Command::new("curl").args(["-sf", &url]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What is said when a server was started again.
const RESTARTED: &str = "NatsServerRestarted NATS server live-nats-1 was started again, 1 times";

/// What a kubelet would say of a server whose container it has started again.
fn restarted(kubernetes: &ApiServer, namespace: &str, pod: &str) {
    kubernetes.eventually("its pod", || kubernetes.get(namespace, &format!("pod/{pod}")));
    let container = serde_json::json!({
        "name": "nats", "image": "nats", "imageID": "nats", "ready": false, "restartCount": 1,
    });
    let status = serde_json::json!({"status": {"containerStatuses": [container]}}).to_string();
    let patch = ["--subresource=status", "--type=merge", "-p", &status];
    kubernetes.must(&[&["patch", "-n", namespace, "pod", pod][..], &patch].concat());
}

/// What was said of the Lease: reason and text.
fn events(kubernetes: &ApiServer) -> Vec<String> {
    events_of(kubernetes, "default", "Lease").into_iter().map(|(said, _)| said).collect()
}

/// What was said of objects of one kind: reason and text, and by which replica.
fn events_of(kubernetes: &ApiServer, namespace: &str, kind: &str) -> Vec<(String, String)> {
    let list = kubernetes.must(&["get", "-n", namespace, "events.events.k8s.io", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let all = list["items"].as_array().unwrap().iter();
    let all = all.filter(|one| one["regarding"]["kind"] == kind);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|one| {
        let said = format!("{} {}", text(&one["reason"]), text(&one["note"]));
        (said, text(&one["reportingInstance"]))
    })
    .collect()
}

/// What the chart makes in the namespace of an operator of its own.
const SCOPE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: push-operator-scope, labels: {app.kubernetes.io/part-of: pushcluster}}\n";

/// One operator for all namespaces, and one for a single one: each manifest has
/// one owner.
pub(super) fn beside_another(kubernetes: &ApiServer) {
    kubernetes.namespace("own");
    kubernetes.apply("own", SCOPE);
    rights::grant_lease(kubernetes, "own");
    let everywhere = Operator::start(kubernetes, "everywhere", &["--gateway-image=everywhere:1"]);
    kubernetes.eventually("it to lead", || (holder(kubernetes)? == "everywhere").then_some(()));
    for namespace in ["own", "others"] {
        if namespace == "others" {
            kubernetes.namespace(namespace);
        }
        kubernetes.apply(namespace, &manifest("live", "{}"));
    }
    let image = |namespace: &str| {
        let gateways = kubernetes.get(namespace, "deployment/live")?;
        let image = &gateways["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().map(str::to_owned)
    };
    kubernetes
        .eventually("the other namespace's", || (image("others")? == "everywhere:1").then_some(()));
    assert!(image("own").is_none(), "it has an operator of its own");
    let flags = ["--namespace=own", "--lease-namespace", "own", "--gateway-image=own:1"];
    let own = Operator::start(kubernetes, "own", &flags);
    kubernetes.eventually("its own", || (image("own")? == "own:1").then_some(()));
    // Both look again.
    for namespace in ["own", "others"] {
        kubernetes.must(&["annotate", "-n", namespace, "push/live", "look=again", "--overwrite"]);
        kubernetes.must(&["scale", "-n", namespace, "push/live", "--replicas=4"]);
        kubernetes.eventually("four", || {
            let gateways = kubernetes.get(namespace, "deployment/live")?;
            (gateways["spec"]["replicas"] == 4).then_some(())
        });
    }
    assert_eq!(
        (image("own").as_deref(), image("others").as_deref()),
        (Some("own:1"), Some("everywhere:1"))
    );
    // The release goes, and with it the mark.
    assert!(own.stop().success());
    kubernetes.must(&["delete", "-n", "own", "configmap", "push-operator-scope"]);
    kubernetes.must(&["annotate", "-n", "own", "push/live", "look=once-more", "--overwrite"]);
    kubernetes
        .eventually("the other to take over", || (image("own")? == "everywhere:1").then_some(()));
    drop(everywhere);
}

pub(super) fn one_namespace(kubernetes: &ApiServer) {
    for namespace in ["mine", "other"] {
        kubernetes.namespace(namespace);
        kubernetes.apply(namespace, &manifest("live", "{}"));
    }
    let operator = Operator::start(kubernetes, "namespaced", &["--namespace", "mine"]);
    kubernetes.eventually("its own", || kubernetes.get("mine", "deployment/live"));
    kubernetes.eventually("its own status", || kubernetes.condition("mine", "live", "Ready"));
    assert!(kubernetes.get("other", "deployment/live").is_none());
    drop(operator);
}

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
        let ready = |operator: &Operator| {
            std::process::Command::new("curl")
                .args(["-sf", &format!("{}/readyz", operator.url())])
                .output()
                .is_ok_and(|output| output.status.success())
        };
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
    drop(third);
}

/// What was said of the Lease: reason and text.
fn events(kubernetes: &ApiServer) -> Vec<String> {
    let list = kubernetes.must(&["get", "-n", "default", "events.events.k8s.io", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let all = list["items"].as_array().unwrap().iter();
    let all = all.filter(|one| one["regarding"]["kind"] == "Lease");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|one| format!("{} {}", text(&one["reason"]), text(&one["note"]))).collect()
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

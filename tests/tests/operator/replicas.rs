//! Two replicas of the operator.

use tests::apiserver::{ApiServer, Operator};

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
    drop(second);
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

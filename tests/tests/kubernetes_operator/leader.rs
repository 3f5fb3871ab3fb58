//! The operator is taken away: killed, frozen, robbed of its Lease.

use std::collections::BTreeSet;

use serde_json::json;
use tests::kubernetes::live::{LEASE, MINUTE, SMALL, SYSTEM, leader, told};
use tests::kubernetes::watch::most_at_once;
use tests::kubernetes::{Cluster, Live, Load, Traffic, Watch};
use tokio::time::{Instant, sleep};

use super::CALM;

#[tokio::test]
async fn another_replica_goes_on_when_the_leader_is_lost() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    live.settled().await;
    let traffic = Traffic::start(&live, Load::LIGHT).await;
    let _disturbed = CALM.write().await;

    // Killed in the middle of a rollout.
    let before: BTreeSet<_> = live.gateways().await.into_iter().collect();
    let watch = Watch::start(live.namespace(), "app.kubernetes.io/name=pushcluster-gateway");
    let killed = leader(&cluster).await;
    live.patch(&json!({"spec": {"pod": {"annotations": {"example.com/change": "1"}}}})).await;
    live.until("a rollout to be under way", MINUTE, |object| {
        object["status"]["updatedReplicas"] == 1
    })
    .await;
    cluster.fault(&["pod", "kill", &format!("{SYSTEM}/{killed}")]).await;
    // Else it starts again, as who it was.
    cluster.kubectl(&["-n", SYSTEM, "delete", "pod", &killed, "--grace-period=0", "--force"]).await;
    let next = another(&cluster, &killed).await;
    live.rolled_out().await;
    let after: BTreeSet<_> = live.gateways().await.into_iter().collect();
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} are renewed: {after:?}");
    let left = watch.finish();
    assert!(left.len() == 2 && most_at_once(&left) == 1, "one after the other: {left:#?}");

    // Frozen: it can't know that it leads no more.
    wait_for_two(&cluster).await;
    cluster.fault(&["pod", "pause", &format!("{SYSTEM}/{next}")]).await;
    let last = another(&cluster, &next).await;
    live.scale(3).await;
    live.until("the other replica to act", MINUTE, |o| o["status"]["readyReplicas"] == 3).await;
    cluster.fault(&["pod", "resume", &format!("{SYSTEM}/{next}")]).await;
    live.scale(2).await;
    live.until("the other replica to act on", MINUTE, |o| o["status"]["replicas"] == 2).await;
    assert_eq!(leader(&cluster).await, last, "who wakes up does not take it back");
    lost(&cluster, &next).await;

    // Robbed: somebody else stands in the Lease, and nobody acts for a while.
    let robbed = json!({"spec": {"holderIdentity": "a-stranger"}}).to_string();
    cluster.kubectl(&["-n", SYSTEM, "patch", "lease", LEASE, "--type=merge", "-p", &robbed]).await;
    lost(&cluster, &last).await;
    another(&cluster, "a-stranger").await;
    live.scale(3).await;
    live.healed().await;
    assert_eq!(live.gateways().await.len(), 3);
    traffic.finish().await;
}

/// Waits until another replica leads, and an Event says so; which.
async fn another(cluster: &Cluster, before: &str) -> String {
    let until = Instant::now() + MINUTE;
    let next = loop {
        let now = leader(cluster).await;
        if !now.is_empty() && now != before {
            break now;
        }
        assert!(Instant::now() < until, "{before} led, and after {MINUTE:?} nobody else does");
        sleep(std::time::Duration::from_millis(250)).await;
    };
    told(cluster, SYSTEM, "who leads now", MINUTE, |event| {
        event.starts_with("LeaderElected") && event.contains(&next)
    })
    .await;
    next
}

/// Waits until a replica says that it leads no more, though nobody told it to
/// stop.
async fn lost(cluster: &Cluster, replica: &str) {
    told(cluster, SYSTEM, "who leads no more", MINUTE, |event| {
        event.starts_with("LeadershipLost") && event.contains(replica)
    })
    .await;
}

/// Waits until there are two replicas of the operator to choose from.
async fn wait_for_two(cluster: &Cluster) {
    let path = "jsonpath={.status.readyReplicas}";
    let arguments = ["-n", SYSTEM, "get", "deployment", LEASE, "-o", path];
    cluster.wait("two replicas of the operator", &arguments, |ready| ready == "2").await;
}

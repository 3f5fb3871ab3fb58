//! What dies by itself.

use tests::kubernetes::live::{MINUTE, SMALL};
use tests::kubernetes::{Cluster, Live, Load, Traffic};

use super::CALM;

#[tokio::test]
async fn a_killed_gateway_and_a_killed_nats_server_lose_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let manifest = SMALL.replace("nats: {managed: {replicas: 1,", "nats: {managed: {replicas: 3,");
    assert_ne!(manifest, SMALL);
    let live = Live::start(&cluster, &manifest).await;
    live.settled().await;
    let traffic = Traffic::start(&live, Load::LIGHT).await;
    let calm = CALM.read().await;

    let (gateway, _) = live.gateways().await.remove(0);
    cluster.fault(&["pod", "kill", &live.namespace().path(&gateway)]).await;
    live.told("which gateway died", MINUTE, |event| event.contains(&gateway)).await;
    live.healed().await;

    cluster.fault(&["pod", "kill", &live.namespace().path("live-nats-1")]).await;
    live.told("that a NATS server died", MINUTE, |event| {
        event.contains("live-nats-1") || event.contains("2 of 3 NATS servers are ready")
    })
    .await;
    live.healed().await;
    drop(calm);
    let report = traffic.finish().await;
    assert!(!report.ended.is_empty(), "the gateway that died had no client: nothing was tried");
}

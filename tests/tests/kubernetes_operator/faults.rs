//! What dies by itself.

use tests::kubernetes::live::{MINUTE, small_with_three_servers};
use tests::kubernetes::{Client, Cluster, Live, Load, Traffic};

use super::CALM;

#[tokio::test]
async fn a_killed_gateway_and_a_killed_nats_server_lose_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, &small_with_three_servers()).await;
    live.settled().await;
    let traffic = Traffic::start(&live, Load::LIGHT).await;
    let looking = Client::new(&cluster).await;
    let calm = CALM.read().await;

    // Their processes die, and are started again.
    let gateway = busiest(&live, &looking).await;
    cluster.fault(&["pod", "kill", &live.namespace().path(&gateway)]).await;
    told(&live, "GatewayRestarted", &gateway).await;
    live.healed().await;
    cluster.fault(&["pod", "kill", &live.namespace().path("live-nats-1")]).await;
    told(&live, "NatsServerRestarted", "live-nats-1").await;
    live.healed().await;

    // Their pods are gone, nearly without notice.
    let gateway = busiest(&live, &looking).await;
    live.namespace().kubectl(&["delete", "pod", &gateway, "--grace-period=1"]).await;
    told(&live, "GatewayGone", &gateway).await;
    live.healed().await;
    live.namespace().kubectl(&["delete", "pod", "live-nats-2", "--grace-period=1"]).await;
    told(&live, "NatsServerGone", "live-nats-2").await;
    live.healed().await;
    drop(calm);
    let report = traffic.finish().await;
    assert!(!report.ended.is_empty(), "the gateway that died had no client: nothing was tried");
}

/// The gateway with the most clients: their addresses may have brought all of
/// them to one.
async fn busiest(live: &Live, looking: &Client) -> String {
    let held = live.metric(looking, "push_connections").await;
    held.into_iter().max_by_key(|(_, count)| *count).expect("there are gateways").0
}

/// Waits for an Event of this reason that names a pod.
async fn told(live: &Live, reason: &str, pod: &str) {
    let what = format!("{reason} of {pod}");
    live.told(&what, MINUTE, |event| {
        event.starts_with(&format!("{reason}: ")) && event.contains(pod)
    })
    .await;
}

//! What a change costs that gateways must be renewed for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::kubernetes::live::{MINUTE, SMALL, condition};
use tests::kubernetes::watch::{Leaving, assert_spread, most_at_once};
use tests::kubernetes::{Cluster, Live, Load, Traffic, Watch, images};
use tokio::time::sleep;

/// How long a gateway takes to send its clients away.
const PERIOD: Duration = Duration::from_secs(8);
/// Selects gateways' pods.
const GATEWAYS: &str = "app.kubernetes.io/name=pushcluster-gateway";

#[tokio::test]
async fn a_new_image_and_a_new_boot_configuration_lose_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let manifest = SMALL.replace("replicas: 2", "replicas: 3").replace("period: 4s", "period: 8s");
    let live = Live::start(&cluster, &manifest).await;
    let traffic = Traffic::start(&live, Load::FULL).await;

    // The same image by another name: to Kubernetes that is another one.
    let image = format!("{}-again", images::gateway());
    cluster.tag(&images::gateway(), &image).await;
    let mut left = rolled(&live, &json!({"image": {"name": image}}), 1).await;
    assert_eq!(live.status().await["image"], image.as_str());

    // What only a start reads. Two at a time may drain now.
    live.patch(&json!({"spec": {"rollout": {"maxDraining": 2}}})).await;
    left.extend(rolled(&live, &json!({"gateway": {"socketio": {"pingInterval": "12s"}}}), 2).await);

    let report = traffic.finish().await;
    assert!(report.ended.len() >= 200, "few clients had to move: nothing was tried");
    assert_spread(&left, &report.ended, PERIOD);
}

#[tokio::test]
async fn the_next_gateway_waits_for_one_that_drains_longer_than_it_should() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let manifest =
        SMALL.replace("drain: {delay: 2s, period: 4s}", "drain: {delay: 20s, period: 10s}");
    assert_ne!(manifest, SMALL);
    let live = Live::start(&cluster, &manifest).await;
    live.settled().await;
    let watch = Watch::start(live.namespace(), GATEWAYS);
    let annotations = json!({"pod": {"annotations": {"example.com/change": "1"}}});
    live.patch(&json!({"spec": annotations})).await;

    // The first one that is asked to go stands still before it has left: it is
    // ended by force, 15 s after it should have been gone.
    let first = loop {
        let pods = live.namespace().get(&["pods", "-l", GATEWAYS]).await;
        let leaves = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_string();
        let leaving = pods["items"].as_array().unwrap().iter().find(leaves);
        if let Some(pod) = leaving {
            break pod["metadata"]["name"].as_str().unwrap().to_owned();
        }
        sleep(Duration::from_millis(100)).await;
    };
    cluster.fault(&["pod", "pause", &live.namespace().path(&first)]).await;
    live.until("the rollout to wait", MINUTE, |object| {
        let progress = condition(&object["status"], "Progressing");
        progress["message"].as_str().unwrap_or_default().contains("the next waits")
    })
    .await;
    live.rolled_out().await;

    let left = watch.finish();
    let [slow, next] = &left[..] else { panic!("two gateways were replaced: {left:#?}") };
    assert_eq!(slow.pod, first);
    let took = slow.to - slow.from;
    println!(
        "{first} took {took:.1?} to go; the next was asked to {:.1?} later",
        next.from - slow.to
    );
    assert!(took >= Duration::from_secs(40), "it did not stand still: nothing was tried");
    assert_eq!(most_at_once(&left), 1, "{left:#?}");
}

/// Changes the manifest's `spec`, and waits until every gateway was replaced;
/// how they left.
async fn rolled(live: &Live, spec: &Value, at_once: usize) -> Vec<Leaving> {
    let names = async || -> BTreeSet<String> {
        live.gateways().await.into_iter().map(|(pod, _)| pod).collect()
    };
    let before = names().await;
    let watch = Watch::start(live.namespace(), GATEWAYS);
    live.patch(&json!({"spec": spec})).await;
    live.rolled_out().await;
    let generation = live.namespace().get(&["push/live"]).await["metadata"]["generation"].clone();
    for reason in ["RolloutStarted", "RolloutFinished"] {
        let begin = format!("{reason}: of generation {generation}: ");
        live.told(reason, MINUTE, |event| event.starts_with(&begin)).await;
    }
    // The last ones are asked to go when the rollout is as good as over.
    let left = watch.finish();
    let gone: BTreeSet<_> = left.iter().map(|leaving| leaving.pod.clone()).collect();
    assert_eq!(gone, before, "every gateway was replaced, and none of the new ones");
    assert!(names().await.is_disjoint(&before));
    let most = most_at_once(&left);
    println!("{} gateways replaced, at most {most} drained at a time", left.len());
    assert!(most <= at_once, "{most} gateways drained at a time: {left:#?}");
    left
}

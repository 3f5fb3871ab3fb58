//! What a change costs that gateways must be renewed for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::kubernetes::live::SMALL;
use tests::kubernetes::watch::{Leaving, assert_spread, most_at_once};
use tests::kubernetes::{Cluster, Live, Load, Traffic, Watch, images};

/// How long a gateway takes clients after it was asked to go.
const DELAY: Duration = Duration::from_secs(2);
/// How long it then takes to send its clients away.
const PERIOD: Duration = Duration::from_secs(8);

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

/// Changes the manifest's `spec`, and waits until every gateway was replaced;
/// how they left.
async fn rolled(live: &Live, spec: &Value, at_once: usize) -> Vec<Leaving> {
    let names = async || -> BTreeSet<String> {
        live.gateways().await.into_iter().map(|(pod, _)| pod).collect()
    };
    let before = names().await;
    let watch = Watch::start(live.namespace(), "app.kubernetes.io/name=pushcluster-gateway");
    live.patch(&json!({"spec": spec})).await;
    live.settled().await;
    // The last ones are asked to go when the rollout is as good as over.
    let left = watch.finish();
    let gone: BTreeSet<_> = left.iter().map(|leaving| leaving.pod.clone()).collect();
    assert_eq!(gone, before, "every gateway was replaced, and none of the new ones");
    assert!(names().await.is_disjoint(&before));
    let most = most_at_once(&left, DELAY + PERIOD);
    println!("{} gateways replaced, at most {most} drained at a time", left.len());
    assert!(most <= at_once, "{most} gateways drained at a time: {left:#?}");
    left
}

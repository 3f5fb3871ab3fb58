//! The chart's upgrade, with a push service that goes on meanwhile. It is not
//! with the operator's other tests: they would get the older operator.

use tests::kubernetes::live::{SMALL, chart, release};
use tests::kubernetes::{Cluster, Live, Load, PATIENCE, Traffic, images};

#[tokio::test]
async fn an_upgrade_of_the_chart_loses_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let Some(before) = cluster.previous().await else { return };
    release(&cluster, &before, "-previous").await;
    let live = Live::apply(&cluster, SMALL).await;
    assert_eq!(live.status().await["image"], format!("{}-previous", images::gateway()).as_str());
    let traffic = Traffic::start(&live, Load::LIGHT).await;

    release(&cluster, &chart(), "").await;
    let image = images::gateway();
    live.until("the new operator to act", PATIENCE, |object| object["status"]["image"] == *image)
        .await;
    live.rolled_out().await;
    for (pod, _) in live.gateways().await {
        let pod = live.namespace().get(&["pod", &pod]).await;
        assert_eq!(pod["spec"]["containers"][0]["image"], image.as_str());
    }
    let report = traffic.finish().await;
    assert!(!report.ended.is_empty(), "no gateway was renewed: nothing was tried");
}

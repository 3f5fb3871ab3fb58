//! `kubectl push`, as a platform team runs it: as kubectl's plugin, through the
//! API server, with the rights of a kubeconfig.

use serde_json::Value;
use tests::kubernetes::live::{MINUTE, SMALL, condition};
use tests::kubernetes::{Client, Cluster, Live, PATIENCE};
use tests::socketio::Transport;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep};

#[tokio::test]
async fn it_shows_gateways_drains_one_and_keeps_the_operator_away() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    live.settled().await;
    let (place, browser) = (live.place().await, Client::new(&cluster).await);
    let (ready, is_ready) = oneshot::channel();
    let client = tokio::spawn(async move {
        browser
            .run(async move || {
                let mut socket = place.connect(Transport::WebSocket).await;
                ready.send(()).unwrap();
                while socket.next_event().await.is_some() {}
            })
            .await;
    });
    is_ready.await.unwrap();

    // Where the client is.
    let said = push(&live, &["status", "live"]).await;
    assert!(said.starts_with("live: 2 of 2 gateways are ready\n"), "{said}");
    let rows: Vec<_> = live.gateways().await.iter().map(|(pod, _)| row(&said, pod)).collect();
    assert!(rows.iter().all(|row| row[2] == "yes" && row[5] == "connected"), "{said}");
    let held: Vec<_> = rows.iter().filter(|row| row[1] == "1").collect();
    assert_eq!(held.len(), 1, "one client, on one gateway: {said}");
    let pod = held[0][0].clone();

    // It is sent away; the gateway stays, empty.
    let said = push(&live, &["drain", &pod]).await;
    assert!(said.starts_with(&format!("{pod} sends its clients to other gateways")), "{said}");
    client.await.unwrap();
    let until = Instant::now() + MINUTE;
    loop {
        let said = push(&live, &["status", "live"]).await;
        let row = row(&said, &pod);
        if row[1..=4] == ["0", "no", "0", "left"] {
            break;
        }
        assert!(Instant::now() < until, "it is not empty: {said}");
        sleep(Duration::from_millis(250)).await;
    }
    live.namespace().kubectl(&["delete", "pod", &pod]).await;
    live.settled().await;

    // Paused: what the operator does for another one, it doesn't do for this.
    push(&live, &["pause", "live"]).await;
    let paused = |object: &Value| condition(&object["status"], "Paused")["status"] == "True";
    live.until("the pause", PATIENCE, paused).await;
    live.scale(3).await;
    live.namespace().apply(&SMALL.replace("name: live", "name: other")).await;
    let other = ["-n", live.namespace().name(), "get", "deployment/other", "-o", "name"];
    cluster.wait("another PushCluster's gateways", &other, |name| !name.is_empty()).await;
    let deployment = live.namespace().get(&["deployment/live"]).await;
    assert_eq!(deployment["spec"]["replicas"], 2, "nobody acts on a paused one");
    push(&live, &["resume", "live"]).await;
    live.settled().await;
    assert_eq!(live.gateways().await.len(), 3);
}

/// `kubectl push` in the namespace; what it printed.
async fn push(live: &Live, arguments: &[&str]) -> String {
    let place = ["--namespace", live.namespace().name()];
    live.cluster().kubectl_push(&[arguments, &place].concat()).await
}

/// A gateway's row, word by word.
fn row(said: &str, pod: &str) -> Vec<String> {
    let line = said.lines().find(|line| line.trim_start().starts_with(pod));
    let line = line.unwrap_or_else(|| panic!("{pod} is not shown: {said}"));
    line.split_whitespace().map(str::to_owned).collect()
}

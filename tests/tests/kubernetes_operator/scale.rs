//! Who gets which clients, and who goes when there are fewer gateways.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tests::kubernetes::live::{MINUTE, SMALL};
use tests::kubernetes::{Client, Cluster, Live, PATIENCE, Place};
use tests::raw::Raw;
use tests::socketio::Transport;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Clients that come together.
const CROWD: u64 = 40;
/// So many on one gateway are 50 more than the mean of four gateways, as long
/// as there are five crowds at most: two gateways can't share more without one
/// of them having so many.
const TOO_MANY: u64 = 120;
/// Of a gateway's pod that gets no new clients.
const CLOSED: &str = "app.kubernetes.io/name=pushcluster-gateway,pushcluster.io/accepting=false";

/// Clients of one address that come and stay.
struct Crowd {
    browser: Arc<Client>,
    /// The gateway that the Service has sent all of them to.
    pod: String,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

#[tokio::test]
async fn clients_follow_the_number_of_gateways() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, SMALL).await;
    let place = live.place().await;

    // Addresses come until one gateway has too many: each to one gateway, as
    // often as it comes.
    let first = Arc::new(Client::new(&cluster).await);
    let mut crowds = vec![
        Crowd::come(&live, &place, first.clone()).await,
        Crowd::come(&live, &place, first).await,
    ];
    assert_eq!(crowds[0].pod, crowds[1].pod, "one address, one gateway");
    let mut held = BTreeMap::from([(crowds[0].pod.clone(), 2 * CROWD)]);
    while held.values().all(|count| *count < TOO_MANY) {
        let crowd = Crowd::come(&live, &place, Arc::new(Client::new(&cluster).await)).await;
        *held.entry(crowd.pod.clone()).or_default() += CROWD;
        crowds.push(crowd);
    }
    let overfull = crowds.last().unwrap().pod.clone();
    let bound = crowds.iter().find(|crowd| crowd.pod == overfull).unwrap().browser.clone();
    let polling = poll(bound.clone(), &place).await;
    let old = live.gateways().await;

    // More gateways: the overfull one gets no new clients, and keeps the old.
    live.scale(4).await;
    live.scaled(4).await;
    let closed = ["-n", live.namespace().name(), "get", "pods", "-l", CLOSED, "-o", "name"];
    cluster
        .wait("the overfull gateway to be closed to new clients", &closed, |pods| {
            pods.trim() == format!("pod/{overfull}")
        })
        .await;
    let slices = "kubernetes.io/service-name=live";
    let endpoints =
        ["-n", live.namespace().name(), "get", "endpointslices", "-l", slices, "-o", "json"];
    cluster
        .wait("the Service to leave it out", &endpoints, |slices| !slices.contains(&overfull))
        .await;
    is_left(&live, &place, &bound, &overfull).await;
    let moved = Crowd::come(&live, &place, bound.clone()).await;
    assert_ne!(moved.pod, overfull, "its address was bound to the overfull gateway");
    crowds.push(moved);
    let now = live.gateways().await;
    assert!(now.len() == 4 && old.iter().all(|pod| now.contains(pod)), "{old:?} stay: {now:?}");
    let counts = connections(&live, &bound).await;
    assert!(counts[&overfull] >= held[&overfull], "open connections stay: {counts:?}");
    let there = place.clone();
    bound.run(async move || there.publish("orders.1", "to who polls").await).await;
    timeout(PATIENCE, polling).await.expect("a session over polling goes on").unwrap();

    // Fewer gateways: the emptiest go.
    live.scale(2).await;
    live.scaled(2).await;
    let stayed: Vec<String> = live.gateways().await.into_iter().map(|(pod, _)| pod).collect();
    let fewest = stayed.iter().map(|pod| counts[pod]).min();
    let most =
        counts.iter().filter(|(pod, _)| !stayed.contains(pod)).map(|(_, count)| *count).max();
    assert!(fewest >= most, "of {counts:?} {stayed:?} stayed");
    for pod in &stayed {
        let annotations =
            live.namespace().get(&["pod", pod]).await["metadata"]["annotations"].clone();
        let cost = annotations["controller.kubernetes.io/pod-deletion-cost"].as_str().unwrap_or("");
        assert!(cost.parse::<u64>().is_ok_and(|cost| cost >= CROWD), "{pod} costs {cost:?}");
    }
    for crowd in crowds {
        crowd.stop.cancel();
        crowd.running.await.unwrap();
    }

    autoscaled(&live).await;
    without_affinity(&live, &place, bound).await;
}

/// Waits until a client of this address comes to another gateway: the node's
/// proxy follows the Service's endpoints a moment later.
async fn is_left(live: &Live, place: &Place, browser: &Client, gateway: &str) {
    let opened = async || {
        let opened = live.metric(browser, "push_connections_opened_total").await;
        opened.into_iter().find(|(pod, _)| pod == gateway).map(|(_, count)| count)
    };
    let until = Instant::now() + MINUTE;
    loop {
        let (before, there) = (opened().await, place.clone());
        browser.run(async move || there.connect(Transport::WebSocket).await.cut()).await;
        if opened().await == before {
            break;
        }
        assert!(Instant::now() < until, "an address stays bound to the overfull gateway");
    }
}

/// An autoscaler of Kubernetes' own, whose metric nobody has: its limits hold.
async fn autoscaled(live: &Live) {
    let manifest = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "live"},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "pushcluster.io/v1alpha1", "kind": "PushCluster", "name": "live",
            },
            "minReplicas": 4,
            "maxReplicas": 6,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
            }}],
        },
    });
    live.namespace().apply(&manifest.to_string()).await;
    live.scaled(4).await;
    live.namespace().wait_for("condition=ScalingActive=false", "hpa/live").await;
    let less = r#"{"spec": {"minReplicas": 1, "maxReplicas": 2}}"#;
    live.namespace().kubectl(&["patch", "hpa/live", "--type=merge", "-p", less]).await;
    live.scaled(2).await;
    live.namespace().kubectl(&["delete", "hpa/live"]).await;
}

/// Where each request may reach another gateway, polling still works.
async fn without_affinity(live: &Live, place: &Place, browser: Arc<Client>) {
    let affinity = json!({"service": {"client": {"sessionAffinity": {"type": "None"}}}});
    live.patch(&json!({"spec": affinity})).await;
    live.namespace().wait_for("jsonpath={.spec.sessionAffinity}=None", "service/live").await;
    live.settled().await;
    let there = place.clone();
    browser
        .run(async move || {
            for number in 0..5 {
                let mut socket = there.connect(Transport::Polling).await;
                let channel = format!("orders.{number}");
                socket.subscribe(channel.clone()).await;
                there.publish(&channel, number).await;
                assert_eq!(socket.app_event().await.args[0], number);
            }
        })
        .await;
    let forwarded = live.metric(&browser, "push_peer_forwarded_posts_total").await;
    let forwarded: u64 = forwarded.into_iter().map(|(_, count)| count).sum();
    assert!(forwarded > 0, "no request reached another gateway: it was affinity after all");
}

/// Open connections of each gateway.
async fn connections(live: &Live, from: &Client) -> BTreeMap<String, u64> {
    live.metric(from, "push_connections").await.into_iter().collect()
}

/// A client that stays with its session over polling until it has got
/// something.
async fn poll(browser: Arc<Client>, place: &Place) -> JoinHandle<()> {
    let place = place.clone();
    let (ready, is_ready) = oneshot::channel();
    let polling = tokio::spawn(async move {
        browser
            .run(async move || {
                let mut socket = place.connect(Transport::Polling).await;
                socket.subscribe("orders.1").await;
                ready.send(()).unwrap();
                while socket.listen().await.name != "order" {}
            })
            .await;
    });
    is_ready.await.expect("it subscribes");
    polling
}

// === impl Crowd ===

impl Crowd {
    /// Connects all of them: to one gateway, as all have one address.
    async fn come(live: &Live, place: &Place, browser: Arc<Client>) -> Self {
        let opened = async || -> BTreeMap<String, u64> {
            let opened = live.metric(&browser, "push_connections_opened_total").await;
            opened.into_iter().collect()
        };
        let before = opened().await;
        let (ready, are_there) = oneshot::channel();
        let stop = CancellationToken::new();
        let address = place.client.trim_start_matches("http://").to_owned();
        let (there, stopped) = (browser.clone(), stop.clone());
        let running = tokio::spawn(async move {
            there
                .run(async move || {
                    let mut all = Vec::new();
                    for _ in 0..CROWD {
                        let mut socket = Raw::open(&address, "").await.expect("a gateway answers");
                        socket.join(&[]).await.expect("anonymous clients may connect");
                        all.push(socket);
                    }
                    ready.send(()).unwrap();
                    let reading = all
                        .into_iter()
                        .map(|mut socket| async move { while socket.next().await.is_ok() {} });
                    let reading = futures_util::future::join_all(reading);
                    tokio::select! {
                        _ = reading => {}
                        () = stopped.cancelled() => {}
                    }
                })
                .await;
        });
        are_there.await.expect("they connect");
        let after = opened().await;
        let grown: Vec<_> = after
            .iter()
            .map(|(pod, count)| (pod, count - before.get(pod).copied().unwrap_or_default()))
            .filter(|(_, more)| *more > 0)
            .collect();
        let [(pod, CROWD)] = grown[..] else {
            panic!("the clients of {} are at {grown:?}", browser.address());
        };
        Self { pod: pod.clone(), browser, stop, running }
    }
}

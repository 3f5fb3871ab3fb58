//! Three gateways on one real nats-server are one service: behind a balancer
//! without affinity, against forgers, when one is killed, and for the API.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use tests::api::{call, metric, read, say, status};
use tests::balancer::{Balancer, Targets};
use tests::engineio::Polling;
use tests::http::get;
use tests::nats::Nats;
use tests::patience::eventually;
use tests::sse::Sse;
use tests::websocket::{Frame, WebSocket};
use tests::{Gateway, patiently};
use tokio::task::JoinSet;

#[path = "cluster/addresses.rs"]
mod addresses;
#[path = "cluster/answers.rs"]
mod answers;
#[path = "cluster/apps.rs"]
mod apps;
#[path = "cluster/forged.rs"]
mod forged;
#[path = "cluster/killed.rs"]
mod killed;
#[path = "cluster/returns.rs"]
mod returns;
#[path = "cluster/rules.rs"]
mod rules;
#[path = "cluster/silence.rs"]
mod silence;
#[path = "cluster/tls.rs"]
mod tls;

const SECRET: &str = "a-secret-between-the-gateways-of-a-suite";

/// Gateways on one server. They go before it does.
struct Cluster {
    gateways: Vec<Gateway>,
    nats: Nats,
}

// === impl Cluster ===

impl Cluster {
    /// Three that know each other.
    async fn start(more: &str) -> Self {
        Self::start_with("", more).await
    }

    /// The same, with more keys under `peer`.
    async fn start_with(peer: &str, more: &str) -> Self {
        let nats = Nats::single();
        let config = config(&nats, peer, more);
        let gateways: Vec<_> = (0..3).map(|_| Gateway::start(&config)).collect();
        for gateway in &gateways {
            gateway.ready().await;
        }
        let cluster = Self { gateways, nats };
        cluster.all_know(3).await;
        cluster
    }

    /// Until every gateway lists so many.
    async fn all_know(&self, count: usize) {
        for gateway in &self.gateways {
            eventually("all gateways are known", || async { listed(gateway).await.len() == count })
                .await;
        }
    }

    /// The sum of a metric over all gateways.
    async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for gateway in &self.gateways {
            sum += metric(gateway, name).await.unwrap_or(0.0);
        }
        sum
    }

    /// A balancer that sends every connection to any gateway.
    async fn balancer(&self) -> Balancer {
        let targets = Targets::default();
        let addresses = self.gateways.iter().map(|gateway| gateway.client_address().to_owned());
        targets.set(addresses.collect());
        Balancer::start(targets).await
    }
}

/// A gateway's configuration, with more keys under `peer` and at the top.
fn config(nats: &Nats, peer: &str, more: &str) -> String {
    format!(
        "peer: {{listen: '127.0.0.1:0', secret: {SECRET}{peer}}}\n\
         relay: {{url: '{}'}}\n\
         channels: [{{match: 'kept.>', history: {{maxMessages: 1000, maxAge: 1h}}}}]\n{more}",
        nats.url()
    )
}

/// The ids in `/v1/gateways`.
async fn listed(gateway: &Gateway) -> Vec<String> {
    let answer = read(gateway, None, "/v1/gateways").await.json();
    let ids = answer["gateways"].as_array().unwrap().iter();
    ids.map(|gateway| gateway["id"].as_str().unwrap().to_owned()).collect()
}

/// The session of `sid`, as if asked for at another gateway.
fn at(gateway: &Gateway, session: &Polling) -> Polling {
    let path = session.url.split_once("/socket.io/").unwrap().1;
    Polling { url: format!("{}/socket.io/{path}", gateway.client()), ..session.clone() }
}

/// Joins and subscribes over polling, wherever the requests go.
async fn subscribe(session: &Polling, channel: &str) {
    assert_eq!(session.post("40").await.text(), "ok");
    let packets = session.packets().await;
    assert!(packets[0].starts_with("40{"), "{packets:?}");
    let command = json!(["push:subscribe", channel]);
    assert_eq!(session.post(format!("420{command}")).await.text(), "ok");
    patiently("the ack", async {
        while !session.packets().await.iter().any(|packet| is_ack(packet)) {}
    })
    .await;
}

/// The ack of command 0 says that all is well.
fn is_ack(packet: &str) -> bool {
    packet.starts_with("430[") && packet.contains("\"ok\":true")
}

/// The numbers in the packets that are events `e`.
fn numbers(packets: &[String]) -> Vec<u64> {
    let events = packets.iter().filter_map(|packet| {
        let event: Value = serde_json::from_str(packet.strip_prefix("42")?).ok()?;
        (event[0] == "e").then(|| event[1].as_u64().unwrap())
    });
    events.collect()
}

async fn poll_for(session: &Polling, count: usize) -> Vec<u64> {
    patiently("all publications by polling", async {
        let mut seen = Vec::new();
        while seen.len() < count {
            let packets = session.packets().await;
            if packets.iter().any(|packet| packet == "2") {
                assert_eq!(session.post("3").await.text(), "ok");
            }
            seen.extend(numbers(&packets));
        }
        seen
    })
    .await
}

async fn read_for(socket: &mut WebSocket, count: usize) -> Vec<u64> {
    patiently("all publications over a WebSocket", async {
        let mut seen = Vec::new();
        while seen.len() < count {
            let text = socket.text().await;
            if text == "2" {
                socket.send("3").await;
            }
            seen.extend(numbers(&[text]));
        }
        seen
    })
    .await
}

#[tokio::test]
async fn clients_of_every_kind_live_behind_a_balancer_that_picks_at_random() {
    clients_of_every_kind(&Cluster::start("").await).await;
}

async fn clients_of_every_kind(cluster: &Cluster) {
    const EACH: usize = 6;
    const COUNT: u64 = 20;
    let balancer = cluster.balancer().await;
    let address = balancer.address();
    let url = |transport| format!("http://{address}/socket.io/?EIO=4&transport={transport}");
    let mut clients = JoinSet::new();
    let (ready, mut is_ready) = tokio::sync::mpsc::channel::<()>(100);
    let expected: Vec<u64> = (0..COUNT).collect();
    for _ in 0..EACH {
        let (polling, count, done) = (url("polling"), expected.len(), ready.clone());
        clients.spawn(async move {
            let session = Polling::open_at(&polling).await;
            subscribe(&session, "kept.a").await;
            done.send(()).await.unwrap();
            ("polling", poll_for(&session, count).await)
        });
        let (polling, done) = (url("polling"), ready.clone());
        clients.spawn(async move {
            let session = Polling::open_at(&polling).await;
            subscribe(&session, "kept.a").await;
            let mut socket = session.websocket().await;
            socket.send("2probe").await;
            assert_eq!(socket.text().await, "3probe");
            socket.send("5").await;
            done.send(()).await.unwrap();
            ("upgraded", read_for(&mut socket, count).await)
        });
        let (direct, done) = (url("websocket").replacen("http", "ws", 1), ready.clone());
        clients.spawn(async move {
            let mut socket = WebSocket::connect(&direct).await;
            socket.send("40").await;
            socket.send(&format!("420{}", json!(["push:subscribe", "kept.a"]))).await;
            patiently("the ack", async { while !is_ack(&socket.text().await) {} }).await;
            done.send(()).await.unwrap();
            ("websocket", read_for(&mut socket, count).await)
        });
        let (stream, done) = (format!("http://{address}/sse?channel=kept.a"), ready.clone());
        clients.spawn(async move {
            let mut stream = Sse::open(&stream, &[]).await.unwrap();
            done.send(()).await.unwrap();
            let mut seen = Vec::new();
            while seen.len() < count {
                let event = stream.event().await;
                if event.event.as_deref() == Some("e") {
                    seen.push(event.json()["data"].as_u64().unwrap());
                }
            }
            ("sse", seen)
        });
    }
    patiently("all clients are subscribed", async {
        for _ in 0..EACH * 4 {
            is_ready.recv().await.unwrap();
        }
    })
    .await;
    let path = "/v1/channels/kept.a";
    let counted = read(&cluster.gateways[1], None, path).await.json();
    assert_eq!(counted["subscribers"], EACH * 4, "{counted}");
    for number in 0..COUNT {
        let gateway = &cluster.gateways[usize::try_from(number % 3).unwrap()];
        say(gateway, "kept.a", number).await;
    }
    while let Some(client) = clients.join_next().await {
        let (kind, mut seen) = client.unwrap();
        // Publishers at three gateways, one after the other's ack.
        assert_eq!(seen, expected, "{kind}: in order, each once");
        seen.clear();
    }
    for name in [
        "push_peer_forwarded_polls_total",
        "push_peer_forwarded_posts_total",
        "push_peer_spliced_total",
    ] {
        let value = cluster.metric(name).await;
        println!("{name} {value}");
        assert!(value > 0.0, "{name}: all by chance at their own gateway?");
    }
    assert!(cluster.metric("push_peer_refused_total").await == 0.0, "nobody forged");
    eventually("spliced sockets are counted out", || async {
        cluster.metric("push_peer_splices").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_as_at_its_own_gateway() {
    sessions_end(&Cluster::start("socketio: {maxPayload: 1000}\n").await).await;
}

async fn sessions_end(cluster: &Cluster) {
    let [a, b, _] = &cluster.gateways[..] else { panic!("three gateways") };
    // A poll given up closes the session.
    let session = Polling::joined(a).await;
    let pending = at(b, &session).begin_poll().await;
    eventually("the poll is passed on", || async {
        metric(b, "push_peer_forwarded_polls_total").await == Some(1.0)
    })
    .await;
    drop(pending);
    eventually("the session is closed", || async { status(a).await["connections"] == 0 }).await;
    // So does data given up in the middle.
    let session = Polling::joined(a).await;
    let broken = at(b, &session).begin_post().await;
    drop(broken);
    eventually("the session is closed", || async { status(a).await["connections"] == 0 }).await;
    // Two polls at once, at two gateways, are one too many.
    let session = Polling::joined(a).await;
    let pending = at(b, &session).begin_poll().await;
    eventually("the poll is passed on", || async {
        metric(b, "push_peer_forwarded_polls_total").await == Some(2.0)
    })
    .await;
    tokio::time::sleep(tests::patience::QUIET).await;
    assert_eq!(session.get().await.status, 400);
    assert_eq!(pending.answer().await.1, "1");
    // Data beyond `maxPayload`.
    let session = Polling::joined(a).await;
    assert_eq!(at(b, &session).post(vec![b'4'; 1_001]).await.status, 413);
    // A WebSocket that goes away before the upgrade leaves the session polling.
    let session = Polling::joined(a).await;
    let mut socket = at(b, &session).websocket().await;
    socket.send("2probe").await;
    assert_eq!(socket.listen().await, Frame::Text("3probe".to_owned()));
    socket.cut();
    let session = at(b, &session);
    let command = json!(["push:subscribe", "kept.a"]);
    assert_eq!(session.post(format!("420{command}")).await.text(), "ok");
    patiently("polling goes on", async {
        while !session.packets().await.iter().any(|packet| is_ack(packet)) {}
    })
    .await;
    assert_eq!(session.post("41").await.text(), "ok");
}

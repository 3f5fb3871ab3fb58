//! A gateway is killed: its sessions are unknown everywhere at once, and their
//! clients recover at another one.

use serde_json::json;
use tests::engineio::Polling;
use tests::socketio::{Socket, Transport};

use super::*;

#[tokio::test]
async fn sessions_of_a_killed_gateway_are_unknown_and_recover_elsewhere() {
    let mut cluster = Cluster::start("").await;
    let mut socket = Socket::connect(&cluster.gateways[0], Transport::WebSocket).await;
    socket.subscribe("kept.a").await;
    say(&cluster.gateways[1], "kept.a", 1).await;
    assert_eq!(socket.app_event().await.args[0], 1);
    let (sid, credentials) = (socket.sid().to_owned(), socket.credentials());
    let session = Polling::joined(&cluster.gateways[0]).await;
    let elsewhere = at(&cluster.gateways[1], &session);
    let pending = elsewhere.begin_poll().await;
    eventually("the poll is passed on", || async {
        metric(&cluster.gateways[1], "push_peer_forwarded_polls_total").await == Some(1.0)
    })
    .await;
    let joined = Polling::joined(&cluster.gateways[0]).await;
    let mut spliced = at(&cluster.gateways[1], &joined).websocket().await;
    spliced.send("2probe").await;
    assert_eq!(spliced.text().await, "3probe");
    spliced.send("5").await;
    // SIGKILL.
    drop(cluster.gateways.remove(0));
    let unknown = json!({"code": 1, "message": "Session ID unknown"});
    let (status, body) = pending.answer().await;
    assert_eq!((status, serde_json::from_str(&body).unwrap()), (400, unknown.clone()));
    patiently("the spliced socket ends", async {
        while !matches!(spliced.listen().await, Frame::Closed(_)) {}
    })
    .await;
    for gateway in &cluster.gateways {
        let answer = at(gateway, &session).get().await;
        assert_eq!((answer.status, answer.json()), (400, unknown.clone()));
        assert_eq!(at(gateway, &session).post("40").await.json(), unknown);
        let url = at(gateway, &joined).websocket_url();
        assert_eq!(
            WebSocket::try_connect(&url, &[]).await.err().map(|refused| refused.status),
            Some(400)
        );
    }
    say(&cluster.gateways[0], "kept.a", 2).await;
    let back =
        Socket::join(&cluster.gateways[1], Transport::Polling, "/", Some(&credentials)).await;
    let mut back = back.unwrap();
    assert_eq!(back.sid(), sid, "the same session");
    assert_eq!(back.app_event().await.args[0], 2, "what was missed");
    cluster.all_know(2).await;
}

#[tokio::test]
async fn a_stalled_gateway_is_given_up_and_taken_back() {
    let cluster = Cluster::start("").await;
    let [a, b, _] = &cluster.gateways[..] else { panic!("three gateways") };
    let session = Polling::joined(a).await;
    a.signal("STOP");
    // It takes connections all the same; the poll waits until it was not
    // heard for 6 s.
    let answer = at(b, &session).get().await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!(1)));
    assert_eq!(listed(b).await.len(), 2);
    a.signal("CONT");
    cluster.all_know(3).await;
}

#[tokio::test]
async fn without_nats_for_a_while_nobody_is_given_up() {
    let mut cluster = Cluster::start("").await;
    let session = Polling::joined(&cluster.gateways[0]).await;
    cluster.nats.signal(0, tests::nats::Signal::Kill);
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    let elsewhere = at(&cluster.gateways[1], &session);
    assert_eq!(elsewhere.post("42[\"hi\"]").await.text(), "ok", "passed on without NATS");
    cluster.nats.restart(0);
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    assert_eq!(elsewhere.post("42[\"hi\"]").await.text(), "ok");
    cluster.all_know(3).await;
}

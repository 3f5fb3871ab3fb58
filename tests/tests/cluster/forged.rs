//! Who has no secret is nobody: session ids, peer requests and messages that
//! no gateway made, or that one made before.

use futures_util::StreamExt as _;
use gateway::cluster::forward::{DIGEST, STAMP};
use gateway::cluster::{ClusterKeys, Signer};
use gateway::session::sid::{GatewayId, SidParts};
use tests::http::{Reply, request, send};

use super::*;

/// A request to a peer listener.
async fn peer(gateway: &Gateway, path: &str, stamp: Option<&str>, digest: &str) -> Reply {
    let log = gateway.log();
    let base = log.lines().find_map(|line| line.strip_prefix("peer    ")).expect("it says where");
    let mut request = request("GET", &format!("{base}{path}")).header(DIGEST, digest);
    if let Some(stamp) = stamp {
        request = request.header(STAMP, stamp);
    }
    send(request).await
}

#[tokio::test]
async fn session_ids_that_no_gateway_made_are_unknown() {
    let cluster = Cluster::start("").await;
    let [a, b, _] = &cluster.gateways[..] else { panic!("three gateways") };
    let id = u64::from_str_radix(status(a).await["id"].as_str().unwrap(), 16).unwrap();
    let keys = |secret: &str| ClusterKeys::derive(secret.as_bytes(), "push").sid;
    let sid = |secret, gateway| {
        keys(secret).issue(SidParts { gateway: GatewayId(gateway), shard: 0 }).unwrap()
    };
    let session = Polling::joined(a).await;
    let mut bent = session.sid.clone().into_bytes();
    bent[3] ^= 1;
    let forged = [
        sid("another-secret", id).into(),
        String::from_utf8(bent).unwrap(),
        // Well made, for a gateway that never was, and a session that never was.
        sid(SECRET, 7).into(),
        sid(SECRET, id).into(),
        "127.0.0.1:9".to_owned(),
        "AAAA".to_owned(),
    ];
    for sid in forged {
        let url = format!("{}/socket.io/?EIO=4&transport=polling&sid={sid}", b.client());
        let answer = get(&url).await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!(1)), "{sid}");
    }
    assert_eq!(
        metric(b, "push_peer_forwarded_polls_total").await,
        Some(1.0),
        "only the last but two"
    );
    assert!(at(b, &session).post("42[\"x\"]").await.text() == "ok", "the true one lives");
}

#[tokio::test]
async fn a_request_to_the_peer_listener_is_good_once_and_only_from_a_gateway() {
    let cluster = Cluster::start("").await;
    let a = &cluster.gateways[0];
    let id = status(a).await["id"].as_str().unwrap().to_owned();
    let session = Polling::joined(a).await;
    let path = format!("/peer/post?sid={}", session.sid);
    let digest = "x";
    let stamp = |secret: &str, to: &str, path: &str| {
        let keys = ClusterKeys::derive(secret.as_bytes(), "push");
        let signer = Signer::new(GatewayId(99), keys.requests);
        signer.stamp(&[to.as_bytes(), b"GET", path.as_bytes(), digest.as_bytes()])
    };
    assert_eq!(peer(a, &path, None, digest).await.status, 401, "no stamp");
    let forged = stamp("another-secret", &id, &path);
    assert_eq!(peer(a, &path, Some(&forged), digest).await.status, 401, "forged");
    let elsewhere = stamp(SECRET, "0000000000000007", &path);
    assert_eq!(peer(a, &path, Some(&elsewhere), digest).await.status, 401, "for another gateway");
    let good = stamp(SECRET, &id, &path);
    let other = path.replacen("post", "poll", 1);
    assert_eq!(peer(a, &other, Some(&good), digest).await.status, 401, "for another path");
    assert_eq!(peer(a, &path, Some(&good), "y").await.status, 401, "for another body");
    assert_eq!(peer(a, &path, Some(&good), digest).await.status, 404, "GET of a POST's path");
    assert_eq!(peer(a, &path, Some(&good), digest).await.status, 401, "again");
    assert_eq!(metric(a, "push_peer_refused_total").await, Some(6.0));
    assert!(!session.is_gone().await, "the session noticed nothing");
}

#[tokio::test]
async fn messages_without_the_secret_or_said_before_change_nothing() {
    let mut cluster = Cluster::start("").await;
    let nats = async_nats::connect(cluster.nats.url()).await.unwrap();
    let mut beats = nats.subscribe("push.ctl.gateways").await.unwrap();
    let gone = status(&cluster.gateways[2]).await["id"].as_str().unwrap().to_owned();
    let real = patiently("a heartbeat", async {
        loop {
            let beat = beats.next().await.unwrap().payload;
            if beat.starts_with(gone.as_bytes()) {
                return beat;
            }
        }
    })
    .await;
    let text = String::from_utf8(real.to_vec()).unwrap();
    let (_, json) = text.split_once('\n').unwrap();
    let forger = ClusterKeys::derive(b"another-secret", "push").messages;
    let stamp =
        Signer::new(GatewayId(5), forger).stamp(&[b"beat", b"push.ctl.gateways", json.as_bytes()]);
    let ask = ClusterKeys::derive(b"another-secret", "push").messages;
    let question = r#"{"user":["ann",{"disconnect":{"reconnect":false}}]}"#;
    let asked = Signer::new(GatewayId(6), ask).stamp(&[
        b"ask",
        b"push.ctl.ask",
        b"inbox",
        question.as_bytes(),
    ]);
    for (subject, payload) in [
        ("push.ctl.gateways", "{}".to_owned()),
        ("push.ctl.gateways", json.to_owned()),
        ("push.ctl.gateways", format!("{stamp}\n{json}")),
        ("push.ctl.gateways", text.replacen("127.0.0.1", "127.0.0.2", 1)),
        ("push.ctl.gateways", text.clone()),
    ] {
        nats.publish(subject, payload.into()).await.unwrap();
    }
    let payload = format!("{asked}\n{question}");
    nats.publish_with_reply("push.ctl.ask", "inbox", payload.into()).await.unwrap();
    let a = &cluster.gateways[0];
    eventually("all six are refused", || async {
        metric(a, "push_peer_refused_total").await == Some(6.0)
    })
    .await;
    assert_eq!(listed(a).await.len(), 3, "no new gateway");
    // A goodbye is not undone by what was said before it.
    cluster.gateways[2].signal("INT");
    let end = cluster.gateways[2].ended().await;
    assert_eq!(end, Some(0));
    cluster.gateways.truncate(2);
    cluster.all_know(2).await;
    nats.publish("push.ctl.gateways", real).await.unwrap();
    eventually("it is refused", || async {
        metric(&cluster.gateways[0], "push_peer_refused_total").await == Some(7.0)
    })
    .await;
    assert!(!listed(&cluster.gateways[0]).await.contains(&gone));
}

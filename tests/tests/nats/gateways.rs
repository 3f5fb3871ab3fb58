//! Several gateways on one stream: a client's place, and a session's channel.

use super::*;

/// A client that was at a gateway that is ahead is not served by one that is
/// behind, until that one has come as far.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_comes_to_its_clients_place() {
    let cluster = Cluster::new(Nats::single(), 1);
    let (ahead, _ahead, _) = cluster.gateway().await;
    let (behind, _behind, _) = cluster.gateway().await;
    for number in 0..200 {
        let published = ahead.publish(numbered("kept.a", number)).await.unwrap();
        let place = published.position.unwrap();
        behind.reach(place).await.unwrap();
        assert!(behind.head().sequence >= place.sequence);
    }
    let never = Position { sequence: u64::MAX, ..ahead.head() };
    patiently("an answer", behind.reach(never)).await.unwrap();
}

/// A session's own channel reaches its gateway without a subscription of its
/// own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_have_one_subscription() {
    let cluster = Cluster::new(Nats::single(), 1);
    let (publisher, _publisher, _) = cluster.gateway().await;
    let (_relay, mut gateway, _) = cluster.gateway().await;
    let publish = async {
        // The subscription is made soon after the start, not before.
        for number in 0..100 {
            publisher.publish(numbered("$sid.a.b", number)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let got = tokio::select! {
        got = gateway.next(0, 3) => got,
        () = publish => panic!("nothing came"),
    };
    assert_eq!(got[2].channel, channel("$sid.a.b"));
    assert_eq!(number(&got[2]), number(&got[0]) + 2);
}

//! What apps publish straight, good and bad.

use async_nats::HeaderMap;
use gateway::publication::Value;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn apps_publish_straight() {
    let cluster = Cluster::new(Nats::single(), 1);
    let (relay, mut gateway, metrics) = cluster.gateway().await;
    relay.join(&channel("passing")).await.unwrap();
    let client = cluster.client().await;
    let mut forged = HeaderMap::new();
    for (name, value) in [
        ("Nats-Sequence", "999999"),
        ("Nats-Stream", "OTHER"),
        ("Nats-Subject", "push.pub.kept.other"),
        ("Nats-Time-Stamp", "2001-01-01T00:00:00Z"),
        ("Nats-Last-Sequence", "1"),
        ("Push-Event", "forged"),
        ("Nats-Msg-Id", "kept.a/mine"),
    ] {
        forged.append(name, value);
    }
    let header = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        headers
    };
    client.publish("push.pub.kept.a", "1".into()).await.unwrap();
    client.publish_with_headers("push.pub.kept.a", forged.clone(), "2".into()).await.unwrap();
    // The same id again: not stored.
    client.publish_with_headers("push.pub.kept.a", forged, "99".into()).await.unwrap();
    // What no client could take.
    let reserved = header("Push-Event", "disconnect");
    client.publish_with_headers("push.pub.kept.a", reserved, "99".into()).await.unwrap();
    let bad = header("Push-Encoding", "json");
    client.publish_with_headers("push.pub.kept.a", bad, "{".into()).await.unwrap();
    client.publish("push.pub.kept.a", vec![b' '; 2_000].into()).await.unwrap();
    client.publish("push.pub.kept.%61", "99".into()).await.unwrap();
    // They would erase the channel, or the stream.
    for (name, value) in [("Nats-Rollup", "sub"), ("Nats-Rollup", "all")] {
        let rollup = header(name, value);
        client.publish_with_headers("push.pub.kept.a", rollup, "99".into()).await.unwrap();
    }
    client.publish("push.pub.kept.a", "3".into()).await.unwrap();
    let got = gateway.next(0, 3).await;
    assert_eq!(got.iter().map(number_of).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((&*got[1].event, got[1].id.as_deref()), ("forged", Some("mine")));
    assert_eq!(got[1].channel, channel("kept.a"));
    let skipped = |reason| {
        let label = gateway::metrics::ReasonLabel { reason };
        metrics.relay_skipped.get_or_create(&label).get()
    };
    let counts: Vec<_> = ["event", "payload", "too_large", "channel"].map(skipped).into();
    assert_eq!(counts, [1, 1, 1, 1]);
    assert_eq!(content(&relay, &["kept.a"]).await.len(), 3, "recovery is not poisoned");

    // And on a channel without history.
    client.publish("push.pub.passing", "hello".into()).await.unwrap();
    client
        .publish_with_headers("push.pub.passing", header("Push-Event", "connect"), "1".into())
        .await
        .unwrap();
    client.publish("push.pub.passing", vec![0xff, 0].into()).await.unwrap();
    let got = gateway.next(0, 2).await;
    assert_eq!(got[0].args[0], Value::Json("\"hello\"".into()));
    assert_eq!(got[1].args[0], Value::Binary(vec![0xff, 0].into()));
}

//! The stream: one that is made anew, and its settings.

use gateway::relay::jetstream::ConnectError;

use super::*;

/// Ticks show a gateway what it missed; and a stream that is made anew is
/// another life.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_stream_is_a_new_epoch() {
    let cluster = Cluster::new(Nats::single(), 1);
    let (relay, mut gateway, _) = cluster.gateway().await;
    publish_patiently(&relay, "kept.a", 1).await;
    let before = relay.head();
    let client = cluster.client().await;
    client.request("$JS.API.STREAM.DELETE.PUSH_push", "".into()).await.unwrap();
    let epoch = patiently("the news", async {
        loop {
            if let Some(FeedItem::Epoch(position)) = gateway.feeds[0].recv().await {
                return position;
            }
        }
    })
    .await;
    assert_ne!(epoch.epoch, before.epoch);
    publish_patiently(&relay, "kept.a", 2).await;
    let channels = vec![(channel("kept.a"), before.sequence)];
    let request = Replay { from: before, channels, until: relay.head(), last: None };
    let replayed = relay.replay(request).await.unwrap();
    assert_eq!(replayed.lost, [channel("kept.a")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn settings_of_one_generation_are_one() {
    let cluster = Cluster::new(Nats::single(), 1);
    let (first, _first, _) = cluster.gateway().await;
    let connect = async |rules: Rules| {
        let (sender, _receiver) = tokio::sync::mpsc::channel(8);
        JetStreamRelay::connect(JetStreamOptions {
            config: cluster.config.clone(),
            rules: rules.shared(),
            fanout: Fanout::unasked(vec![sender]),
            max_disconnection: None,
            metrics: Metrics::default(),
            clock: Clock::system(),
            name: "other".to_owned(),
            tick: None,
        })
        .await
    };
    let other = || Rules::new(vec![keep("more.>", 5, 60)], 1_000);
    let refused = connect(other()).await.err().unwrap();
    assert!(matches!(refused, ConnectError::Settings { .. }), "{refused}");
    assert!(refused.to_string().contains("subjects"), "{refused}");
    connect(other().with_generation(1)).await.unwrap();
    // The older one is outvoted, and works on.
    assert!(first.status().connected);
    connect(Rules::new(vec![], 1_000)).await.unwrap();
}

/// Gateways that run take a change of the replicas over with the generation
/// that stands for it. Else they would bring the stream to that generation
/// with what they had, and who starts with the new settings would be refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_change_while_gateways_run() {
    let cluster = Cluster::new(Nats::cluster(), 1);
    let (first, _first, _) = cluster.gateway().await;
    let client = cluster.client().await;
    let replicas = async || {
        let answer = client.request("$JS.API.STREAM.INFO.PUSH_push", "".into()).await.ok()?;
        let info: serde_json::Value = serde_json::from_slice(&answer.payload).ok()?;
        info["config"]["num_replicas"].as_u64()
    };
    assert_eq!(replicas().await, Some(1));
    publish_patiently(&first, "kept.a", 1).await;
    let rules = vec![keep("kept.*", 100_000, 3600), keep_nothing(">")];
    let rules = Rules::new(rules, 1_000).with_replicas(3).with_generation(1);
    cluster.rules.store(Arc::new(rules));
    patiently("three replicas", async {
        while replicas().await != Some(3) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let (second, _second, _) = cluster.gateway().await;
    publish_patiently(&second, "kept.a", 2).await;
    let kept = content(&second, &["kept.a"]).await;
    assert_eq!(kept.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [1, 2]);
}

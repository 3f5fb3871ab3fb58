//! What there is no room for: history beyond `historyBytes`, and the records of
//! sessions in a NATS that is full.

use gateway::relay::{Claim, SessionRecord, SubscriptionRecord};
use tests::relay::{JetStream, RelayUnderTest as _};

use super::*;

/// A publication of two kilobytes that carries a number.
fn large(name: &str, number: u64) -> NewPublication {
    NewPublication { except: vec!["x".repeat(2_000).into()], ..numbered(name, number) }
}

/// A gateway misses the feed for a while, and what it missed went for want of
/// room before it could fetch it: its clients are told, of every channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gap_that_had_no_room_is_told() {
    let setup = Setup {
        faults: true,
        history_bytes: Some(200_000),
        ..Setup::new(vec![keep("kept.*", 1_000, 3600), keep_nothing(">")])
    };
    let mut world = JetStream.start(setup).await;
    let faults = world.faults.clone().unwrap();
    let start = world.publish_all("kept.a", [1]).await[0];
    world.head_at(start).await;
    faults.set_deaf(1, true);
    world.publish_all("kept.quiet", [2]).await;
    for number in 0..200 {
        world.publish(large("kept.a", number)).await;
    }
    faults.set_deaf(1, false);
    let end = world.publish_all("kept.a", [3]).await[0];
    let lost = patiently("the news", async {
        loop {
            if let Some(FeedItem::Lost(lost)) = world.gateways[1].feeds[0].recv().await {
                return lost;
            }
        }
    })
    .await;
    let history = world.rules.load().of(&channel("kept.quiet")).history;
    assert!(history.is_some() && lost.hits(&channel("kept.quiet"), history));
    // Who comes back to it hears the same; the other one missed nothing.
    let head = world.head_at(end).await;
    let channels = vec![(channel("kept.quiet"), start.sequence)];
    let request = Replay { from: start, channels, until: head, last: None };
    let replayed = world.gateways[1].relay.replay(request.clone()).await.unwrap();
    assert_eq!(replayed.lost, [channel("kept.quiet")]);
    let replayed = world.gateways[0].relay.replay(request).await.unwrap();
    assert_eq!((replayed.lost.len(), replayed.publications.len()), (0, 1));
}

/// `max_bytes`, `discard` and the subjects of the stream.
async fn stream_of(client: &async_nats::Client) -> (i64, Vec<String>, String) {
    let answer = client.request("$JS.API.STREAM.INFO.PUSH_push", "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let config = &info["config"];
    let subjects = serde_json::from_value(config["subjects"].clone()).unwrap();
    (config["max_bytes"].as_i64().unwrap(), subjects, config["discard"].to_string())
}

/// The setting is the stream's, from then on; and when it is taken away, what
/// it lost is still told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_stream_follows_the_setting() {
    let cluster = Cluster::new(Nats::single(), 1);
    let client = cluster.client().await;
    let (relay, _gateway, _) = cluster.gateway().await;
    assert_eq!(stream_of(&client).await.0, -1);
    let start = relay.head();
    for number in 0..200 {
        relay.publish(large("kept.a", number)).await.unwrap();
    }
    let with = async |cluster: &Cluster, bytes, generation| {
        let rules = vec![keep("kept.*", 100_000, 3600), keep_nothing(">")];
        let (sender, receiver) = tokio::sync::mpsc::channel(4_096);
        let joined = JetStreamRelay::connect(JetStreamOptions {
            config: cluster.config.clone(),
            rules: Rules::new(rules, 1_000)
                .with_history_bytes(bytes)
                .with_generation(generation)
                .shared(),
            fanout: Fanout::unasked(vec![sender]),
            max_disconnection: None,
            metrics: Metrics::default(),
            clock: Clock::system(),
            name: format!("g{generation}"),
            tick: None,
        })
        .await;
        joined.map(|relay| (relay, receiver))
    };
    let refused = with(&cluster, Some(150_000), 0).await.err().unwrap();
    assert!(refused.to_string().contains("max_bytes"), "{refused}");
    let (limited, _limited) = with(&cluster, Some(150_000), 1).await.unwrap();
    let (bytes, subjects, discard) = stream_of(&client).await;
    assert_eq!((bytes, discard.as_str()), (150_000, "\"old\""));
    assert!(subjects.iter().any(|subject| subject == "push.pub.$anchor"), "{subjects:?}");
    let told = async |relay: &JetStreamRelay| {
        let channels = vec![(channel("kept.quiet"), start.sequence)];
        let request = Replay { from: start, channels, until: relay.head(), last: None };
        relay.replay(request).await.unwrap().lost == [channel("kept.quiet")]
    };
    assert!(told(&limited).await);
    // One that starts later, with the limit taken away.
    let (unlimited, _unlimited) = with(&cluster, None, 2).await.unwrap();
    assert_eq!(stream_of(&client).await.0, -1);
    assert!(told(&unlimited).await);
}

fn session(channels: usize) -> SessionRecord {
    let place = Position { epoch: 7, sequence: 3, time: 9 };
    let subscription = |number| SubscriptionRecord {
        channel: channel(&format!("{number}.{}", "x".repeat(150))),
        start: place,
        joined: place,
        meta: false,
    };
    SessionRecord {
        sid: "sid".into(),
        namespace: "/".into(),
        user: None,
        began: 0,
        subscriptions: (0..channels).map(subscription).collect(),
    }
}

/// NATS has no room for the records of sessions: they work, and nobody gets
/// them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_without_room_work_and_are_not_recovered() {
    let cluster = Cluster::new(Nats::single(), 1);
    let client = cluster.client().await;
    let bucket = serde_json::json!({
        "name": "KV_PUSH_push_sessions",
        "subjects": ["$KV.PUSH_push_sessions.>"],
        "discard": "new",
        "max_bytes": 20_000,
        "max_msgs_per_subject": 1,
        "allow_direct": true,
        "allow_msg_ttl": true,
        "allow_rollup_hdrs": true,
        "deny_delete": true,
    });
    let call = "$JS.API.STREAM.CREATE.KV_PUSH_push_sessions";
    let made = client.request(call, bucket.to_string().into()).await.unwrap();
    assert!(!String::from_utf8_lossy(&made.payload).contains("error"), "{made:?}");
    let (relay, _gateway, metrics) = cluster.gateway().await;
    let sessions = relay.sessions();
    let mut all = Vec::new();
    for number in 0..60 {
        let pid: Arc<str> = format!("p{number}").into();
        let owner = sessions.create(&pid, session(1)).await.unwrap();
        all.push((pid, owner));
    }
    let unkept = metrics.sessions_not_kept.get();
    assert!(unkept > 10 && unkept < 50, "{unkept}");
    // One that is kept, until it wants more than there is room for.
    let (kept, owner) = &all[0];
    assert!(sessions.put(kept, *owner, session(3)).await.unwrap());
    assert_eq!(metrics.sessions_not_kept.get(), unkept + 1);
    assert!(sessions.put(kept, *owner, session(4)).await.unwrap(), "it works on");
    sessions.closed(kept, *owner);
    // One that never was.
    let (never, owner) = &all[59];
    assert!(sessions.put(never, *owner, session(2)).await.unwrap());
    sessions.closed(never, *owner);
    relay.settle().await;
    for pid in [kept, never] {
        assert_eq!(sessions.claim(pid).await.unwrap(), Claim::Unknown);
    }
    // And one that had room all the time, and still has.
    for (pid, owner) in &all[2..8] {
        sessions.delete(pid, *owner);
    }
    relay.settle().await;
    let (other, owner) = &all[1];
    sessions.closed(other, *owner);
    relay.settle().await;
    assert!(matches!(sessions.claim(other).await.unwrap(), Claim::Granted(..)));
}

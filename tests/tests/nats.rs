//! The relay over NATS under faults, and what others than gateways publish.
//!
//! The reference is the stream's content: a gateway's feed must bring exactly
//! that, in its order, each once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use gateway::metrics::Metrics;
use gateway::offset::Position;
use gateway::publication::{NewPublication, Publication, Value};
use gateway::relay::embedded::Clock;
use gateway::relay::jetstream::{ConnectError, JetStreamOptions, JetStreamRelay};
use gateway::relay::{Claim, Fanout, FeedItem, Relay, Replay, SessionRecord, SubscriptionRecord};
use gateway::rules::{Rules, SharedRules};
use gateway_config::Relay as RelayConfig;
use tests::nats::{Nats, Signal};
use tests::relay::{
    Gateway, JetStream, RelayUnderTest as _, Setup, channel, join_cluster, keep, keep_nothing,
    number, numbered, patiently,
};
use tokio::task::JoinHandle;

/// What a gateway's first shard got.
type Feed = JoinHandle<Vec<Arc<Publication>>>;

struct Cluster {
    nats: Nats,
    config: RelayConfig,
    rules: SharedRules,
    setup: Setup,
}

impl Cluster {
    fn new(nats: Nats, replicas: usize) -> Self {
        let rules = vec![keep("kept.*", 100_000, 3600), keep_nothing(">")];
        let setup = Setup { shards: 1, tick: None, ..Setup::new(rules.clone()) };
        let config = RelayConfig { url: nats.url(), ..RelayConfig::default() };
        let rules = Rules::new(rules, 1_000).with_replicas(replicas).shared();
        Self { nats, config, rules, setup }
    }

    async fn gateway(&self) -> (Arc<JetStreamRelay>, Gateway, Metrics) {
        self.gateway_at(&self.config).await
    }

    async fn gateway_at(&self, config: &RelayConfig) -> (Arc<JetStreamRelay>, Gateway, Metrics) {
        let metrics = Metrics::default();
        let clock = Clock::system();
        let (relay, gateway) =
            join_cluster(config, &self.rules, &self.setup, clock, metrics.clone()).await;
        (relay, gateway, metrics)
    }

    async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.nats.url().split(',').collect::<Vec<_>>()).await.unwrap()
    }
}

/// Reads a gateway's feed until a number comes.
fn read_until(mut gateway: Gateway, last: u64) -> Feed {
    tokio::spawn(async move {
        let mut got = Vec::new();
        loop {
            match gateway.feeds[0].recv().await.unwrap() {
                FeedItem::Publication(publication) => {
                    let end = number(&publication) == last;
                    got.push(publication);
                    if end {
                        return got;
                    }
                }
                FeedItem::Epoch(_) | FeedItem::Lost(_) => panic!("told of a loss"),
                FeedItem::Fenced { .. } => {}
            }
        }
    })
}

/// Publishes numbers, each again until it is acknowledged, with an id.
async fn publish_patiently(relay: &JetStreamRelay, name: &str, number: u64) {
    let publication =
        NewPublication { id: Some(number.to_string().into()), ..numbered(name, number) };
    patiently("an acknowledgement", async {
        while relay.publish(publication.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// What the stream holds, read by its end.
async fn content(relay: &JetStreamRelay, names: &[&str]) -> Vec<(u64, u64)> {
    let until = relay.head();
    let from = Position { sequence: 0, time: until.epoch, ..until };
    let channels = names.iter().map(|name| (channel(name), 0)).collect();
    let replayed = relay.replay(Replay { from, channels, until, last: None }).await.unwrap();
    assert_eq!(replayed.lost, []);
    pairs(&replayed.publications)
}

fn pairs(publications: &[Arc<Publication>]) -> Vec<(u64, u64)> {
    publications.iter().map(|p| (p.position.unwrap().sequence, number(p))).collect()
}

const NAMES: [&str; 3] = ["kept.a", "kept.b", "kept.c"];

/// Publishes while `fault` happens; every gateway gets the stream's content.
async fn survives(mut cluster: Cluster, each: u64, fault: impl AsyncFnOnce(&mut Nats)) {
    let mut feeds = Vec::new();
    let mut relays = Vec::new();
    for _ in 0..3 {
        let (relay, gateway, metrics) = cluster.gateway().await;
        feeds.push(read_until(gateway, u64::MAX));
        relays.push((relay, metrics));
    }
    let mut publishers = Vec::new();
    for (index, name) in (0_u64..).zip(NAMES) {
        let relay = relays[usize::try_from(index).unwrap()].0.clone();
        publishers.push(tokio::spawn(async move {
            for number in 0..each {
                publish_patiently(&relay, name, index * each + number).await;
                tokio::time::sleep(Duration::from_millis(8)).await;
            }
        }));
    }
    fault(&mut cluster.nats).await;
    for publisher in publishers {
        publisher.await.unwrap();
    }
    publish_patiently(&relays[0].0, "kept.a", u64::MAX).await;
    let mut all = Vec::new();
    for feed in feeds {
        let got = patiently("the last publication", feed).await.unwrap();
        let got = pairs(&got);
        assert!(got.is_sorted_by(|a, b| a.0 < b.0), "in the stream's order");
        all.push(got);
    }
    let stored = content(&relays[0].0, &NAMES).await;
    let mut numbers: Vec<u64> = stored.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    let mut expected: Vec<u64> = (0..3 * each).collect();
    expected.push(u64::MAX);
    assert_eq!(numbers, expected, "acknowledged, each once");
    for (got, (_, metrics)) in all.into_iter().zip(&relays) {
        assert_eq!(got, stored);
        println!(
            "delivered {}, {} of them in {} fills, times blind {}",
            got.len(),
            metrics.relay_filled.get(),
            metrics.relay_fills.get(),
            metrics.relay_blind.get()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_servers_lose_nothing() {
    let cluster = Cluster::new(Nats::cluster(), 3);
    survives(cluster, 1_500, async |nats| {
        for index in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            nats.signal(index, Signal::Kill);
            tokio::time::sleep(Duration::from_secs(2)).await;
            nats.restart(index);
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stands_still_loses_nothing() {
    let cluster = Cluster::new(Nats::cluster(), 3);
    survives(cluster, 1_500, async |nats| {
        for index in 0..3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            nats.signal(index, Signal::Stop);
            tokio::time::sleep(Duration::from_secs(4)).await;
            nats.signal(index, Signal::Continue);
        }
    })
    .await;
}

/// One publication while the gateway's own server stands still, and then
/// silence: it arrives, though nothing else shows that it was missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quiet_channel_is_not_forgotten() {
    let mut cluster = Cluster::new(Nats::cluster(), 3);
    let at_first = RelayConfig { url: cluster.nats.url_of(0), ..cluster.config.clone() };
    let at_second = RelayConfig { url: cluster.nats.url_of(1), ..cluster.config.clone() };
    let (_reader, gateway, _) = cluster.gateway_at(&at_first).await;
    let (publisher, _publisher, _) = cluster.gateway_at(&at_second).await;
    let feed = read_until(gateway, 7);
    cluster.nats.signal(0, Signal::Stop);
    // Whoever led the stream may be the one that stands still.
    publish_patiently(&publisher, "kept.a", 7).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    cluster.nats.signal(0, Signal::Continue);
    let back = Instant::now();
    let got = patiently("the publication", feed).await.unwrap();
    println!("arrived {:?} after the server's return", back.elapsed());
    assert_eq!(got.len(), 1);
}

/// A gateway to which the feed doesn't come, while all else works: as behind
/// a cut route. It sees by its ticks that it is blind, and fills.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blind_gateway_fills() {
    let users = "authorization: { users: [\n\
        { user: blind, password: b, permissions: { subscribe: { deny: [\"push.live.>\"] } } }\n\
        { user: seeing, password: s }\n\
    ] }\n";
    let cluster = Cluster::new(Nats::start(1, users), 1);
    let config = |user: &str, password: &str| RelayConfig {
        user: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..cluster.config.clone()
    };
    let (seeing, _seeing, _) = cluster.gateway_at(&config("seeing", "s")).await;
    let (_blind, gateway, metrics) = cluster.gateway_at(&config("blind", "b")).await;
    let feed = read_until(gateway, 20);
    for number in 1..=20 {
        publish_patiently(&seeing, "kept.a", number).await;
    }
    let begin = Instant::now();
    let got = patiently("what it didn't see", feed).await.unwrap();
    println!("arrived after {:?}", begin.elapsed());
    assert_eq!(got.iter().map(number_of).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert!(metrics.relay_blind.get() >= 1 && metrics.relay_fills.get() >= 1);
}

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

fn number_of(publication: &Arc<Publication>) -> u64 {
    number(publication)
}

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

/// NATS is gone, and comes back: publishers are told, and go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nats_goes_and_comes_back() {
    let mut cluster = Cluster::new(Nats::single(), 1);
    let (relay, gateway, _) = cluster.gateway().await;
    let feed = read_until(gateway, 3);
    publish_patiently(&relay, "kept.a", 1).await;
    cluster.nats.signal(0, Signal::Kill);
    patiently("the news", async {
        while relay.status().connected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let refused = relay.publish(numbered("kept.a", 2)).await.unwrap_err();
    assert!(refused.to_string().contains("try again"), "{refused}");
    assert!(relay.status().error.is_some());
    cluster.nats.restart(0);
    publish_patiently(&relay, "kept.a", 3).await;
    let got = patiently("the feed", feed).await.unwrap();
    assert_eq!(got.iter().map(number_of).collect::<Vec<_>>(), [1, 3]);
    patiently("peace", async {
        while !relay.status().connected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A server that says that it will stop is left before it does, and nothing is
/// lost on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_will_stop_is_left() {
    let mut cluster = Cluster::new(Nats::cluster(), 3);
    let (relay, gateway, _) = cluster.gateway().await;
    let feed = read_until(gateway, 20);
    publish_patiently(&relay, "kept.a", 1).await;
    let of_gateway = async |nats: &Nats, index: usize| {
        let names = nats.connections(index).await;
        names.iter().filter(|name| name.starts_with('g')).count()
    };
    let mut left = None;
    for index in 0..3 {
        if of_gateway(&cluster.nats, index).await > 0 {
            assert_eq!(of_gateway(&cluster.nats, index).await, 2, "both at one server");
            assert!(left.replace(index).is_none(), "and at no other");
        }
    }
    let left = left.unwrap();
    cluster.nats.signal(left, Signal::LameDuck);
    for number in 2..=19 {
        publish_patiently(&relay, "kept.a", number).await;
    }
    patiently("another server", async {
        while of_gateway(&cluster.nats, (left + 1) % 3).await
            + of_gateway(&cluster.nats, (left + 2) % 3).await
            < 2
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    publish_patiently(&relay, "kept.a", 20).await;
    let got = patiently("the feed", feed).await.unwrap();
    assert_eq!(got.iter().map(number_of).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
}

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

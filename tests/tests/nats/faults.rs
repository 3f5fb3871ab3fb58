//! Servers that are killed, stand still, go or will stop, and a feed that
//! doesn't come.

use std::time::Instant;

use tests::nats::Signal;

use super::*;

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

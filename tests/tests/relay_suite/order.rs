//! Each publication once, in the stream's order, everywhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gateway::offset::Position;
use gateway::publication::Publication;
use gateway::relay::{FeedItem, Replay};
use tests::relay::{
    RelayUnderTest, Setup, World, channel, keep, keep_nothing, number, numbered, patiently,
};
use tokio::task::JoinSet;

const PUBLISHERS: u64 = 8;
const EACH: u64 = 200;
const CHANNELS: [&str; 4] = ["kept.a", "kept.b", "$user.c", "kept.d"];

fn rules() -> Vec<gateway_config::ChannelRule> {
    vec![keep("kept.*", 10_000, 3600), keep("$user.*", 10_000, 3600), keep_nothing(">")]
}

/// Many publishers at every gateway. A number is `publisher * EACH + index`.
fn publish_much(world: &World, names: &'static [&'static str]) -> JoinSet<Vec<Option<Position>>> {
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let gateway = usize::try_from(publisher).unwrap() % world.gateways.len();
        let relay = Arc::clone(&world.gateways[gateway].relay);
        publishers.spawn(async move {
            let mut positions = Vec::new();
            for index in 0..EACH {
                let name = names[usize::try_from(publisher + index).unwrap() % names.len()];
                let publication = numbered(name, publisher * EACH + index);
                positions.push(relay.publish(publication).await.unwrap().position);
            }
            positions
        });
    }
    publishers
}

/// Publications of one publisher, in the order of arrival, must count up.
fn assert_publishers_order(arrived: &[Arc<Publication>]) {
    let mut last: HashMap<u64, u64> = HashMap::new();
    for publication in arrived {
        let number = number(publication);
        let before = last.insert(number / EACH, number);
        assert!(before < Some(number), "{number} after {before:?}");
    }
}

pub async fn concurrent_publishers_one_order(relay: &impl RelayUnderTest) {
    let mut world = relay.start(Setup::new(rules())).await;
    let published = publish_much(&world, &CHANNELS).join_all().await.concat();
    let total = usize::try_from(PUBLISHERS * EACH).unwrap();
    let mut sequences: Vec<u64> =
        published.iter().map(|position| position.unwrap().sequence).collect();
    sequences.sort_unstable();

    for gateway in &mut world.gateways {
        for shard in 0..gateway.feeds.len() {
            let arrived = gateway.next(shard, total).await;
            assert_publishers_order(&arrived);
            let positions: Vec<Position> = arrived.iter().map(|p| p.position.unwrap()).collect();
            let order: Vec<u64> = positions.iter().map(|position| position.sequence).collect();
            assert_eq!(order, sequences, "each once, in the order of the sequence");
            assert!(positions.is_sorted_by_key(|position| position.time));
            assert!(positions.iter().all(|position| position.epoch == positions[0].epoch));
        }
    }
    for position in published {
        let position = position.unwrap();
        let head = world.head_at(position).await;
        assert_eq!(head.epoch, position.epoch);
    }
    // Every subscriber of history can read the same order again.
    let start = Position { epoch: world.relay().head().epoch, ..Position::default() };
    let channels = CHANNELS.iter().map(|name| (channel(name), 0)).collect();
    let until = world.relay().head();
    let replayed = world.replay(Replay { from: start, channels, until, last: None }).await;
    let replayed: Vec<u64> =
        replayed.publications.iter().map(|p| p.position.unwrap().sequence).collect();
    assert_eq!(replayed, sequences);
}

/// Queues of two, and shards that read now and then, each at its own pace:
/// publishers wait, and nothing is dropped, with history or without.
pub async fn slow_shards_miss_nothing(relay: &impl RelayUnderTest) {
    const NAMES: [&str; 3] = ["kept.a", "passing.b", "passing.c"];
    let setup = Setup { queue: 2, shards: 3, ..Setup::new(rules()) };
    let mut world = relay.start(setup).await;
    for gateway in &world.gateways {
        for name in NAMES {
            gateway.relay.join(&channel(name)).await.unwrap();
        }
    }
    let mut shards = JoinSet::new();
    for gateway in &mut world.gateways {
        for (shard, mut feed) in std::mem::take(&mut gateway.feeds).into_iter().enumerate() {
            shards.spawn(async move {
                let mut arrived = Vec::new();
                while arrived.len() < usize::try_from(PUBLISHERS * EACH).unwrap() {
                    if arrived.len() % 97 == shard * 7 {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    match feed.recv().await {
                        Some(FeedItem::Publication(publication)) => arrived.push(publication),
                        Some(_) => {}
                        None => panic!("the relay has left"),
                    }
                }
                (arrived, feed)
            });
        }
    }
    let publishers = publish_much(&world, &NAMES);
    patiently("publishers", publishers.join_all()).await;
    for (arrived, mut feed) in patiently("slow shards", shards.join_all()).await {
        // Each publisher's order over its channels with history, and over
        // each channel without.
        for name in NAMES {
            let of_channel: Vec<_> =
                arrived.iter().filter(|p| p.channel == channel(name)).cloned().collect();
            assert_publishers_order(&of_channel);
        }
        let mut all: Vec<u64> = arrived.iter().map(|p| number(p)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..PUBLISHERS * EACH).collect::<Vec<_>>());
        while let Ok(item) = feed.try_recv() {
            assert!(!matches!(item, FeedItem::Publication(_)), "one too many");
        }
    }
}

/// A shard that reads its feed slowly, while all publish: whenever it stops
/// to replay up to its own position, the replay and what the feed brings
/// after it are all, each once.
pub async fn replay_and_feed_meet(relay: &impl RelayUnderTest) {
    let setup = Setup { queue: 8, shards: 1, ..Setup::new(rules()) };
    let mut world = relay.start(setup).await;
    let mut feeds: Vec<_> =
        world.gateways.iter_mut().map(|gateway| gateway.feeds.remove(0)).collect();
    let start = world.relay().head();
    let publishers = publish_much(&world, &CHANNELS);
    let total = usize::try_from(PUBLISHERS * EACH).unwrap();

    let mut shards = JoinSet::new();
    for gateway in &world.gateways {
        let relay = Arc::clone(&gateway.relay);
        let mut queue = feeds.remove(0);
        shards.spawn(async move {
            // Everything in the feed, in order; what was replayed at some
            // places, each with the number of feed publications before it.
            let mut fed: Vec<Arc<Publication>> = Vec::new();
            let mut replays = Vec::new();
            let mut position = start;
            while fed.len() < total {
                if fed.len() % 131 == 17 {
                    let request = Replay {
                        from: start,
                        channels: vec![(channel(CHANNELS[0]), start.sequence)],
                        until: position,
                        last: None,
                    };
                    let replayed = relay.replay(request).await.unwrap();
                    assert_eq!(replayed.lost, []);
                    replays.push((fed.len(), replayed.publications));
                }
                if let Some(FeedItem::Publication(publication)) = queue.recv().await {
                    position = publication.position.unwrap();
                    fed.push(publication);
                }
            }
            (fed, replays)
        });
    }
    patiently("publishers", publishers.join_all()).await;
    for (fed, replays) in patiently("shards", shards.join_all()).await {
        let ours = |p: &&Arc<Publication>| p.channel == channel(CHANNELS[0]);
        let all: Vec<u64> = fed.iter().filter(ours).map(|p| number(p)).collect();
        assert!(replays.len() > 5);
        for (before, replayed) in replays {
            let rest = fed[before..].iter().filter(ours);
            let seen: Vec<u64> = replayed.iter().chain(rest).map(|p| number(p)).collect();
            assert_eq!(seen, all, "after {before} publications of the feed");
        }
    }
}

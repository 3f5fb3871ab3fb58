//! History that is full: what goes, and who is told.

use gateway::offset::Position;
use gateway::publication::NewPublication;
use gateway::relay::{HistoryPage, HistoryQuery, Replay};
use tests::relay::{
    RelayUnderTest, Setup, World, channel, keep, keep_nothing, numbered, numbers, patiently,
};

/// More than the ring of a relay over NATS keeps, in seconds.
const LONG: u64 = 120;

fn setup(max_messages: usize, history_bytes: usize) -> Setup {
    let rules = vec![keep("long.*", max_messages, 3600), keep_nothing(">")];
    Setup { history_bytes: Some(history_bytes), ..Setup::new(rules) }
}

/// A numbered publication of two kilobytes.
fn large(name: &str, number: u64) -> NewPublication {
    NewPublication { except: vec!["x".repeat(2_000).into()], ..numbered(name, number) }
}

/// 0 to 199, over seven channels: twice what there is room for.
async fn flood(world: &World) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in 0..200 {
        let published = world.publish(large(&format!("long.{}", number % 7), number)).await;
        positions.push(published.position.unwrap());
    }
    positions
}

/// Lets what is kept beside the stream be forgotten; the head.
async fn later(world: &World) -> Position {
    world.pass(LONG).await;
    let end = world.publish_all("long.other", [1_000]).await[0];
    world.head_at(end).await
}

async fn since(world: &World, name: &str, place: Position) -> HistoryPage {
    let query = HistoryQuery {
        channel: channel(name),
        since: Some(place.into()),
        before: None,
        limit: 100,
        newest_first: false,
    };
    patiently("a page of history", world.relay().history(query)).await.unwrap()
}

pub async fn the_oldest_go_and_that_is_told(relay: &impl RelayUnderTest) {
    let world = relay.start(setup(1_000, 200_000)).await;
    let start = world.relay().head();
    world.publish_all("long.quiet", [7]).await;
    let positions = flood(&world).await;
    let head = later(&world).await;

    let replayed = world.resume(start, &["long.quiet", "long.3"], head).await;
    assert_eq!(replayed.publications.len(), 0);
    assert_eq!(replayed.lost.len(), 2, "{:?}", replayed.lost);
    let replayed = world.resume(positions[20], &["long.3"], head).await;
    assert_eq!(replayed.lost, [channel("long.3")]);
    assert!(!since(&world, "long.3", start).await.complete);
    assert!(!since(&world, "long.3", positions[20]).await.complete);

    // The newest are there, whole.
    let recent = positions[180];
    let replayed = world.resume(recent, &["long.3", "long.quiet", "long.never"], head).await;
    assert_eq!(replayed.lost, []);
    assert_eq!(numbers(&replayed.publications), [185, 192, 199]);
    let page = since(&world, "long.3", recent).await;
    assert!(page.complete);
    assert_eq!(numbers(&page.publications), [185, 192, 199]);
    let latest =
        Replay { from: head, channels: vec![(channel("long.0"), 0)], until: head, last: Some(2) };
    assert_eq!(numbers(&world.replay(latest).await.publications), [189, 196]);
}

/// What ends by its own time, or by its channel's number, is nobody else's
/// loss, however much of it was in front.
pub async fn what_ends_by_itself_is_no_loss_of_others(relay: &impl RelayUnderTest) {
    let world = relay.start(setup(100, 50_000_000)).await;
    let start = world.relay().head();
    let brief = NewPublication { ttl: Some(1_000), ..numbered("long.brief", 1) };
    world.publish(brief).await;
    world.publish_all("long.busy", 1..=250).await;
    // Longer than a TTL by the servers' clock, which doesn't jump.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    let head = later(&world).await;
    let replayed = world.resume(start, &["long.quiet", "long.brief"], head).await;
    assert_eq!((replayed.lost, replayed.publications.len()), (Vec::new(), 0));
    let replayed = world.resume(start, &["long.busy"], head).await;
    assert_eq!(replayed.lost, [channel("long.busy")]);
}

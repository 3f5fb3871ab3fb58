//! Pages of one channel.

use gateway::offset::{Offset, Position};
use gateway::publication::Publication;
use gateway::relay::{HistoryPage, HistoryQuery, RelayError};
use tests::relay::{RelayUnderTest, Setup, World, channel, keep, keep_nothing, numbers, patiently};

fn setup() -> Setup {
    Setup::new(vec![keep("kept.*", 5, 10), keep("long.*", 100, 3600), keep_nothing(">")])
}

fn query(name: &str, limit: usize) -> HistoryQuery {
    HistoryQuery { channel: channel(name), since: None, before: None, limit, newest_first: false }
}

async fn page(world: &World, query: HistoryQuery) -> HistoryPage {
    patiently("a page of history", world.relay().history(query)).await.unwrap()
}

fn place(publication: &Publication) -> Option<Offset> {
    publication.position.map(Offset::from)
}

/// 1 to 10 in `long.a`, between publications of another channel.
async fn ten(world: &World) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in 1..=10 {
        world.publish_all("long.other", [100 + number]).await;
        positions.extend(world.publish_all("long.a", [number]).await);
    }
    world.head_at(positions[9]).await;
    positions
}

pub async fn pages_forward(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let empty = page(&world, query("long.a", 4)).await;
    assert_eq!((empty.publications.len(), empty.complete, empty.more), (0, true, false));
    ten(&world).await;
    let mut since = None;
    let mut pages = Vec::new();
    loop {
        let next = page(&world, HistoryQuery { since, ..query("long.a", 4) }).await;
        assert!(next.complete);
        assert_eq!(next.head, world.relay().head());
        since = place(next.publications.last().unwrap());
        pages.push(numbers(&next.publications));
        if !next.more {
            break;
        }
    }
    assert_eq!(pages, [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]]);
    let exact = page(&world, query("long.a", 10)).await;
    assert_eq!((exact.publications.len(), exact.more), (10, false));
}

pub async fn pages_backward(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    ten(&world).await;
    let mut before = None;
    let mut pages = Vec::new();
    loop {
        let next = HistoryQuery { before, newest_first: true, ..query("long.a", 4) };
        let next = page(&world, next).await;
        before = place(next.publications.last().unwrap());
        pages.push(numbers(&next.publications));
        if !next.more {
            break;
        }
    }
    assert_eq!(pages, [vec![10, 9, 8, 7], vec![6, 5, 4, 3], vec![2, 1]]);
}

pub async fn between_two_offsets(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let positions = ten(&world).await;
    let bounds = HistoryQuery {
        since: Some(positions[2].into()),
        before: Some(positions[7].into()),
        ..query("long.a", 100)
    };
    assert_eq!(numbers(&page(&world, bounds.clone()).await.publications), [4, 5, 6, 7]);
    let newest = HistoryQuery { newest_first: true, limit: 2, ..bounds.clone() };
    let newest = page(&world, newest).await;
    assert_eq!((numbers(&newest.publications), newest.more), (vec![7, 6], true));
    let nothing = HistoryQuery { before: bounds.since.clone(), ..bounds };
    let nothing = page(&world, nothing).await;
    assert_eq!((nothing.publications.len(), nothing.more), (0, false));
}

pub async fn composite_offsets(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let positions = ten(&world).await;
    let catching_up = |name: &str| Offset {
        position: positions[9],
        channel: Some((channel(name), positions[6].sequence)),
    };
    let own = HistoryQuery { since: Some(catching_up("long.a")), ..query("long.a", 100) };
    assert_eq!(numbers(&page(&world, own).await.publications), [8, 9, 10]);
    let others = HistoryQuery { since: Some(catching_up("long.x")), ..query("long.a", 100) };
    assert!(page(&world, others).await.publications.is_empty());
}

pub async fn gaps_are_told(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let positions = world.publish_all("kept.a", 1..=12).await;
    world.head_at(positions[11]).await;
    let after =
        |since: Position| HistoryQuery { since: Some(since.into()), ..query("kept.a", 100) };

    let whole = page(&world, after(positions[8])).await;
    assert_eq!((numbers(&whole.publications), whole.complete), (vec![10, 11, 12], true));
    let trimmed = page(&world, after(positions[3])).await;
    assert_eq!((numbers(&trimmed.publications), trimmed.complete), ((8..=12).collect(), false));
    let other_life = Position { epoch: positions[8].epoch + 1, ..positions[8] };
    let told = page(&world, after(other_life)).await;
    assert_eq!((numbers(&told.publications), told.complete), ((8..=12).collect(), false));
    let unasked = page(&world, query("kept.a", 100)).await;
    assert!(unasked.complete, "no resume point, no gap");

    world.pass(60).await;
    let expired = page(&world, after(positions[8])).await;
    assert_eq!((expired.publications.len(), expired.complete), (0, false));
}

pub async fn no_history_is_an_error(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let answer = world.relay().history(query("passing", 10)).await;
    assert_eq!(answer.unwrap_err(), RelayError::NoHistory);
}

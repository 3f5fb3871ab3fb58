//! What a client that comes back gets, and when it is told of a gap.

use gateway::offset::Position;
use gateway::publication::NewPublication;
use gateway::relay::Replay;
use tests::relay::{RelayUnderTest, Setup, channel, keep, keep_nothing, numbered, numbers};

fn setup() -> Setup {
    Setup::new(vec![keep("kept.*", 5, 10), keep("long.*", 100, 3600), keep_nothing(">")])
}

pub async fn nothing_missed_nothing_lost(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    let quiet = world.resume(start, &["kept.a", "long.a", "$user.new"], start).await;
    assert_eq!((quiet.publications.len(), quiet.lost.len()), (0, 0));

    let end = *world.publish_all("long.a", 1..=50).await.last().unwrap();
    let head = world.head_at(end).await;
    assert_eq!(head, end);
    for from in [start, end] {
        let quiet = world.resume(from, &["kept.a", "$user.new"], head).await;
        assert_eq!((quiet.publications.len(), quiet.lost.len()), (0, 0));
    }
    let nothing = world.resume(end, &["long.a"], head).await;
    assert_eq!((nothing.publications.len(), nothing.lost.len()), (0, 0));
    let all = world.resume(start, &["long.a"], head).await;
    assert_eq!(numbers(&all.publications), (1..=50).collect::<Vec<_>>());
}

pub async fn channels_are_merged_each_after_its_place(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let mut positions = Vec::new();
    for (number, name) in (1..=9).zip(["long.a", "long.b", "long.c"].into_iter().cycle()) {
        positions.extend(world.publish_all(name, [number]).await);
    }
    let head = world.head_at(positions[8]).await;
    // a has 1, 4, 7; b has 2, 5, 8; c has 3, 6, 9.
    let request = Replay {
        from: positions[3],
        channels: vec![
            (channel("long.c"), positions[3].sequence),
            (channel("long.a"), positions[0].sequence),
            (channel("long.b"), positions[6].sequence),
        ],
        until: head,
        last: None,
    };
    let replayed = world.replay(request).await;
    assert_eq!(replayed.lost, []);
    assert_eq!(numbers(&replayed.publications), [4, 6, 7, 8, 9]);
}

pub async fn until_bounds_the_replay(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    let positions = world.publish_all("long.a", 1..=10).await;
    world.head_at(positions[9]).await;
    let replayed = world.resume(start, &["long.a"], positions[3]).await;
    assert_eq!(numbers(&replayed.publications), [1, 2, 3, 4]);
    // A shard may be behind the one that the client was at before.
    let behind = world.resume(positions[6], &["long.a"], positions[3]).await;
    assert_eq!((behind.publications.len(), behind.lost.len()), (0, 0));
}

pub async fn trimmed_is_told(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    let positions = world.publish_all("kept.a", 1..=12).await;
    let other = world.publish_all("long.a", [100]).await;
    let head = world.head_at(other[0]).await;

    // 8 to 12 are kept.
    for from in [start, positions[0], positions[5]] {
        let replayed = world.resume(from, &["kept.a", "long.a"], head).await;
        assert_eq!(replayed.lost, [channel("kept.a")]);
        assert_eq!(numbers(&replayed.publications), [100], "the other channel is whole");
    }
    // Fewer than maxMessages behind.
    let replayed = world.resume(positions[7], &["kept.a", "long.a"], head).await;
    assert_eq!(replayed.lost, []);
    assert_eq!(numbers(&replayed.publications), [9, 10, 11, 12, 100]);
}

pub async fn expired_is_told(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    world.publish_all("kept.a", [1, 2]).await;
    let between = world.publish_all("long.a", [3]).await;
    world.pass(6).await;
    let young = world.publish_all("kept.a", [4]).await;
    world.pass(6).await;
    let head = world.head_at(young[0]).await;

    let replayed = world.resume(start, &["kept.a", "long.a"], head).await;
    assert_eq!(replayed.lost, [channel("kept.a")]);
    assert_eq!(numbers(&replayed.publications), [3]);
    let replayed = world.resume(young[0], &["kept.a", "long.a"], head).await;
    assert_eq!(replayed.lost, []);

    // Nothing is left of the channel, and it is still told.
    world.pass(60).await;
    for from in [start, between[0]] {
        let replayed = world.resume(from, &["kept.a"], head).await;
        assert_eq!(replayed.lost, [channel("kept.a")]);
    }
    // Also after it has begun anew.
    let again = world.publish_all("kept.a", [5, 6]).await;
    let head = world.head_at(again[1]).await;
    let replayed = world.resume(start, &["kept.a"], head).await;
    assert_eq!(replayed.lost, [channel("kept.a")]);
    let replayed = world.resume(again[0], &["kept.a"], head).await;
    assert_eq!((numbers(&replayed.publications), replayed.lost), (vec![6], vec![]));
}

pub async fn own_ttl_is_no_loss(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    let brief = |number| NewPublication { ttl: Some(1_000), ..numbered("long.a", number) };
    world.publish(brief(1)).await;
    world.publish_all("long.a", [2]).await;
    world.publish(brief(3)).await;
    let last = world.publish_all("long.a", [4]).await[0];
    let head = world.head_at(last).await;
    let replayed = world.resume(start, &["long.a"], head).await;
    assert_eq!(numbers(&replayed.publications), [1, 2, 3, 4]);
    world.pass(3).await;
    let replayed = world.resume(start, &["long.a"], head).await;
    assert_eq!((numbers(&replayed.publications), replayed.lost), (vec![2, 4], vec![]));
}

pub async fn other_epoch_is_told(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let end = *world.publish_all("long.a", 1..=3).await.last().unwrap();
    let head = world.head_at(end).await;
    for epoch in [0, head.epoch - 1, head.epoch + 1] {
        for sequence in [0, 1, head.sequence] {
            let from = Position { epoch, sequence, time: head.time };
            let replayed = world.resume(from, &["long.a", "kept.quiet"], head).await;
            assert_eq!(replayed.lost, [channel("long.a"), channel("kept.quiet")]);
            assert!(replayed.publications.is_empty());
        }
    }
}

pub async fn a_position_that_never_was_is_told(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let positions = world.publish_all("long.a", 1..=3).await;
    let head = world.head_at(positions[2]).await;
    let ahead = Position { sequence: head.sequence + 1, ..head };
    let other_head = Position { time: head.time + 1, ..head };
    let other_time = Position { time: positions[1].time + 1, ..positions[1] };
    for from in [ahead, other_head, other_time] {
        let replayed = world.resume(from, &["long.a"], head).await;
        assert_eq!(replayed.lost, [channel("long.a")], "{from:?}");
        assert!(replayed.publications.is_empty());
    }
}

pub async fn no_history_is_told(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    world.publish(numbered("passing", 1)).await;
    let end = world.publish_all("long.a", [2]).await[0];
    let head = world.head_at(end).await;
    let replayed = world.resume(start, &["passing", "long.a"], head).await;
    assert_eq!(replayed.lost, [channel("passing")]);
    assert_eq!(numbers(&replayed.publications), [2]);
}

pub async fn latest_of_each_channel(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    world.publish_all("long.a", 1..=5).await;
    world.publish_all("kept.a", 11..=19).await;
    let bound = world.publish_all("long.b", [20]).await[0];
    let after = world.publish_all("long.a", [21]).await[0];
    world.head_at(after).await;
    let names = ["kept.a", "long.a", "long.b", "passing", "kept.empty"];
    let mut request = Replay {
        from: Position::default(),
        channels: names.iter().map(|name| (channel(name), 0)).collect(),
        until: bound,
        last: Some(2),
    };
    let replayed = world.replay(request.clone()).await;
    assert_eq!(replayed.lost, []);
    assert_eq!(numbers(&replayed.publications), [4, 5, 18, 19, 20]);
    request.last = Some(1_000);
    let replayed = world.replay(request.clone()).await;
    assert_eq!(numbers(&replayed.publications), [1, 2, 3, 4, 5, 15, 16, 17, 18, 19, 20]);
    request.last = Some(0);
    assert!(world.replay(request).await.publications.is_empty());
}

pub async fn rules_that_change(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    let kept = world.publish_all("long.a", [1]).await;
    world.set_rules(vec![keep("passing", 5, 10), keep_nothing(">")]);
    assert_eq!(world.publish(numbered("long.a", 2)).await.position, None);
    let gained = world.publish(numbered("passing", 3)).await.position.unwrap();
    let head = world.head_at(gained).await;
    let replayed = world.resume(start, &["long.a", "passing"], head).await;
    assert_eq!(replayed.lost, [channel("long.a")]);
    assert_eq!(numbers(&replayed.publications), [3]);
    assert!(gained.sequence > kept[0].sequence);
}

/// What a short age has dropped is told also when the rule has a longer one
/// by then.
pub async fn a_longer_age_brings_nothing_back(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let start = world.relay().head();
    let end = world.publish_all("kept.a", [1]).await[0];
    let head = world.head_at(end).await;
    world.pass(60).await;
    world.set_rules(vec![keep("kept.*", 5, 3600)]);
    let replayed = world.resume(start, &["kept.a"], head).await;
    let whole = replayed.lost.is_empty() && numbers(&replayed.publications) == [1];
    assert!(whole || replayed.lost == [channel("kept.a")], "{replayed:?}");
}

/// Of a subscription that was made before there was anything, at a gateway
/// that started after it.
pub async fn a_place_before_the_first_message(relay: &impl RelayUnderTest) {
    let mut world = relay.start(Setup { faults: true, ..setup() }).await;
    let start = world.relay().head();
    let kept = world.publish_all("kept.a", [1, 2]).await;
    if let Some(faults) = world.faults.clone() {
        // So that it has to ask for what is older than itself.
        faults.set_stale(true);
        world.gateways[1] = faults.kill(1).await;
    }
    let (from, until) = (kept[1], world.head_at(kept[1]).await);
    let channels = vec![(channel("kept.a"), start.sequence)];
    let replayed = world.replay(Replay { from, channels, until, last: None }).await;
    assert_eq!((replayed.lost, numbers(&replayed.publications)), (Vec::new(), vec![1, 2]));
}

//! Idempotent ids, ttl, what is not stored.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use gateway::publication::{NewPublication, Value};
use tests::relay::{RelayUnderTest, Setup, channel, keep, keep_nothing, numbered, numbers};
use tokio::task::JoinSet;

fn setup() -> Setup {
    Setup::new(vec![keep("kept.*", 100, 3600), keep_nothing(">")])
}

fn with_id(name: &str, number: u64, id: &str) -> NewPublication {
    NewPublication { id: Some(id.into()), ..numbered(name, number) }
}

pub async fn an_id_makes_a_retry_harmless(relay: &impl RelayUnderTest) {
    let mut world = relay.start(setup()).await;
    let before = world.relay().head();
    let first = world.publish(with_id("kept.a", 1, "order 7/é")).await;
    let retry = world.publish(with_id("kept.a", 2, "order 7/é")).await;
    let last = world.publish(numbered("kept.a", 3)).await.position.unwrap();

    assert!(!first.duplicate && first.position.is_some());
    assert!(retry.duplicate);
    assert_eq!(retry.position, first.position, "the first one's place");
    let arrived = world.gateways[0].next(0, 2).await;
    assert_eq!(numbers(&arrived), [1, 3]);
    assert_eq!(arrived[0].id.as_deref(), Some("order 7/é"));
    let head = world.head_at(last).await;
    let replayed = world.resume(before, &["kept.a"], head).await;
    assert_eq!(numbers(&replayed.publications), [1, 3]);
}

pub async fn concurrent_retries_are_one(relay: &impl RelayUnderTest) {
    let mut world = relay.start(setup()).await;
    let mut retries = JoinSet::new();
    for number in 0..16 {
        let relay = Arc::clone(&world.gateways[number % world.gateways.len()].relay);
        let publication = with_id("kept.a", number as u64, "same");
        retries.spawn(async move { relay.publish(publication).await.unwrap() });
    }
    let answers = retries.join_all().await;
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    let places: HashSet<_> = answers.iter().map(|answer| answer.position.unwrap()).collect();
    assert_eq!(places.len(), 1);
    world.publish(numbered("kept.a", 99)).await;
    let arrived = world.gateways[0].next(1, 2).await;
    assert_eq!(numbers(&arrived)[1], 99, "one of the sixteen, then the next");
}

pub async fn ids_are_of_their_channel(relay: &impl RelayUnderTest) {
    let world = relay.start(setup()).await;
    let a = world.publish(with_id("kept.a", 1, "x")).await;
    let b = world.publish(with_id("kept.b", 2, "x")).await;
    assert!(!a.duplicate && !b.duplicate);
    assert_ne!(a.position, b.position);
}

pub async fn an_id_without_history_is_not_remembered(relay: &impl RelayUnderTest) {
    let mut world = relay.start(setup()).await;
    for gateway in &world.gateways {
        gateway.relay.join(&channel("passing")).await.unwrap();
    }
    for number in [1, 2] {
        let published = world.publish(with_id("passing", number, "x")).await;
        assert!(!published.duplicate);
        assert_eq!(published.position, None);
    }
    let arrived = world.gateways[0].next(0, 2).await;
    assert_eq!(numbers(&arrived), [1, 2]);
    assert!(arrived.iter().all(|publication| publication.position.is_none()));
}

pub async fn not_stored_is_delivered_and_not_kept(relay: &impl RelayUnderTest) {
    let mut world = relay.start(setup()).await;
    for gateway in &world.gateways {
        gateway.relay.join(&channel("kept.a")).await.unwrap();
    }
    let before = world.relay().head();
    world.publish(numbered("kept.a", 1)).await;
    let passing = NewPublication { store: false, ..with_id("kept.a", 2, "x") };
    let published = world.publish(passing.clone()).await;
    assert_eq!(published.position, None);
    assert!(!world.publish(passing).await.duplicate);
    let last = world.publish(numbered("kept.a", 3)).await.position.unwrap();

    let mut arrived = numbers(&world.gateways[0].next(0, 4).await);
    // What is not stored takes another way, which may be the faster one.
    arrived.sort_unstable();
    assert_eq!(arrived, [1, 2, 2, 3]);
    let head = world.head_at(last).await;
    let replayed = world.resume(before, &["kept.a"], head).await;
    assert_eq!(replayed.lost, [], "what was not to be kept is no loss");
    assert_eq!(numbers(&replayed.publications), [1, 3]);
}

pub async fn fields_arrive_as_published(relay: &impl RelayUnderTest) {
    let mut world = relay.start(setup()).await;
    for gateway in &world.gateways {
        gateway.relay.join(&channel("passing é")).await.unwrap();
    }
    for name in ["kept.a", "passing é"] {
        let publication = NewPublication {
            event: "greeting".into(),
            args: [
                Value::Json(Bytes::from_static(b"{\"b\": 1.0,\"a\":null}")),
                Value::Binary(Bytes::from_static(b"\x00\xff")),
            ]
            .into_iter()
            .collect(),
            spread: true,
            except: vec!["socket".into()],
            ..numbered(name, 0)
        };
        let args = publication.args.clone();
        let published = world.publish(publication).await;
        for shard in [0, 1] {
            let arrived = world.gateways[0].next(shard, 1).await.remove(0);
            assert_eq!(arrived.channel, channel(name));
            assert_eq!(&*arrived.event, "greeting");
            assert_eq!(arrived.args, args);
            assert!(arrived.spread);
            assert_eq!(arrived.except, [Box::<str>::from("socket")]);
            assert_eq!(arrived.id, None);
            assert_eq!(arrived.position, published.position);
            assert!(arrived.position.is_none_or(|position| position.time == arrived.time));
        }
    }
}

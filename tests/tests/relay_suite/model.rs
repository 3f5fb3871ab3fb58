//! Random histories against a simple model.
//!
//! The model keeps all that was ever published. A resume must bring exactly
//! what follows its place, or say that it can't; and it must not say so
//! while the place is within what the rule promises.

use std::collections::HashMap;
use std::time::Duration;

use gateway::offset::Position;
use gateway::publication::NewPublication;
use gateway::relay::Replay;
use gateway_config::ChannelRule;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tests::relay::{RelayUnderTest, Setup, World, channel, keep, keep_nothing, number, numbered};

/// Channels, each with its rule's number of publications and seconds.
const CHANNELS: [(&str, usize, u64); 4] =
    [("three", 3, 4), ("seven", 7, 2), ("rare", 2, 3), ("much", 1_000, 6)];

#[derive(Clone, Debug)]
enum Step {
    Publish { channel: usize, id: Option<u8>, ttl: Option<u64>, store: bool },
    Pass { millis: u64 },
    Resume { channels: Vec<(usize, prop::sample::Index)>, from: prop::sample::Index },
}

struct Known {
    channel: usize,
    number: u64,
    position: Position,
    expires: u64,
}

/// All that was published, and every place that a client may hold.
struct Model {
    publications: Vec<Known>,
    places: Vec<Position>,
    ids: HashMap<(usize, u8), Position>,
    next: u64,
}

fn rules() -> Vec<ChannelRule> {
    let mut rules: Vec<_> =
        CHANNELS.iter().map(|(name, most, seconds)| keep(name, *most, *seconds)).collect();
    rules.push(keep_nothing(">"));
    rules
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channel = prop_oneof![6 => Just(0_usize), 6 => Just(1), 1 => Just(2), 4 => Just(3)];
    let publish = (
        channel,
        prop::option::weighted(0.2, 0..20_u8),
        prop::option::weighted(0.2, 1_000..3_000_u64),
        prop::bool::weighted(0.95),
    )
        .prop_map(|(channel, id, ttl, store)| Step::Publish { channel, id, ttl, store });
    let pass = (1..2_500_u64).prop_map(|millis| Step::Pass { millis });
    let channels = vec((0..CHANNELS.len(), any::<prop::sample::Index>()), 1..6);
    let resume = (channels, any::<prop::sample::Index>())
        .prop_map(|(channels, from)| Step::Resume { channels, from });
    vec(prop_oneof![8 => publish, 2 => pass, 4 => resume], 1..80)
}

pub fn random_histories(relay: &impl RelayUnderTest) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: relay.cases(), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let world = relay.start(Setup::new(rules())).await;
            let start = world.relay().head();
            let mut model = Model {
                publications: Vec::new(),
                places: vec![start],
                ids: HashMap::new(),
                next: 0,
            };
            for step in steps {
                model.step(&world, step).await?;
            }
            Ok(())
        })
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

// === impl Model ===

impl Model {
    async fn step(&mut self, world: &World, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { channel, id, ttl, store } => {
                self.publish(world, channel, id, ttl, store).await
            }
            Step::Pass { millis } => {
                world.time.pass(Duration::from_millis(millis)).await;
                Ok(())
            }
            Step::Resume { channels, from } => self.resume(world, &channels, from).await,
        }
    }

    async fn publish(
        &mut self,
        world: &World,
        channel: usize,
        id: Option<u8>,
        ttl: Option<u64>,
        store: bool,
    ) -> Result<(), TestCaseError> {
        self.next += 1;
        let publication = NewPublication {
            id: id.map(|id| id.to_string().into()),
            ttl,
            store,
            ..numbered(CHANNELS[channel].0, self.next)
        };
        let published = world.publish(publication).await;
        let first = id.and_then(|id| self.ids.get(&(channel, id)).copied());
        let Some(position) = published.position else {
            prop_assert!(!store);
            return Ok(());
        };
        prop_assert!(store);
        // No history is as long as the duplicate window.
        prop_assert_eq!(published.duplicate, first.is_some());
        if let Some(first) = first {
            prop_assert_eq!(position, first);
            return Ok(());
        }
        let last = *self.places.last().unwrap();
        prop_assert!(position.sequence > last.sequence && position.time >= last.time);
        if let Some(id) = id {
            self.ids.insert((channel, id), position);
        }
        let expires = ttl.map_or(u64::MAX, |ttl| position.time + ttl);
        self.publications.push(Known { channel, number: self.next, position, expires });
        self.places.push(position);
        Ok(())
    }

    async fn resume(
        &self,
        world: &World,
        channels: &[(usize, prop::sample::Index)],
        from: prop::sample::Index,
    ) -> Result<(), TestCaseError> {
        let head = world.head_at(*self.places.last().unwrap()).await;
        let from = *from.get(&self.places);
        let mut places: HashMap<usize, Position> = HashMap::new();
        for (channel, place) in channels {
            places.insert(*channel, *place.get(&self.places));
        }
        let asked = places.iter().map(|(c, place)| (channel(CHANNELS[*c].0), place.sequence));
        let request = Replay { from, channels: asked.collect(), until: head, last: None };
        let replayed = world.replay(request).await;
        let (now, slack) = (world.time.now(), world.time.slack());

        let order: Vec<u64> =
            replayed.publications.iter().map(|p| p.position.unwrap().sequence).collect();
        prop_assert!(order.is_sorted_by(|a, b| a < b), "{:?}", order);
        for (channel_index, place) in places {
            let (name, most, seconds) = CHANNELS[channel_index];
            let got: Vec<u64> = replayed
                .publications
                .iter()
                .filter(|p| p.channel == channel(name))
                .map(|p| number(p))
                .collect();
            let owed: Vec<&Known> = self
                .publications
                .iter()
                .filter(|known| known.channel == channel_index)
                .filter(|known| known.position.sequence > place.sequence)
                .collect();
            if replayed.lost.contains(&channel(name)) {
                prop_assert!(got.is_empty());
                // Only the position carries its time; how old another place
                // is, a relay may know to the second.
                let unsure = if place.sequence < from.sequence { 1_000 } else { 0 };
                let age = now - place.time.min(from.time) + unsure + slack;
                let promised = owed.len() < most && age <= seconds * 1_000;
                prop_assert!(!promised, "{} lost at {:?}, now {}", name, place, now);
                continue;
            }
            let mut got = got.into_iter().peekable();
            for known in owed {
                let arrived = got.next_if_eq(&known.number).is_some();
                let gone = known.expires <= now + slack;
                prop_assert!(arrived || gone, "{} lacks {}", name, known.number);
                prop_assert!(!arrived || now < known.expires.saturating_add(slack), "expired");
            }
            prop_assert!(got.peek().is_none(), "{} has one too many", name);
        }
        Ok(())
    }
}

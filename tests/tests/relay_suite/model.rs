//! Random histories against a simple model.
//!
//! The model keeps all that was ever published. A resume must bring exactly
//! what follows its place, or say that it can't; and it must not say so
//! while the place is within what the rule promises. What gateways bring
//! live is held against it too, while they die, connections break, feeds and
//! replicas fail, and publications are refused and deleted.

use std::collections::HashMap;
use std::time::Duration;

use gateway::offset::Position;
use gateway::publication::NewPublication;
use gateway::relay::{Replay, Replayed};
use gateway_config::ChannelRule;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tests::relay::{
    Gateway, RelayUnderTest, Setup, World, channel, keep, keep_nothing, number, numbered, patiently,
};

#[path = "live.rs"]
mod live;

use live::Live;

/// Channels, each with its rule's number of publications and seconds.
const CHANNELS: [(&str, usize, u64); 4] =
    [("three", 3, 4), ("seven", 7, 2), ("rare", 2, 3), ("much", 1_000, 6)];

#[derive(Clone, Debug)]
enum Step {
    Publish { channel: usize, id: Option<u8>, ttl: Option<u64>, store: bool },
    Pass { millis: u64 },
    Resume { channels: Vec<(usize, prop::sample::Index)>, from: prop::sample::Index },
    Fault(Fault),
}

/// What goes wrong, where it can.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A gateway dies; a new one takes its clients.
    Kill { gateway: prop::sample::Index },
    /// A connection to NATS breaks.
    Cut { gateway: prop::sample::Index },
    /// The second gateway's feed is lost for some publications, of which one
    /// may be deleted before it is filled.
    Hole { channel: usize, count: usize, delete: bool },
    /// Replicas are behind from now on, or no more.
    Stale { on: bool },
    /// A stored publication is deleted.
    Delete { which: prop::sample::Index },
    /// The server refuses an app's publication.
    Refuse { channel: usize },
}

struct Known {
    channel: usize,
    number: u64,
    position: Position,
    expires: u64,
    /// From the stream, by hand: who has it brings it, who hasn't doesn't.
    deleted: bool,
}

/// All that was published, and every place that a client may hold.
struct Model {
    publications: Vec<Known>,
    places: Vec<Position>,
    ids: HashMap<(usize, u8), Position>,
    next: u64,
    /// A client at each gateway, that is subscribed to everything.
    lives: Vec<Live>,
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
    let fault = prop_oneof![
        2 => any::<prop::sample::Index>().prop_map(|gateway| Fault::Kill { gateway }),
        2 => any::<prop::sample::Index>().prop_map(|gateway| Fault::Cut { gateway }),
        3 => (0..CHANNELS.len(), 1..5_usize, any::<bool>())
            .prop_map(|(channel, count, delete)| Fault::Hole { channel, count, delete }),
        3 => prop::bool::weighted(0.7).prop_map(|on| Fault::Stale { on }),
        2 => any::<prop::sample::Index>().prop_map(|which| Fault::Delete { which }),
        1 => (0..CHANNELS.len()).prop_map(|channel| Fault::Refuse { channel }),
    ];
    let fault = fault.prop_map(Step::Fault);
    vec(prop_oneof![8 => publish, 2 => pass, 4 => resume, 3 => fault], 1..80)
}

pub fn random_histories(relay: &impl RelayUnderTest) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: relay.cases(), failure_persistence: None, ..Config::default() };
    // Each try has a server of its own.
    let max_shrink_iters = if relay.cases() < 100 { 24 } else { 4_096 };
    let config = Config { max_shrink_iters, ..config };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let setup = Setup { faults: true, ..Setup::new(rules()) };
            let mut world = relay.start(setup).await;
            let start = world.relay().head();
            let mut model = Model {
                publications: Vec::new(),
                places: vec![start],
                ids: HashMap::new(),
                next: 0,
                lives: world.gateways.iter().map(|_| Live::new(start)).collect(),
            };
            for step in steps {
                model.step(&mut world, step).await?;
            }
            model.end(&mut world).await?;
            if let Some(faults) = &world.faults {
                println!("{}", faults.counts());
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
    async fn step(&mut self, world: &mut World, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { channel, id, ttl, store } => {
                self.publish(world, channel, id, ttl, store).await
            }
            Step::Pass { millis } => {
                world.time.pass(Duration::from_millis(millis)).await;
                Ok(())
            }
            Step::Resume { channels, from } => self.resume(world, &channels, from).await,
            Step::Fault(fault) => self.fault(world, fault).await,
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
        // Where connections break it may be published again.
        let unique = world.faults.as_ref().map(|_| format!("once-{}", self.next));
        let publication = NewPublication {
            id: id.map(|id| id.to_string()).or(unique).map(Into::into),
            ttl,
            store,
            ..numbered(CHANNELS[channel].0, self.next)
        };
        let mut tries = 0;
        let published = patiently("a publish", async {
            loop {
                tries += 1;
                match world.relay().publish(publication.clone()).await {
                    Ok(published) => return published,
                    Err(error) => assert!(world.faults.is_some(), "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let first = id.and_then(|id| self.ids.get(&(channel, id)).copied());
        let Some(position) = published.position else {
            prop_assert!(!store);
            return Ok(());
        };
        prop_assert!(store);
        // No history is as long as the duplicate window.
        prop_assert!(published.duplicate == first.is_some() || tries > 1);
        if let Some(first) = first {
            prop_assert_eq!(position.sequence, first.sequence);
            // The time of one that is gone isn't known any more.
            prop_assert!(position.time == first.time || position.time == 0);
            return Ok(());
        }
        let last = *self.places.last().unwrap();
        prop_assert!(position.sequence > last.sequence && position.time >= last.time);
        if let Some(id) = id {
            self.ids.insert((channel, id), position);
        }
        let expires = ttl.map_or(u64::MAX, |ttl| position.time + ttl);
        let number = self.next;
        let known = Known { channel, number, position, expires, deleted: false };
        self.publications.push(known);
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
        for gateway in &world.gateways {
            let replayed = replay(gateway, from, &places, head).await;
            self.check(world, from, &places, &replayed)?;
        }
        Ok(())
    }

    /// Whether a replay brought what it had to.
    fn check(
        &self,
        world: &World,
        from: Position,
        places: &HashMap<usize, Position>,
        replayed: &Replayed,
    ) -> Result<(), TestCaseError> {
        let (now, slack) = (world.time.now(), world.time.slack());
        let order: Vec<u64> =
            replayed.publications.iter().map(|p| p.position.unwrap().sequence).collect();
        prop_assert!(order.is_sorted_by(|a, b| a < b), "{:?}", order);
        for (&channel_index, place) in places {
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
                // Of a place that isn't there any more the age isn't known.
                let known = !self
                    .publications
                    .iter()
                    .any(|known| known.deleted && known.position.sequence == place.sequence);
                let promised = owed.len() < most && age <= seconds * 1_000 && known;
                prop_assert!(!promised, "{} lost at {:?}, now {}", name, place, now);
                continue;
            }
            let mut got = got.into_iter().peekable();
            for known in owed {
                let arrived = got.next_if_eq(&known.number).is_some();
                let gone = known.expires <= now + slack || known.deleted;
                prop_assert!(arrived || gone, "{} lacks {}", name, known.number);
                prop_assert!(!arrived || now < known.expires.saturating_add(slack), "expired");
            }
            prop_assert!(got.peek().is_none(), "{} has one too many", name);
        }
        Ok(())
    }
}

/// What a gateway has of these channels, each after its place. Its connection
/// may be on its way back.
async fn replay(
    gateway: &Gateway,
    from: Position,
    places: &HashMap<usize, Position>,
    until: Position,
) -> Replayed {
    let asked = places.iter().map(|(c, place)| (channel(CHANNELS[*c].0), place.sequence));
    let request = Replay { from, channels: asked.collect(), until, last: None };
    let mut errors = Vec::new();
    let replayed = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match gateway.relay.replay(request.clone()).await {
                Ok(replayed) => return replayed,
                Err(error) => errors.push(error),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let replayed = replayed.await;
    replayed.unwrap_or_else(|_| panic!("no replay: {} times {:?}", errors.len(), errors.last()))
}

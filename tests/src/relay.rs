//! A relay with its feeds, whichever relay it is.
//!
//! The suite in `tests/relay_suite.rs` speaks to [`RelayUnderTest`] only, so
//! that every relay is held to the same promises.

// A harness fails the test that it serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway::channel::Channel;
use gateway::metrics::Metrics;
use gateway::offset::Position;
use gateway::publication::{NewPublication, Publication, Published, Value};
use gateway::relay::embedded::{Clock, EmbeddedOptions, EmbeddedRelay};
use gateway::relay::{Fanout, FeedItem, Relay, Replay, Replayed};
use gateway::rules::{Rules, SharedRules};
use gateway_config::{ChannelRule, History, Pattern, Period};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// How long something that must happen may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A future that a test awaits.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A relay that the suite can be run against.
pub trait RelayUnderTest: Sync {
    /// A cluster that nobody has used before.
    fn start(&self, setup: Setup) -> Pending<'_, World>;

    /// How many random histories it is tried with.
    fn cases(&self) -> u32;
}

/// What a cluster is started with.
#[derive(Clone)]
pub struct Setup {
    /// Channel rules.
    pub rules: Vec<ChannelRule>,
    /// Shards of each gateway.
    pub shards: usize,
    /// Items that one shard's queue holds.
    pub queue: usize,
    /// How long a session's record outlives its connection.
    pub max_disconnection: Period,
    /// Silence after which a gateway ticks; its own choice unless given.
    pub tick: Option<Duration>,
    /// Whether the relay's surroundings can fail; see [`Faults`].
    pub faults: bool,
    /// Bytes that history may take; more than a test publishes unless given.
    pub history_bytes: Option<usize>,
}

/// A cluster: one gateway or more, that share their channels and sessions.
pub struct World {
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The rules of all of them.
    pub rules: SharedRules,
    /// The time by which the relay measures age.
    pub time: Arc<dyn Time>,
    /// What can fail around it, if anything can.
    pub faults: Option<Arc<dyn Faults>>,
}

/// What can fail around a relay.
pub trait Faults: Send + Sync {
    /// A gateway dies, and another one starts in its place.
    fn kill(&self, gateway: usize) -> Pending<'_, Gateway>;

    /// A gateway's connection breaks.
    fn cut(&self, gateway: usize);

    /// Whether a gateway's feed is lost on its way.
    fn set_deaf(&self, gateway: usize, deaf: bool);

    /// Whether gateways read from a replica that is behind.
    fn set_stale(&self, stale: bool);

    /// A stored publication is deleted from the stream.
    fn delete(&self, sequence: u64) -> Pending<'_, ()>;

    /// An app publishes what the server refuses to store.
    fn refuse(&self, channel: &str) -> Pending<'_, ()>;

    /// How often it failed, in words.
    fn counts(&self) -> String;
}

/// One gateway's relay, and what it feeds to the gateway's shards.
pub struct Gateway {
    /// The relay.
    pub relay: Arc<dyn Relay>,
    /// One for each shard.
    pub feeds: Vec<Receiver<FeedItem>>,
    /// What fills them, and how far it is.
    pub fanout: Fanout,
}

/// Time that a test can let pass.
pub trait Time: Send + Sync {
    /// Milliseconds since 1970.
    fn now(&self) -> u64;

    /// Lets time pass: a manual clock moves, a real one is waited for.
    fn pass(&self, period: Duration) -> Pending<'_, ()>;

    /// By how many milliseconds the relay's view of time may differ.
    fn slack(&self) -> u64;
}

/// The embedded relay: one gateway, a manual clock.
pub struct Embedded;

mod jetstream;

pub use jetstream::{JetStream, join_cluster};

#[derive(Clone)]
struct ManualTime(Arc<AtomicU64>);

// === impl Setup ===

impl Setup {
    /// Rules, with two shards that read nothing until they are asked to, and
    /// queues that hold all that a short test publishes.
    pub fn new(rules: Vec<ChannelRule>) -> Self {
        Self {
            rules,
            shards: 2,
            queue: 4096,
            max_disconnection: Period::from_secs(2),
            // The suite counts sequences; it has tests of its own for ticks.
            tick: Some(Duration::from_mins(10)),
            faults: false,
            history_bytes: None,
        }
    }
}

/// A rule that keeps some publications for some seconds.
pub fn keep(pattern: &str, max_messages: usize, seconds: u64) -> ChannelRule {
    let history = History { max_messages, max_age: Period::from_secs(seconds) };
    ChannelRule { history: Some(history), ..keep_nothing(pattern) }
}

/// A rule without history.
pub fn keep_nothing(pattern: &str) -> ChannelRule {
    ChannelRule {
        matches: Pattern::new(pattern).unwrap(),
        history: None,
        client_publish: None,
        anonymous: None,
        slow_consumer: gateway_config::SlowConsumer::default(),
        max_payload: None,
    }
}

/// A channel.
pub fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

/// A publication that carries a number.
pub fn numbered(name: &str, number: u64) -> NewPublication {
    NewPublication::new(channel(name), "numbered", Value::json(&number))
}

/// The number that a publication carries.
pub fn number(publication: &Publication) -> u64 {
    match &publication.args[0] {
        Value::Json(text) => serde_json::from_slice(text).unwrap(),
        Value::Binary(_) => panic!("not a number"),
    }
}

/// The numbers that publications carry.
pub fn numbers<'a>(publications: impl IntoIterator<Item = &'a Arc<Publication>>) -> Vec<u64> {
    publications.into_iter().map(|publication| number(publication)).collect()
}

/// Awaits what must happen; fails the test if it doesn't.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited {PATIENCE:?} in vain for {what}");
    };
    value
}

// === impl World ===

impl World {
    /// The first gateway's relay.
    pub fn relay(&self) -> &dyn Relay {
        &*self.gateways[0].relay
    }

    /// Publishes at the first gateway.
    pub async fn publish(&self, publication: NewPublication) -> Published {
        patiently("a publish", self.relay().publish(publication)).await.unwrap()
    }

    /// Publishes numbers to a history channel, in order; their positions.
    pub async fn publish_all(
        &self,
        name: &str,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Vec<Position> {
        let mut positions = Vec::new();
        for number in numbers {
            let published = self.publish(numbered(name, number)).await;
            positions.push(published.position.unwrap());
        }
        positions
    }

    /// The head, once every gateway knows of a position.
    pub async fn head_at(&self, position: Position) -> Position {
        let reached = async {
            let behind = |gateway: &Gateway| gateway.relay.head().sequence < position.sequence;
            while self.gateways.iter().any(behind) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        patiently("the head", reached).await;
        self.relay().head()
    }

    /// What a client at a position gets of some channels, up to another.
    pub async fn resume(&self, from: Position, names: &[&str], until: Position) -> Replayed {
        let channels = names.iter().map(|name| (channel(name), from.sequence)).collect();
        self.replay(Replay { from, channels, until, last: None }).await
    }

    /// A replay, which every gateway must answer alike.
    pub async fn replay(&self, request: Replay) -> Replayed {
        let mut answers = Vec::new();
        for gateway in &self.gateways {
            let replay = gateway.relay.replay(request.clone());
            answers.push(patiently("a replay", replay).await.unwrap());
        }
        let first = answers.remove(0);
        for other in answers {
            // Which ones, not in which order.
            let sorted = |replayed: &Replayed| {
                let mut lost = replayed.lost.clone();
                lost.sort();
                lost
            };
            assert_eq!(sorted(&other), sorted(&first));
            assert_eq!(numbers(&other.publications), numbers(&first.publications));
        }
        first
    }

    /// Makes other rules hold.
    pub fn set_rules(&self, rules: Vec<ChannelRule>) {
        let before = self.rules.load();
        let rules = Rules::new(rules, 1_000_000)
            .with_history_bytes(before.history_bytes())
            .with_generation(before.generation() + 1);
        self.rules.store(Arc::new(rules));
    }

    /// Lets time pass.
    pub async fn pass(&self, seconds: u64) {
        self.time.pass(Duration::from_secs(seconds)).await;
    }
}

// === impl Gateway ===

impl Gateway {
    /// The next publications that a shard gets, so many.
    pub async fn next(&mut self, shard: usize, count: usize) -> Vec<Arc<Publication>> {
        let feed = &mut self.feeds[shard];
        let mut publications = Vec::new();
        let all = async {
            while publications.len() < count {
                match feed.recv().await {
                    Some(FeedItem::Publication(publication)) => publications.push(publication),
                    Some(_) => {}
                    None => panic!("the relay has left"),
                }
            }
        };
        patiently("publications in the feed", all).await;
        publications
    }
}

// === impl Embedded ===

impl RelayUnderTest for Embedded {
    fn start(&self, setup: Setup) -> Pending<'_, World> {
        let queues = (0..setup.shards).map(|_| mpsc::channel(setup.queue));
        let (senders, feeds): (Vec<Sender<FeedItem>>, _) = queues.unzip();
        let rules =
            Rules::new(setup.rules, 1_000_000).with_history_bytes(setup.history_bytes).shared();
        let time = ManualTime(Arc::new(AtomicU64::new(1_700_000_000_000)));
        let clock = time.clone();
        let fanout = Fanout::unasked(senders);
        let relay = EmbeddedRelay::new(EmbeddedOptions {
            rules: Arc::clone(&rules),
            fanout: fanout.clone(),
            max_disconnection: Some(setup.max_disconnection),
            metrics: Metrics::default(),
            clock: Clock::new(move || clock.now()),
        });
        let swept = Arc::clone(&relay);
        let gateway = Gateway { relay, feeds, fanout };
        let time = SweptTime { time, relay: swept };
        Box::pin(async move {
            World { gateways: vec![gateway], rules, time: Arc::new(time), faults: None }
        })
    }

    fn cases(&self) -> u32 {
        256
    }
}

/// A manual clock whose relay gives its memory back whenever time passes, as
/// it does by itself in the long run.
struct SweptTime {
    time: ManualTime,
    relay: Arc<EmbeddedRelay>,
}

// === impl SweptTime ===

impl Time for SweptTime {
    fn now(&self) -> u64 {
        self.time.now()
    }

    fn pass(&self, period: Duration) -> Pending<'_, ()> {
        let passed = u64::try_from(period.as_millis()).unwrap();
        self.time.0.fetch_add(passed, Ordering::Relaxed);
        self.relay.sweep();
        Box::pin(std::future::ready(()))
    }

    fn slack(&self) -> u64 {
        0
    }
}

// === impl ManualTime ===

impl ManualTime {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

//! The relay over NATS: two gateways, a server of their own, time that jumps.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use gateway::metrics::Metrics;
use gateway::relay::embedded::Clock;
use gateway::relay::jetstream::{JetStreamOptions, JetStreamRelay};
use gateway::relay::{Fanout, Relay};
use gateway::rules::{Rules, SharedRules};
use gateway_config::Relay as RelayConfig;
use tokio::sync::mpsc::{self, Sender};

use super::{Gateway, Pending, RelayUnderTest, Setup, Time, World};
use crate::nats::Nats;

/// Gateways of a cluster.
const GATEWAYS: usize = 2;

/// The relay over NATS.
pub struct JetStream;

/// The machine's clock, which jumps when time is to pass. The server's goes
/// on; so that an age is the same for both, the gateways are told of every
/// time of the server's what this clock showed then.
#[derive(Clone, Default)]
pub struct JumpingTime {
    /// When it jumped, by the machine's clock, and how far.
    jumps: Arc<Mutex<Vec<(u64, u64)>>>,
}

/// Time, with what must live as long.
struct WorldTime {
    time: JumpingTime,
    relays: Vec<Arc<JetStreamRelay>>,
    _nats: Nats,
}

/// Starts a gateway's relay, and its work.
pub async fn join_cluster(
    config: &RelayConfig,
    rules: &SharedRules,
    setup: &Setup,
    clock: Clock,
    metrics: Metrics,
) -> (Arc<JetStreamRelay>, Gateway) {
    let queues = (0..setup.shards).map(|_| mpsc::channel(setup.queue));
    let (senders, feeds): (Vec<Sender<_>>, _) = queues.unzip();
    let fanout = Fanout::new(senders);
    let name = format!("g{}", RandomName::next());
    let begin = Instant::now();
    let relay = loop {
        let options = JetStreamOptions {
            config: config.clone(),
            rules: Arc::clone(rules),
            fanout: fanout.clone(),
            max_disconnection: Some(setup.max_disconnection),
            metrics: metrics.clone(),
            clock: clock.clone(),
            name: name.clone(),
            tick: setup.tick,
        };
        match JetStreamRelay::connect(options).await {
            Ok(relay) => break relay,
            // As a gateway does: a cluster that has just started may not
            // answer yet.
            Err(error) if error.passes() && begin.elapsed() < super::PATIENCE => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let working = Arc::clone(&relay);
    tokio::spawn(async move { Box::pin(working.run(std::future::pending())).await });
    let gateway = Gateway { relay: Arc::clone(&relay) as Arc<dyn Relay>, feeds };
    (relay, gateway)
}

/// Numbers that name gateways.
struct RandomName;

// === impl JetStream ===

impl RelayUnderTest for JetStream {
    fn start(&self, setup: Setup) -> Pending<'_, World> {
        Box::pin(async move {
            let nats = tokio::task::spawn_blocking(Nats::single).await.unwrap();
            let rules = Rules::new(setup.rules.clone(), 1_000_000).shared();
            let config = RelayConfig { url: nats.url(), ..RelayConfig::default() };
            let time = JumpingTime::default();
            let (mut relays, mut gateways) = (Vec::new(), Vec::new());
            for _ in 0..GATEWAYS {
                let (relay, gateway) =
                    join_cluster(&config, &rules, &setup, time.clock(), Metrics::default()).await;
                relays.push(relay);
                gateways.push(gateway);
            }
            let time = Arc::new(WorldTime { time, relays, _nats: nats });
            World { gateways, rules, time }
        })
    }

    fn cases(&self) -> u32 {
        // Each has a server of its own.
        12
    }
}

// === impl JumpingTime ===

impl JumpingTime {
    /// A gateway's clock that shows it.
    pub fn clock(&self) -> Clock {
        let (now, stored) = (self.clone(), self.clone());
        Clock::new(move || now.shown(machine())).with_others(move |time| stored.shown(time))
    }

    fn shown(&self, machine: u64) -> u64 {
        let jumps = self.jumps.lock().unwrap();
        let jumped: u64 = jumps.iter().filter(|(at, _)| *at <= machine).map(|(_, by)| by).sum();
        machine + jumped
    }
}

fn machine() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

// === impl WorldTime ===

impl Time for WorldTime {
    fn now(&self) -> u64 {
        self.time.shown(machine())
    }

    fn pass(&self, period: Duration) -> Pending<'_, ()> {
        Box::pin(async move {
            for relay in &self.relays {
                relay.settle().await;
            }
            // What happened before and after are not of one millisecond.
            tokio::time::sleep(Duration::from_millis(2)).await;
            let by = u64::try_from(period.as_millis()).unwrap();
            self.time.jumps.lock().unwrap().push((machine(), by));
            tokio::time::sleep(Duration::from_millis(2)).await;
            for relay in &self.relays {
                relay.settle().await;
            }
        })
    }

    fn slack(&self) -> u64 {
        // TTLs are whole seconds in the stream.
        1_100
    }
}

// === impl RandomName ===

impl RandomName {
    fn next() -> u64 {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

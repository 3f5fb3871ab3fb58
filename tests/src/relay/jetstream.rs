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
use tokio::task::AbortHandle;

use super::{Faults, Gateway, Pending, RelayUnderTest, Setup, Time, World};
use crate::nats::{Door, Nats};

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
    cluster: Arc<Cluster>,
}

/// Gateways of one server, through a door each.
struct Cluster {
    nats: Nats,
    doors: Vec<Door>,
    rules: SharedRules,
    setup: Setup,
    time: JumpingTime,
    gateways: Mutex<Vec<Working>>,
    app: async_nats::Client,
}

/// A relay, and its work.
struct Working {
    relay: Arc<JetStreamRelay>,
    work: AbortHandle,
}

/// Starts a gateway's relay, and its work.
pub async fn join_cluster(
    config: &RelayConfig,
    rules: &SharedRules,
    setup: &Setup,
    clock: Clock,
    metrics: Metrics,
) -> (Arc<JetStreamRelay>, Gateway) {
    let (working, gateway) = start_gateway(config, rules, setup, clock, metrics).await;
    (working.relay, gateway)
}

async fn start_gateway(
    config: &RelayConfig,
    rules: &SharedRules,
    setup: &Setup,
    clock: Clock,
    metrics: Metrics,
) -> (Working, Gateway) {
    let queues = (0..setup.shards).map(|_| mpsc::channel(setup.queue));
    let (senders, feeds): (Vec<Sender<_>>, _) = queues.unzip();
    let fanout = Fanout::unasked(senders);
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
    let work = tokio::spawn(async move { Box::pin(working.run(std::future::pending())).await });
    let relay_too = Arc::clone(&relay) as Arc<dyn Relay>;
    let gateway = Gateway { relay: relay_too, feeds, fanout };
    (Working { relay, work: work.abort_handle() }, gateway)
}

/// Numbers that name gateways.
struct RandomName;

// === impl JetStream ===

impl RelayUnderTest for JetStream {
    fn start(&self, setup: Setup) -> Pending<'_, World> {
        Box::pin(async move {
            let nats = tokio::task::spawn_blocking(Nats::single).await.unwrap();
            let rules = Rules::new(setup.rules.clone(), 1_000_000)
                .with_history_bytes(setup.history_bytes)
                .shared();
            let app = async_nats::connect(nats.url()).await.unwrap();
            let mut doors = Vec::new();
            if setup.faults {
                for _ in 0..GATEWAYS {
                    doors.push(Door::open(nats.port_of(0)).await);
                }
            }
            let time = JumpingTime::default();
            let cluster = Arc::new(Cluster {
                nats,
                doors,
                rules: Arc::clone(&rules),
                setup,
                time: time.clone(),
                gateways: Mutex::default(),
                app,
            });
            let mut gateways = Vec::new();
            for index in 0..GATEWAYS {
                let (working, gateway) = cluster.start(index).await;
                cluster.lock().push(working);
                gateways.push(gateway);
            }
            let time = Arc::new(WorldTime { time, cluster: Arc::clone(&cluster) });
            let can_fail = cluster.setup.faults;
            let faults = can_fail.then_some(cluster as Arc<dyn Faults>);
            World { gateways, rules, time, faults }
        })
    }

    fn cases(&self) -> u32 {
        // Each has a server of its own.
        12
    }
}

// === impl Cluster ===

impl Cluster {
    async fn start(&self, index: usize) -> (Working, Gateway) {
        let url = self.doors.get(index).map_or_else(|| self.nats.url(), Door::url);
        let config = RelayConfig { url, ..RelayConfig::default() };
        let (clock, metrics) = (self.time.clock(), Metrics::default());
        start_gateway(&config, &self.rules, &self.setup, clock, metrics).await
    }

    fn relays(&self) -> Vec<Arc<JetStreamRelay>> {
        self.lock().iter().map(|working| working.relay.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Working>> {
        self.gateways.lock().unwrap()
    }
}

impl Faults for Cluster {
    fn kill(&self, gateway: usize) -> Pending<'_, Gateway> {
        Box::pin(async move {
            // Nothing that it holds is written or said any more.
            self.lock()[gateway].work.abort();
            self.doors[gateway].cut();
            let (working, gateway_there) = self.start(gateway).await;
            self.lock()[gateway] = working;
            gateway_there
        })
    }

    fn cut(&self, gateway: usize) {
        self.doors[gateway].cut();
    }

    fn set_deaf(&self, gateway: usize, deaf: bool) {
        self.doors[gateway].set_deaf(deaf);
    }

    fn set_stale(&self, stale: bool) {
        for door in &self.doors {
            door.set_stale(stale);
        }
    }

    fn delete(&self, sequence: u64) -> Pending<'_, ()> {
        Box::pin(async move {
            let delete = format!("{{\"seq\":{sequence},\"no_erase\":true}}");
            let call = "$JS.API.STREAM.MSG.DELETE.PUSH_push";
            // It may have gone by itself.
            self.app.request(call, delete.into()).await.unwrap();
        })
    }

    fn refuse(&self, channel: &str) -> Pending<'_, ()> {
        let subject = format!("push.pub.{channel}");
        Box::pin(async move {
            let mut headers = async_nats::HeaderMap::new();
            // It would erase the channel; the stream doesn't allow it.
            headers.insert("Nats-Rollup", "sub");
            let answer = self.app.request_with_headers(subject, headers, "0".into()).await.unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
            assert!(answer["error"].is_object(), "{answer}");
        })
    }

    fn counts(&self) -> String {
        let mut sums = [0; 3];
        for door in &self.doors {
            for (sum, count) in sums.iter_mut().zip(door.counts()) {
                *sum += count;
            }
        }
        let [deaf, stale, cuts] = sums;
        format!("feed messages lost {deaf}, stale answers {stale}, connections cut {cuts}")
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
            for relay in self.cluster.relays() {
                relay.settle().await;
            }
            // What happened before and after are not of one millisecond.
            tokio::time::sleep(Duration::from_millis(2)).await;
            let by = u64::try_from(period.as_millis()).unwrap();
            self.time.jumps.lock().unwrap().push((machine(), by));
            tokio::time::sleep(Duration::from_millis(2)).await;
            for relay in self.cluster.relays() {
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

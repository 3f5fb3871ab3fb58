//! Gateways and NATS servers are killed, stalled and cut off while apps
//! publish; every client must end with exactly the stream's content.
//!
//! # Layout
//!
//! - `scenarios`: what happens when
//! - `world`: the gateways and servers that it happens to
//! - `publishers`: apps that publish meanwhile
//! - `report`: what came of it

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::balancer::Balancer;
use crate::fleet::{Fleet, Plan};

mod publishers;
mod report;
mod scenarios;
mod world;

pub use report::Report;
use world::World;

/// Kinds of clients, in turn.
const KINDS: [&str; 5] = ["default", "polling", "websocket", "plain", "sse"];
/// How long the clients have after the last fault.
const SETTLE: Duration = Duration::from_mins(1);

/// What happens, and to how many.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Clients, of all kinds in turn.
    pub clients: usize,
    /// Channels; each client subscribes to two.
    pub channels: u32,
    /// Publications a second, over all channels.
    pub per_second: u32,
    /// When what happens, after the first publication.
    pub faults: Vec<(Duration, Fault)>,
    /// When publishing ends.
    pub end: Duration,
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL to a gateway.
    KillGateway(usize),
    /// SIGTERM to a gateway; the balancer stops choosing it.
    DrainGateway(usize),
    /// Another one in its place.
    StartGateway(usize),
    /// SIGKILL to a NATS server.
    KillNats(usize),
    /// It is started again, with its store.
    StartNats(usize),
    /// SIGSTOP to a NATS server.
    StallNats(usize),
    /// SIGCONT.
    WakeNats(usize),
    /// The route between two NATS servers is cut.
    Cut(usize, usize),
    /// All routes are whole again.
    Mend,
}

// === impl Scenario ===

impl Scenario {
    /// Runs it; prints what happens.
    ///
    /// # Panics
    ///
    /// When it can't be run at all.
    pub async fn run(&self) -> Report {
        let mut world = World::start().await;
        let clients = Balancer::start(world.clients.clone()).await;
        let fleet = Fleet::start(&clients.url(), &self.plans()).await;
        println!("{} clients are subscribed", self.clients);
        let stop = CancellationToken::new();
        let retries = Arc::new(AtomicU64::new(0));
        let publishers = self.publish(&world, &stop, &retries).await;
        let begin = Instant::now();
        for (at, fault) in &self.faults {
            world.wait_until(begin + *at).await;
            println!("{:>3} s  {fault:?}", begin.elapsed().as_secs());
            world.suffer(*fault).await;
        }
        world.wait_until(begin + self.end).await;
        world.all_started().await;
        stop.cancel();
        for gateway in &mut world.leaving {
            assert_eq!(gateway.ended().await, Some(0), "a drained gateway's end");
        }
        let acknowledged: BTreeMap<String, u64> = publishers.join_all().await.into_iter().collect();
        let stored = world.stored().await;
        let last = stored.iter().filter_map(|(name, all)| Some((name.clone(), *all.last()?)));
        println!("published; the clients have {} s", SETTLE.as_secs());
        let logs = fleet.finish(&last.collect(), SETTLE).await;
        Report::new(&acknowledged, retries.load(Ordering::Relaxed), &stored, logs)
    }

    fn names(&self) -> Vec<String> {
        (0..self.channels).map(|index| format!("kill.{index}")).collect()
    }

    fn plans(&self) -> Vec<Plan> {
        let names = self.names();
        let plan = |index: usize| {
            // Every channel has clients of every kind.
            let round = index / KINDS.len();
            let second = (round + 1 + round / names.len() % (names.len() - 1)) % names.len();
            Plan {
                kind: KINDS[index % KINDS.len()],
                channels: vec![names[round % names.len()].clone(), names[second].clone()],
            }
        };
        (0..self.clients).map(plan).collect()
    }
}

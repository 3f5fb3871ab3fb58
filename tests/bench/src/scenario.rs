//! What is measured. Each scenario starts a server of its own, so that none
//! inherits what another left behind.
//!
//! # Layout
//!
//! - `fanout`: broadcast, rooms, paced, one publish with one subscriber, transports
//! - `idle`: connects, memory and pings of idle clients
//! - `embedded`: the gateway alone: sessions, subscribers, channels
//! - `trouble`: stalled clients, a burst of reconnects

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::contender::Contender;
use crate::load::Load;
use crate::server::{Cpu, Server};

mod embedded;
mod fanout;
mod idle;
mod trouble;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// All clients in one channel, 8 publishes under way: unanswered.
    Broadcast,
    /// The same, 8 publications under way: not delivered to all yet.
    Windowed,
    /// 100 channels with a tenth of a hundredth of the clients each, one
    /// publisher.
    Rooms,
    /// All clients in one channel, 20 publications a second.
    Paced,
    /// One publish after the other to one subscriber.
    Publish,
    /// Many clients that do nothing.
    Idle,
    /// The gateway's transports beside each other.
    Transports,
    /// Sessions that can be recovered, and others.
    Recoverable,
    /// From one subscriber to 9,000.
    Subscribers,
    /// From one channel to 100,000.
    Channels,
    /// Clients that read nothing.
    Stalled,
    /// 5,000 clients come back at once.
    Burst,
}

/// How long and how large.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Clients that get publications.
    pub clients: usize,
    /// Before anything is measured: caches, and compilers that watch.
    pub warm: Duration,
    /// Publishing as fast as possible.
    pub flood: Duration,
    /// Publications at a steady pace.
    pub paced: u64,
    /// Clients that do nothing.
    pub idle: usize,
    /// How long pings are watched.
    pub pings: Duration,
}

/// Figures by name; the name ends in the unit.
pub type Figures = BTreeMap<String, f64>;

/// Figures of one variant of a scenario; most have only one, without a name.
pub type Variants = Vec<(String, Figures)>;

/// A server and its load from one moment on.
struct Watch {
    cpu: Cpu,
    own: Cpu,
    begin: Instant,
    delivered: u64,
}

// === impl Scenario ===

impl Scenario {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 12] = [
        Self::Broadcast,
        Self::Windowed,
        Self::Rooms,
        Self::Paced,
        Self::Publish,
        Self::Idle,
        Self::Transports,
        Self::Recoverable,
        Self::Subscribers,
        Self::Channels,
        Self::Stalled,
        Self::Burst,
    ];

    /// Those of the quick form.
    pub const GUARDED: [Self; 5] =
        [Self::Broadcast, Self::Windowed, Self::Rooms, Self::Paced, Self::Idle];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Windowed => "windowed",
            Self::Rooms => "rooms",
            Self::Paced => "paced",
            Self::Publish => "publish",
            Self::Idle => "idle",
            Self::Transports => "transports",
            Self::Recoverable => "recoverable",
            Self::Subscribers => "subscribers",
            Self::Channels => "channels",
            Self::Stalled => "stalled",
            Self::Burst => "burst",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// Whether all servers do it; the others are the gateway's own.
    pub fn is_for_all(self) -> bool {
        matches!(
            self,
            Self::Broadcast
                | Self::Windowed
                | Self::Rooms
                | Self::Paced
                | Self::Publish
                | Self::Idle
        )
    }

    /// Measures once.
    ///
    /// # Errors
    ///
    /// When the server fails, or refuses clients.
    pub fn run(self, contender: &Contender, effort: &Effort) -> anyhow::Result<Variants> {
        match self {
            Self::Broadcast => one(fanout::broadcast(contender, effort, false)),
            Self::Windowed => one(fanout::broadcast(contender, effort, true)),
            Self::Rooms => one(fanout::rooms(contender, effort)),
            Self::Paced => one(fanout::paced(contender, effort)),
            Self::Publish => one(fanout::publish(contender, effort)),
            Self::Idle => one(idle::idle(contender, effort)),
            Self::Transports => fanout::transports(contender, effort),
            Self::Recoverable => embedded::recoverable(contender, effort),
            Self::Subscribers => embedded::subscribers(contender, effort),
            Self::Channels => embedded::channels(contender, effort),
            Self::Stalled => trouble::stalled(contender, effort),
            Self::Burst => one(trouble::burst(contender, effort)),
        }
    }
}

fn one(figures: anyhow::Result<Figures>) -> anyhow::Result<Variants> {
    Ok(vec![(String::new(), figures?)])
}

// === impl Effort ===

impl Effort {
    /// What the tables in the documentation are made with.
    pub const FULL: Self = Self {
        clients: 1_000,
        warm: Duration::from_secs(2),
        flood: Duration::from_secs(6),
        paced: 200,
        idle: 9_000,
        pings: Duration::from_secs(50),
    };

    /// Two minutes for the floor and the gateway.
    pub const QUICK: Self = Self {
        clients: 1_000,
        warm: Duration::from_millis(500),
        flood: Duration::from_secs(2),
        paced: 60,
        idle: 3_000,
        pings: Duration::ZERO,
    };
}

// === impl Watch ===

impl Watch {
    fn start(server: &Server, load: &mut Load) -> anyhow::Result<Self> {
        load.tally.delays.clear();
        Ok(Self {
            cpu: server.cpu()?,
            own: Cpu::own()?,
            begin: Instant::now(),
            delivered: load.tally.delivered,
        })
    }

    /// CPU for each delivery, deliveries a second, and what was lost.
    #[allow(clippy::cast_precision_loss)] // counts of deliveries
    fn stop(&self, server: &Server, load: &Load) -> anyhow::Result<Figures> {
        let count = load.tally.delivered - self.delivered;
        let took = load.tally.last_delivery().saturating_duration_since(self.begin);
        Ok(figures([
            ("cpu_us", (server.cpu()? - self.cpu).per(count)),
            ("deliveries_per_s", count as f64 / took.as_secs_f64().max(1e-6)),
            ("generator_us", (Cpu::own()? - self.own).per(count)),
            ("lost", load.tally.lost() as f64),
            ("closed", load.tally.closed as f64),
        ]))
    }
}

fn figures<const N: usize>(list: [(&str, f64); N]) -> Figures {
    list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `p50_us`, `p99_us`, `max_us` of what was noted.
fn delays(load: &mut Load) -> Figures {
    let mut at = |thousandths| load.tally.delays.at(thousandths).as_secs_f64() * 1e6;
    figures([("p50_us", at(500)), ("p99_us", at(990)), ("max_us", at(1000))])
}

//! What it costs that many gateways are one service: CPU of the gateways and
//! of nats-server, each apart, from `/proc`. Everything runs on one machine,
//! so times hold for that machine; figures of CPU hold for longer.
//!
//! # Layout
//!
//! - `cpu`: time of processes
//! - `fanout`: deliveries across gateways, with and without history
//! - `passing`: polls forwarded, WebSockets spliced
//! - `channels`: many channels, publications that nobody wants, session records

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Gateway;
use crate::nats::Nats;
use crate::raw::Raw;

mod channels;
mod cpu;
mod fanout;
mod passing;

pub use channels::{many_channels, session_records, unwanted};
pub use cpu::Cpu;
pub use fanout::across;
pub use passing::{forwarded, spliced};

/// Gateways on one nats-server, or one alone.
pub struct World {
    /// Each of them.
    pub gateways: Vec<Gateway>,
    nats: Option<Nats>,
}

/// Clients that count what they get.
pub struct Crowd {
    /// Publications that all of them have seen.
    pub seen: Arc<AtomicU64>,
    /// How long each was under way, in microseconds; see [`Crowd::delays`].
    delays: Arc<std::sync::Mutex<Vec<u64>>>,
    tasks: JoinSet<anyhow::Result<()>>,
    begin: Instant,
}

// === impl World ===

impl World {
    /// So many gateways over NATS; one with the embedded relay for 0.
    ///
    /// # Panics
    ///
    /// When they don't start.
    pub async fn start(gateways: usize, more: &str) -> Self {
        let rules = format!(
            "channels: [{{match: 'kept.>', history: {{maxMessages: 10000, maxAge: 1h}}}}]\n{more}"
        );
        if gateways == 0 {
            return Self { gateways: vec![Gateway::start(&rules)], nats: None };
        }
        let nats = tokio::task::spawn_blocking(Nats::single).await.expect("NATS starts");
        let config = format!(
            "relay: {{url: '{}'}}\n\
             peer: {{secret: a-secret-between-measured-gateways, listen: '127.0.0.1:0'}}\n{rules}",
            nats.url()
        );
        let gateways: Vec<_> = (0..gateways).map(|_| Gateway::start(&config)).collect();
        for gateway in &gateways {
            gateway.ready().await;
        }
        Self { gateways, nats: Some(nats) }
    }

    /// CPU time of all gateways so far.
    pub fn gateways_cpu(&self) -> Cpu {
        Cpu::of(self.gateways.iter().map(Gateway::pid))
    }

    /// CPU time of nats-server so far.
    pub fn nats_cpu(&self) -> Cpu {
        Cpu::of(self.nats.iter().flat_map(Nats::pids))
    }

    /// The nats-server.
    ///
    /// # Panics
    ///
    /// With the embedded relay.
    pub fn nats(&self) -> &Nats {
        self.nats.as_ref().expect("there is NATS")
    }
}

// === impl Crowd ===

impl Crowd {
    /// Connects clients, each to the gateway and the channels that `plan`
    /// gives for its number.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub async fn connect(
        clients: usize,
        plan: impl Fn(usize) -> (String, Vec<String>),
    ) -> anyhow::Result<Self> {
        let mut crowd = Self::empty();
        for number in 0..clients {
            let (address, channels) = plan(number);
            let mut socket = Raw::open(&address, "").await?;
            socket.join(&channels).await?;
            crowd.add(socket);
        }
        Ok(crowd)
    }

    fn empty() -> Self {
        Self {
            seen: Arc::default(),
            delays: Arc::default(),
            tasks: JoinSet::new(),
            begin: Instant::now(),
        }
    }

    /// One more, which is subscribed already.
    fn add(&mut self, mut socket: Raw) {
        let (seen, delays, begin) = (self.seen.clone(), self.delays.clone(), self.begin);
        self.tasks.spawn(async move {
            loop {
                let text = socket.next().await?;
                if !text.starts_with("42[\"m\"") {
                    continue;
                }
                seen.fetch_add(1, Ordering::Relaxed);
                if let Some(sent) = stamp(&text) {
                    let now = micros(begin.elapsed());
                    let mut delays = delays.lock().expect("nobody panics with it");
                    delays.push(now.saturating_sub(sent));
                }
            }
        });
    }

    /// A publication's data: 128 bytes as JSON; stamped, each client notes how
    /// long it took.
    pub fn data(&self, stamped: bool) -> Value {
        let stamp = if stamped { micros(self.begin.elapsed()).to_string() } else { "-".to_owned() };
        format!("{stamp:x<126}").into()
    }

    /// Waits until so many were seen.
    ///
    /// # Errors
    ///
    /// When they don't come.
    pub async fn until(&self, count: u64) -> anyhow::Result<()> {
        let begin = Instant::now();
        while self.seen.load(Ordering::Relaxed) < count {
            anyhow::ensure!(begin.elapsed() < Duration::from_mins(1), "not all arrived");
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Half and 99 % of the stamped publications took no longer.
    ///
    /// # Panics
    ///
    /// Never: nobody panics with the lock.
    pub fn delays(&self) -> (Duration, Duration) {
        let mut delays = self.delays.lock().expect("nobody panics with it").clone();
        delays.sort_unstable();
        let share = |percent: usize| {
            let index = (delays.len() * percent).div_ceil(100).saturating_sub(1);
            Duration::from_micros(delays.get(index).copied().unwrap_or_default())
        };
        (share(50), share(99))
    }
}

/// The digits at the data's begin: `42["m","12345xxx…"`.
fn stamp(text: &str) -> Option<u64> {
    let data = text.get(8..)?;
    let digits = data.len() - data.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    data.get(..digits)?.parse().ok()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

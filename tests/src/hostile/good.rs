//! The good clients and their publisher: one thread, which reads what has
//! come and publishes what is due. It is the bench's; see `tests/bench`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bench::dialect::{Dialect, Plan};
use bench::load::{Api, Load};
use serde::{Deserialize, Serialize};

/// A channel of large publications, which only the attackers want: who
/// doesn't read them is over its limits soon.
pub const LARGE: &str = "deaf.large";
const LARGE_BYTES: usize = 16 << 10;
const LARGE_PER_SECOND: u64 = 20;
/// Clients that connect at once.
const TOGETHER: usize = 64;
/// HTTP connections that publish: none is waited for at the pace.
const PUBLISHERS: usize = 32;
/// A publish that is not answered after this ends the run.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at the clock; see [`Lateness`].
const TICK: Duration = Duration::from_millis(1);

/// How many clients, and what they get.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Audience {
    /// Clients, each in one channel.
    pub clients: usize,
    /// Channels that they are spread over.
    pub channels: usize,
    /// Publications a second, to one channel after the other.
    pub per_second: u32,
}

/// What came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Deliveries that were due.
    pub due: u64,
    /// Those that came.
    pub got: u64,
    /// Clients that the gateway closed.
    pub closed: usize,
    /// From the first publication to the last delivery.
    pub seconds: f64,
    /// From when a publication was due until a client had it, in
    /// milliseconds: half of them, 99 %, the longest.
    pub delay: [f64; 3],
    /// How late a thread of this process woke that only looks at the clock:
    /// the same.
    pub late: [f64; 3],
}

/// Good clients that are connected.
pub struct Good {
    load: Load,
    audience: Audience,
}

/// A thread that wants to wake every millisecond.
struct Lateness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u32>>,
}

/// The name of one of the good clients' channels.
pub fn channel(number: usize) -> String {
    format!("good.{}", number % Audience::WHOLE.channels)
}

// === impl Audience ===

impl Audience {
    /// 2,000 clients, 10,000 deliveries a second.
    pub const WHOLE: Self = Self { clients: 2_000, channels: 100, per_second: 500 };

    /// Deliveries that are due each second.
    pub fn deliveries_per_second(&self) -> u64 {
        u64::from(self.per_second) * self.each()
    }

    /// Clients of each channel.
    fn each(&self) -> u64 {
        (self.clients / self.channels) as u64
    }
}

// === impl Figures ===

impl Figures {
    /// Deliveries that didn't come.
    pub fn lost(&self) -> u64 {
        self.due.saturating_sub(self.got)
    }

    /// Deliveries a second.
    pub fn rate(&self) -> f64 {
        self.got as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

// === impl Good ===

impl Good {
    /// Connects them all.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub fn connect(
        client: SocketAddr,
        api: SocketAddr,
        audience: Audience,
    ) -> anyhow::Result<Self> {
        ensure!(audience.clients.is_multiple_of(audience.channels), "as many in each channel");
        let dialect = Dialect::SocketIo { join: "push:subscribe" };
        let mut load = Load::new(dialect, client, Api::Gateway(api))?;
        load.connect(audience.clients, TOGETHER, |number| Plan {
            channels: vec![format!("good.{}", number % audience.channels)],
            ..Plan::default()
        })?;
        load.publishers(PUBLISHERS)?;
        Ok(Self { load, audience })
    }

    /// Answers pings for so long.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        self.load.rest(time)
    }

    /// Publishes at its pace for so long, whatever becomes of it.
    ///
    /// # Errors
    ///
    /// When the API answers no more.
    pub fn measure(&mut self, time: Duration) -> anyhow::Result<Figures> {
        let load = &mut self.load;
        let pace = Duration::from_secs(1) / self.audience.per_second;
        let count = u64::from(self.audience.per_second) * time.as_secs();
        let (before, closed) = (load.tally.delivered, load.tally.closed);
        load.tally.delays.clear();
        load.tally.delays.noted = true;
        let lateness = Lateness::begin()?;
        let large = load.api().request(LARGE, &"l".repeat(LARGE_BYTES));
        let every = u64::from(self.audience.per_second).div_ceil(LARGE_PER_SECOND);
        let begin = Instant::now();
        for number in 0..count {
            let due = begin + pace * u32::try_from(number)?;
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                load.turn(Some(left))?;
            }
            // A delay counts from when a publication is due: a gateway that
            // keeps the publisher waiting isn't measured as fast.
            let name = format!("good.{}", number % self.audience.channels as u64);
            let request = load.api().request(&name, &load.tally.stamp_at(due));
            send(load, &request)?;
            if number.is_multiple_of(every) {
                send(load, &large)?;
            }
        }
        let due = count * self.audience.each();
        load.settle(before + due)?;
        let got = load.tally.delivered - before;
        let seconds = load.tally.last_delivery().duration_since(begin).as_secs_f64();
        // The last is not due before its pace is over.
        let seconds = seconds.max((pace * u32::try_from(count)?).as_secs_f64());
        load.tally.delays.noted = false;
        let mut delay = |thousandths| load.tally.delays.at(thousandths).as_secs_f64() * 1e3;
        Ok(Figures {
            due,
            got,
            closed: load.tally.closed - closed,
            seconds,
            delay: [delay(500), delay(990), delay(1000)],
            late: lateness.end()?,
        })
    }
}

/// Publishes when a connection is free.
fn send(load: &mut Load, request: &[u8]) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !load.send(request, 1)? {
        ensure!(begin.elapsed() < PATIENCE, "no publish is answered");
        load.turn(Some(Duration::from_millis(1)))?;
    }
    Ok(())
}

// === impl Lateness ===

impl Lateness {
    fn begin() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let look = move || {
            let mut late = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let due = Instant::now() + TICK;
                std::thread::sleep(TICK);
                let micros = due.elapsed().as_micros();
                late.push(u32::try_from(micros).unwrap_or(u32::MAX));
            }
            late
        };
        let thread = std::thread::Builder::new().name("clock".into()).spawn(look)?;
        Ok(Self { stop, thread })
    }

    /// Half of them, 99 %, the latest, in milliseconds.
    fn end(self) -> anyhow::Result<[f64; 3]> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.join();
        let mut late = joined.map_err(|_| anyhow::anyhow!("the clock's thread panicked"))?;
        late.sort_unstable();
        let at = |percent: usize| {
            let index = (late.len() * percent).div_ceil(100).saturating_sub(1);
            f64::from(late.get(index).copied().unwrap_or_default()) / 1e3
        };
        Ok([at(50), at(99), at(100)])
    }
}

//! A gateway with thousands of clients is killed, and all of them come to the
//! others at once, while apps publish.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::balancer::Targets;
use crate::nats::Nats;
use crate::raw::{Raw, offset_of};

/// The official client's `reconnectionDelay` and `reconnectionDelayMax`.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_MOST: Duration = Duration::from_secs(5);
/// The official client's `timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Handshakes under way at once, when the clients first connect.
const AT_ONCE: usize = 200;
/// How long all may take to come back.
const PATIENCE: Duration = Duration::from_mins(2);
/// Time between two heartbeats of a gateway in the sessions' bucket.
const BEAT: u64 = 5;

/// How many, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Clients of the gateway that is killed.
    pub clients: usize,
    /// Channels with history; each client subscribes to one.
    pub channels: usize,
    /// Publications a second, in turn to the channels.
    pub per_second: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Clients that are back.
    pub back: usize,
    /// Of these, those that were told that something may be missing.
    pub unrecovered: u64,
    /// When half, 99 % and all of them were back, after the kill.
    pub half: Duration,
    /// 99 %.
    pub most: Duration,
    /// All.
    pub all: Duration,
    /// Connections that were refused or broke off.
    pub refused: u64,
    /// Writes to the sessions' bucket meanwhile, less heartbeats.
    pub writes: u64,
    /// NATS subscriptions of all gateways before, without the killed one's.
    pub subscriptions_before: u64,
    /// And after.
    pub subscriptions_after: u64,
    /// Publications acknowledged during the storm.
    pub published: usize,
    /// How long the acknowledgement took: half of them, 99 %, the longest.
    pub publish: [Duration; 3],
    /// Publications that a client did not see.
    pub lost: u64,
    /// Publications that a client saw twice, or behind a later one.
    pub disordered: u64,
}

/// One client's life.
struct Client {
    pid: String,
    offset: Option<String>,
    /// The next number that it must see.
    next: u64,
}

/// What all clients count.
#[derive(Default)]
struct Counts {
    ready: AtomicUsize,
    unrecovered: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    disordered: AtomicU64,
    seen: AtomicU64,
}

// === impl Storm ===

impl Storm {
    /// Runs it; prints what happens.
    pub async fn run(self) -> anyhow::Result<Report> {
        let nats = tokio::task::spawn_blocking(Nats::cluster).await?;
        let config = format!(
            "relay: {{url: '{}', replicas: 3}}\n\
             peer: {{secret: a-secret-between-gateways-in-a-storm, listen: '127.0.0.1:0'}}\n\
             channels: [{{match: 'storm.>', history: {{maxMessages: 100000, maxAge: 1h}}}}]\n",
            nats.url()
        );
        let mut gateways: Vec<Gateway> = (0..3).map(|_| Gateway::start(&config)).collect();
        for gateway in &gateways {
            gateway.ready().await;
        }
        let (counts, targets) = (Arc::new(Counts::default()), Targets::default());
        targets.set(vec![gateways[0].client_address().to_owned()]);
        let (back, mut is_back) = tokio::sync::mpsc::channel(self.clients);
        let room = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let mut clients = JoinSet::new();
        for index in 0..self.clients {
            let (counts, targets) = (counts.clone(), targets.clone());
            let (room, back) = (room.clone(), back.clone());
            let channel = index % self.channels;
            clients.spawn(async move {
                let permit = room.acquire().await?;
                let (mut client, socket) = Client::first(&targets, channel).await?;
                drop(permit);
                counts.ready.fetch_add(1, Ordering::Relaxed);
                client.read(socket, &counts).await;
                let socket = client.again(&targets, &counts).await;
                back.send(Instant::now()).await?;
                client.read(socket, &counts).await;
                anyhow::Ok(())
            });
        }
        while counts.ready.load(Ordering::Relaxed) < self.clients {
            tokio::select! {
                Some(ended) = clients.join_next() => {
                    ended?.context("a client could not connect")?;
                    bail!("a client's connection broke before the kill");
                }
                () = sleep(Duration::from_millis(20)) => {}
            }
        }
        println!("{} clients of one gateway", self.clients);

        let stop = CancellationToken::new();
        let apis = gateways[1..].iter().map(|gateway| gateway.api().to_owned()).collect();
        // On a thread of its own: thousands of handshakes in this process must
        // not count as the gateways' delay.
        let publishing = self.publish(apis, stop.clone());
        let publisher = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(publishing)
        });
        sleep(Duration::from_secs(2)).await;
        // The killed one's are gone a moment after it is.
        let subscriptions = nats.subscriptions().await;
        let own = subscriptions / 3;
        let writes = written(&nats).await?;
        targets
            .set(gateways[1..].iter().map(|gateway| gateway.client_address().to_owned()).collect());
        let killed = Instant::now();
        drop(gateways.remove(0));
        println!("it is killed");

        let mut times = Vec::new();
        while times.len() < self.clients {
            let time = timeout(PATIENCE, is_back.recv()).await.context("not all came back")?;
            times.push(time.context("a client died")?.duration_since(killed));
        }
        let took = killed.elapsed();
        let writes = written(&nats).await? - writes;
        let subscriptions_after = nats.subscriptions().await;
        sleep(Duration::from_secs(2)).await;
        stop.cancel();
        let (numbers, mut delays) = publisher.await??;
        // What is still on its way.
        let due: u64 = (0..self.clients).map(|index| numbers[index % self.channels]).sum();
        let begin = Instant::now();
        while counts.seen.load(Ordering::Relaxed) < due && begin.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50)).await;
        }
        clients.shutdown().await;

        times.sort_unstable();
        delays.retain(|(at, _)| *at >= killed && *at <= killed + took);
        let mut delays: Vec<_> = delays.into_iter().map(|(_, delay)| delay).collect();
        delays.sort_unstable();
        Ok(Report {
            back: times.len(),
            unrecovered: counts.unrecovered.load(Ordering::Relaxed),
            half: share(&times, 50),
            most: share(&times, 99),
            all: share(&times, 100),
            refused: counts.refused.load(Ordering::Relaxed),
            writes: writes.saturating_sub(2 * (took.as_secs() / BEAT + 1)),
            subscriptions_before: subscriptions - own,
            subscriptions_after,
            published: delays.len(),
            publish: [share(&delays, 50), share(&delays, 99), share(&delays, 100)],
            lost: due.saturating_sub(counts.seen.load(Ordering::Relaxed))
                + counts.lost.load(Ordering::Relaxed),
            disordered: counts.disordered.load(Ordering::Relaxed),
        })
    }

    /// Publishes numbers to the channels in turn, at a steady pace whatever
    /// the answers take. How many each channel got, and how long each took.
    async fn publish(
        self,
        apis: Vec<String>,
        stop: CancellationToken,
    ) -> anyhow::Result<(Vec<u64>, Vec<(Instant, Duration)>)> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let mut ticks = interval(Duration::from_secs(1) / self.per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut published = vec![0; self.channels];
        let mut answers = JoinSet::new();
        for turn in 0.. {
            ticks.tick().await;
            if stop.is_cancelled() {
                break;
            }
            let channel = turn % self.channels;
            let n = published[channel];
            published[channel] += 1;
            let body = json!({"channel": format!("storm.{channel}"), "event": "n", "data": n});
            let request = http.post(format!("{}/v1/publish", apis[turn % apis.len()])).json(&body);
            answers.spawn(async move {
                let begin = Instant::now();
                let answer = request.send().await?;
                ensure!(answer.status() == 200, "a publish was answered {}", answer.status());
                Ok((begin, begin.elapsed()))
            });
        }
        let delays: anyhow::Result<Vec<_>> = answers.join_all().await.into_iter().collect();
        Ok((published, delays?))
    }
}

/// So many percent are no longer than this.
fn share(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

/// Writes to the sessions' bucket so far.
async fn written(nats: &Nats) -> anyhow::Result<u64> {
    let client = async_nats::connect(nats.url().split(',').collect::<Vec<_>>()).await?;
    let subject = "$JS.API.STREAM.INFO.KV_PUSH_push_sessions";
    let answer = client.request(subject, "".into()).await?;
    let info: BTreeMap<String, Value> = serde_json::from_slice(&answer.payload)?;
    info["state"]["last_seq"].as_u64().context("no last_seq")
}

/// From 0 to 1.
fn lot() -> f64 {
    let [high, low, ..] = RandomState::new().hash_one(0).to_be_bytes();
    f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX)
}

// === impl Client ===

impl Client {
    /// Connects and subscribes.
    async fn first(targets: &Targets, channel: usize) -> anyhow::Result<(Self, Raw)> {
        let mut socket = open(targets).await?;
        let joined = socket.join(&[format!("storm.{channel}")]).await?;
        let pid = joined.pid.context("no pid")?;
        Ok((Self { pid, offset: joined.offset, next: 0 }, socket))
    }

    /// Comes back as the official client does.
    async fn again(&mut self, targets: &Targets, counts: &Counts) -> Raw {
        let mut delay = DELAY;
        loop {
            sleep(delay.mul_f64(0.5 + lot())).await;
            delay = (delay * 2).min(DELAY_MOST);
            match timeout(CONNECT_TIMEOUT, self.recover(targets, counts)).await {
                Ok(Ok(socket)) => return socket,
                Ok(Err(_)) | Err(_) => counts.refused.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    async fn recover(&mut self, targets: &Targets, counts: &Counts) -> anyhow::Result<Raw> {
        let mut socket = open(targets).await?;
        let auth = json!({"pid": self.pid, "offset": self.offset});
        socket.send(format!("40{auth}")).await?;
        loop {
            let text = socket.next().await?;
            let Some(data) = text.strip_prefix("40") else { continue };
            if serde_json::from_str::<Value>(data)?["pid"] != self.pid {
                counts.unrecovered.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(socket);
        }
    }

    /// Reads until the connection ends.
    async fn read(&mut self, mut socket: Raw, counts: &Counts) {
        while let Ok(text) = socket.next().await {
            if let Some(data) = text.strip_prefix("42")
                && let Ok(event) = serde_json::from_str::<Value>(data)
            {
                self.offset = offset_of(&event).or_else(|| self.offset.take());
                if event[0] == "n"
                    && let Some(n) = event[1].as_u64()
                {
                    counts.seen.fetch_add(1, Ordering::Relaxed);
                    counts.lost.fetch_add(n.saturating_sub(self.next), Ordering::Relaxed);
                    if n < self.next {
                        counts.disordered.fetch_add(1, Ordering::Relaxed);
                    }
                    self.next = self.next.max(n + 1);
                }
            }
        }
    }
}

/// A WebSocket to one of the gateways that are there.
async fn open(targets: &Targets) -> anyhow::Result<Raw> {
    Raw::open(&targets.shuffled().pop().context("no gateway")?, "").await
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "back: {} clients, half after {:.1?}, 99 % after {:.1?}, all after {:.1?}; {} not recovered, {} tries in vain",
            self.back, self.half, self.most, self.all, self.unrecovered, self.refused
        )?;
        writeln!(
            f,
            "key-value writes: {}; NATS subscriptions: {} before, {} after",
            self.writes, self.subscriptions_before, self.subscriptions_after
        )?;
        let [half, most, longest] = self.publish;
        writeln!(
            f,
            "publishing meanwhile: {} answers, p50 {half:.1?}, p99 {most:.1?}, longest {longest:.1?}",
            self.published
        )?;
        write!(f, "publications: lost {}, disordered {}", self.lost, self.disordered)
    }
}

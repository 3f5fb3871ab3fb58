//! Gateways and NATS servers are killed, stalled and cut off while apps
//! publish; every client must end with exactly the stream's content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::balancer::{Balancer, Targets};
use crate::fleet::{Fleet, Log, Plan};
use crate::nats::{Nats, Signal};

/// Kinds of clients, in turn.
const KINDS: [&str; 5] = ["default", "polling", "websocket", "plain", "sse"];
const GATEWAYS: usize = 3;
/// How long a publisher waits for an answer before it tries elsewhere, with
/// the same id.
const ANSWER: Duration = Duration::from_secs(3);
/// Pause of a publisher that was refused.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a gateway may take to find a stream that answers.
const START: Duration = Duration::from_mins(1);
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

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Publications in the stream.
    pub stored: u64,
    /// Publications that the publishers were told are stored.
    pub acknowledged: u64,
    /// Of these, not in the stream.
    pub unstored: u64,
    /// In the stream more than once.
    pub doubled: u64,
    /// Answers that a publisher had to do without.
    pub retries: u64,
    /// Clients.
    pub clients: usize,
    /// Connections that they made beyond the first.
    pub reconnects: u64,
    /// Publications that they saw.
    pub delivered: u64,
    /// Publications of the stream that a client did not see.
    pub lost: u64,
    /// Publications that a client saw again.
    pub duplicated: u64,
    /// Publications that came behind a later one.
    pub reordered: u64,
    /// Publications that are not in the stream.
    pub invented: u64,
    /// What clients noted, with their kind.
    pub notes: Vec<String>,
}

/// The channel's name and the number: a publication's data.
#[derive(Deserialize)]
struct Data {
    channel: String,
    n: u64,
}

/// Everything that runs.
struct World {
    nats: Nats,
    config: String,
    gateways: Vec<Option<Gateway>>,
    starting: JoinSet<(usize, Gateway)>,
    leaving: Vec<Gateway>,
    clients: Targets,
    apis: Targets,
}

// === impl Scenario ===

impl Scenario {
    /// 300 clients, 200 publications a second over 20 channels for 60 s. Each
    /// gateway is killed twice, each NATS server once; one stalls for 10 s,
    /// one route is cut for 2 s.
    pub fn long() -> Self {
        use Fault::{
            Cut, KillGateway, KillNats, Mend, StallNats, StartGateway, StartNats, WakeNats,
        };
        let at = |seconds, fault| (Duration::from_secs(seconds), fault);
        let faults = vec![
            at(2, KillGateway(0)),
            at(4, StartGateway(0)),
            at(6, KillNats(0)),
            at(8, KillGateway(1)),
            at(10, StartGateway(1)),
            at(11, StartNats(0)),
            at(15, StallNats(1)),
            at(17, KillGateway(2)),
            at(19, StartGateway(2)),
            at(25, WakeNats(1)),
            at(29, Cut(0, 2)),
            at(31, Mend),
            at(34, KillGateway(0)),
            at(35, KillNats(1)),
            at(36, StartGateway(0)),
            at(39, StartNats(1)),
            at(42, KillGateway(1)),
            at(44, StartGateway(1)),
            at(46, KillNats(2)),
            at(49, KillGateway(2)),
            at(50, StartNats(2)),
            at(51, StartGateway(2)),
        ];
        Self { clients: 300, channels: 20, per_second: 200, faults, end: Duration::from_mins(1) }
    }

    /// The same faults in a third of the time, fewer of each kind.
    pub fn short() -> Self {
        use Fault::{
            Cut, KillGateway, KillNats, Mend, StallNats, StartGateway, StartNats, WakeNats,
        };
        let at = |seconds, fault| (Duration::from_secs(seconds), fault);
        let faults = vec![
            at(1, KillGateway(0)),
            at(3, StartGateway(0)),
            at(4, KillNats(0)),
            at(7, StartNats(0)),
            at(8, KillGateway(1)),
            at(10, StallNats(1)),
            at(11, StartGateway(1)),
            at(15, WakeNats(1)),
            at(18, Cut(0, 2)),
            at(20, Mend),
            at(21, KillGateway(2)),
            at(23, StartGateway(2)),
        ];
        Self { clients: 60, channels: 10, per_second: 60, faults, end: Duration::from_secs(25) }
    }

    /// One gateway after the other is sent away and replaced.
    pub fn rollout() -> Self {
        use Fault::{DrainGateway, StartGateway};
        let at = |seconds, fault| (Duration::from_secs(seconds), fault);
        let faults = vec![
            at(1, StartGateway(3)),
            at(2, DrainGateway(0)),
            at(8, StartGateway(0)),
            at(9, DrainGateway(1)),
            at(15, StartGateway(1)),
            at(16, DrainGateway(2)),
        ];
        Self { clients: 60, channels: 10, per_second: 60, faults, end: Duration::from_secs(22) }
    }

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

    /// One publisher for each channel, half of them over HTTP and half over
    /// NATS, each with one publication under way at most. What each was told
    /// is stored: the numbers below.
    async fn publish(
        &self,
        world: &World,
        stop: &CancellationToken,
        retries: &Arc<AtomicU64>,
    ) -> JoinSet<(String, u64)> {
        let pace = Duration::from_secs(1) * self.channels / self.per_second;
        let servers: Vec<_> = world.nats.url().split(',').map(str::to_owned).collect();
        let client = async_nats::ConnectOptions::new()
            .request_timeout(Some(ANSWER))
            .retry_on_initial_connect()
            .connect(servers)
            .await
            .expect("NATS is there");
        let mut publishers = JoinSet::new();
        for (index, name) in self.names().into_iter().enumerate() {
            let (stop, retries) = (stop.clone(), retries.clone());
            let way = if index % 2 == 0 {
                Way::Http(world.apis.clone(), reqwest::Client::builder().timeout(ANSWER).build())
            } else {
                Way::Nats(client.clone())
            };
            publishers.spawn(async move {
                let mut ticks = interval(pace);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut n = 0;
                while !stop.is_cancelled() {
                    ticks.tick().await;
                    while !way.publish(&name, n).await {
                        retries.fetch_add(1, Ordering::Relaxed);
                        sleep(AGAIN).await;
                    }
                    n += 1;
                }
                (name, n)
            });
        }
        publishers
    }
}

/// How an app publishes.
enum Way {
    Http(Targets, reqwest::Result<reqwest::Client>),
    Nats(Client),
}

// === impl Way ===

impl Way {
    /// True: it is stored.
    async fn publish(&self, name: &str, n: u64) -> bool {
        let data = json!({"channel": name, "n": n});
        match self {
            Self::Http(targets, http) => {
                let http = http.as_ref().expect("a client can be made");
                let Some(target) = targets.shuffled().pop() else { return false };
                let body =
                    json!({"channel": name, "event": "n", "data": data, "id": n.to_string()});
                let request = http.post(format!("http://{target}/v1/publish")).json(&body);
                request.send().await.is_ok_and(|answer| answer.status() == 200)
            }
            Self::Nats(client) => {
                let mut headers = HeaderMap::new();
                headers.insert("Push-Event", "n");
                headers.insert("Nats-Msg-Id", format!("{name}/{n}").as_str());
                let subject = format!("push.pub.{name}");
                let payload = data.to_string().into();
                let ack = client.request_with_headers(subject, headers, payload);
                let Ok(Ok(ack)) = tokio::time::timeout(ANSWER, ack).await else { return false };
                let ack: Value = serde_json::from_slice(&ack.payload).unwrap_or_default();
                ack["seq"].is_u64() && ack.get("error").is_none()
            }
        }
    }
}

// === impl World ===

impl World {
    async fn start() -> Self {
        let nats = tokio::task::spawn_blocking(Nats::cluster).await.expect("NATS starts");
        let config = format!(
            "relay: {{url: '{}', replicas: 3}}\n\
             peer: {{secret: a-secret-between-gateways-under-fire, listen: '127.0.0.1:0'}}\n\
             drain: {{delay: 1s, period: 4s}}\n\
             channels: [{{match: 'kill.>', history: {{maxMessages: 100000, maxAge: 1h}}}}]\n",
            nats.url()
        );
        let mut world = Self {
            nats,
            config,
            gateways: Vec::new(),
            starting: JoinSet::new(),
            leaving: Vec::new(),
            clients: Targets::default(),
            apis: Targets::default(),
        };
        for _ in 0..GATEWAYS {
            world.gateways.push(Some(Gateway::start(&world.config)));
        }
        world.point();
        for gateway in world.gateways.iter().flatten() {
            gateway.ready().await;
        }
        world
    }

    /// Waits; gateways that have started meanwhile are chosen from now on.
    async fn wait_until(&mut self, time: Instant) {
        loop {
            tokio::select! {
                Some(started) = self.starting.join_next(), if !self.starting.is_empty() => {
                    self.started(started.expect("starting doesn't panic"));
                }
                () = sleep_until(time) => return,
            }
        }
    }

    async fn all_started(&mut self) {
        while let Some(started) = self.starting.join_next().await {
            self.started(started.expect("starting doesn't panic"));
        }
    }

    fn started(&mut self, (index, gateway): (usize, Gateway)) {
        println!("       gateway {index} is there");
        self.gateways[index] = Some(gateway);
        self.point();
    }

    /// The gateway, which may still be starting: it needs a stream that
    /// answers, and a fault may be in its way.
    async fn take(&mut self, index: usize) -> Gateway {
        if self.gateways[index].is_none() {
            self.all_started().await;
        }
        self.gateways[index].take().expect("it was started")
    }

    async fn suffer(&mut self, fault: Fault) {
        match fault {
            // SIGKILL.
            Fault::KillGateway(index) => drop(self.take(index).await),
            Fault::DrainGateway(index) => {
                let leaving = self.take(index).await;
                leaving.signal("TERM");
                self.leaving.push(leaving);
            }
            Fault::StartGateway(index) => {
                if index == self.gateways.len() {
                    self.gateways.push(None);
                }
                let config = self.config.clone();
                self.starting.spawn_blocking(move || {
                    let begin = std::time::Instant::now();
                    loop {
                        match Gateway::try_start(&config) {
                            Ok(gateway) => return (index, gateway),
                            Err(log) => assert!(begin.elapsed() < START, "{log}"),
                        }
                    }
                });
            }
            Fault::KillNats(index) => self.nats.signal(index, Signal::Kill),
            Fault::StartNats(index) => self.nats.restart(index),
            Fault::StallNats(index) => self.nats.signal(index, Signal::Stop),
            Fault::WakeNats(index) => self.nats.signal(index, Signal::Continue),
            Fault::Cut(one, other) => self.nats.cut(one, other),
            Fault::Mend => self.nats.mend(),
        }
        self.point();
    }

    /// The balancers know who is there.
    fn point(&self) {
        let there = || self.gateways.iter().flatten();
        self.clients.set(there().map(|gateway| gateway.client_address().to_owned()).collect());
        let api = |gateway: &Gateway| gateway.api().trim_start_matches("http://").to_owned();
        self.apis.set(there().map(api).collect());
    }

    /// The stream's content: the reference.
    async fn stored(&self) -> BTreeMap<String, Vec<u64>> {
        let servers: Vec<_> = self.nats.url().split(',').map(str::to_owned).collect();
        let client = async_nats::connect(servers).await.expect("NATS is there");
        let mut stored: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut next = 1;
        loop {
            // Asked of the stream's leader.
            let ask = json!({"seq": next, "next_by_subj": "push.pub.kill.>"}).to_string();
            let subject = "$JS.API.STREAM.MSG.GET.PUSH_push";
            let answer = client.request(subject, ask.into()).await.expect("JetStream is there");
            let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
            let Some(seq) = answer["message"]["seq"].as_u64() else {
                assert_eq!(answer["error"]["code"], 404, "{answer}");
                return stored;
            };
            let data = STANDARD.decode(answer["message"]["data"].as_str().expect("data"));
            let data: Data = serde_json::from_slice(&data.expect("base64")).expect("a number");
            stored.entry(data.channel).or_default().push(data.n);
            next = seq + 1;
        }
    }
}

// === impl Report ===

impl Report {
    fn new(
        acknowledged: &BTreeMap<String, u64>,
        retries: u64,
        stored: &BTreeMap<String, Vec<u64>>,
        logs: Vec<Log>,
    ) -> Self {
        let mut report = Self { retries, clients: logs.len(), ..Self::default() };
        let mut places = HashMap::new();
        for (name, numbers) in stored {
            let mut place = HashMap::new();
            for (index, n) in numbers.iter().enumerate() {
                report.stored += 1;
                report.doubled += u64::from(place.insert(*n, index).is_some());
            }
            places.insert(name.clone(), place);
        }
        for (name, count) in acknowledged {
            report.acknowledged += count;
            let stored = |n: &u64| places.get(name).is_some_and(|place| place.contains_key(n));
            report.unstored += (0..*count).filter(|n| !stored(n)).count() as u64;
        }
        for log in logs {
            report.reconnects += log.connects.saturating_sub(1);
            for note in &log.notes {
                report.notes.push(format!("{}: {note}", log.kind));
            }
            for (name, seen) in &log.seen {
                report.compare(&log.kind, name, &places[name], seen);
            }
        }
        report
    }

    /// What one client saw of one channel.
    fn compare(&mut self, kind: &str, name: &str, places: &HashMap<u64, usize>, seen: &[u64]) {
        let (mut had, mut furthest) = (HashSet::new(), None);
        let mut wrong = Vec::new();
        for n in seen {
            self.delivered += 1;
            let Some(place) = places.get(n) else {
                self.invented += 1;
                wrong.push(format!("{n} invented"));
                continue;
            };
            if !had.insert(*n) {
                self.duplicated += 1;
                wrong.push(format!("{n} again"));
            } else if furthest.is_some_and(|furthest| furthest > *place) {
                self.reordered += 1;
                wrong.push(format!("{n} late"));
            }
            furthest = furthest.max(Some(*place));
        }
        let missing: Vec<_> = places.keys().filter(|n| !had.contains(n)).collect();
        self.lost += missing.len() as u64;
        if let (Some(first), Some(last)) = (missing.iter().min(), missing.iter().max()) {
            wrong.push(format!("{} missing between {first} and {last}", missing.len()));
        }
        if !wrong.is_empty() {
            wrong.truncate(10);
            self.notes.push(format!("{kind}: {name}: {}", wrong.join(", ")));
        }
    }

    /// Whether every client ended with exactly the stream's content, and the
    /// stream with exactly what was acknowledged.
    pub fn is_clean(&self) -> bool {
        self.stored > 0
            && [self.lost, self.duplicated, self.reordered, self.invented] == [0; 4]
            && [self.unstored, self.doubled] == [0; 2]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        writeln!(
            f,
            "publications: {} stored, {} acknowledged, {} of them not stored, {} stored twice, {} tries more",
            self.stored, self.acknowledged, self.unstored, self.doubled, self.retries
        )?;
        writeln!(f, "clients: {}, reconnects {}", self.clients, self.reconnects)?;
        write!(
            f,
            "deliveries: {}; lost {}, duplicated {}, reordered {}, invented {}",
            self.delivered, self.lost, self.duplicated, self.reordered, self.invented
        )
    }
}

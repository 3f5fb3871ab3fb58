//! Clients that follow channels with history, and an app that publishes
//! numbers on them: whatever is lost, comes twice or out of order is noticed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Client, Live, PATIENCE, Place};
use crate::http;
use crate::raw::{Raw, offset_of};
use crate::socketio::{Socket, Transport};

/// The official client's `reconnectionDelay` and `reconnectionDelayMax`.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_MOST: Duration = Duration::from_secs(5);
/// The official client's `timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// One client of so many uses long-polling.
const POLLING: usize = 10;

/// How many, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients, evenly from all addresses.
    pub clients: usize,
    /// Addresses: a Service with affinity keeps each on one gateway.
    pub addresses: usize,
    /// Publications a second.
    pub per_second: u32,
}

/// It runs.
pub struct Traffic {
    load: Load,
    started: Instant,
    followers: JoinSet<Vec<Seen>>,
    publisher: JoinHandle<Vec<u64>>,
    /// The app has said enough.
    stop: CancellationToken,
    /// Who has not got everything by now won't.
    give_up: CancellationToken,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Publications.
    pub published: u64,
    /// When clients lost a connection.
    pub ended: Vec<Instant>,
}

/// What one client has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Of each channel.
    numbers: [Vec<u64>; CHANNELS.len()],
    /// Each channel's last number, as the app says at its end.
    last: [Option<u64>; CHANNELS.len()],
    /// When it lost a connection.
    ended: Vec<Instant>,
    /// It came back and was told that something may be missing.
    unrecovered: bool,
}

/// Whom a client is to follow, and when to cease.
#[derive(Clone)]
struct Follower {
    place: Place,
    give_up: CancellationToken,
}

/// Channels that all follow. An app waits for each answer before the next
/// publication on the same channel: else their order would be anybody's.
const CHANNELS: [&str; 5] = ["orders.0", "orders.1", "orders.2", "orders.3", "orders.4"];

// === impl Load ===

impl Load {
    /// Enough to notice a loss.
    pub const LIGHT: Self = Self { clients: 40, addresses: 4, per_second: 20 };
    /// What a change must be borne under.
    pub const FULL: Self = Self { clients: 200, addresses: 10, per_second: 50 };
}

// === impl Traffic ===

impl Traffic {
    /// Begins it: when this returns, all clients are there and the app
    /// publishes.
    ///
    /// # Panics
    ///
    /// When the clients can't connect.
    pub async fn start(live: &Live, load: Load) -> Self {
        let place = live.place().await;
        let (stop, give_up) = (CancellationToken::new(), CancellationToken::new());
        let mut followers = JoinSet::new();
        for _ in 0..load.addresses {
            let browser = Client::new(live.cluster()).await;
            let follower = Follower { place: place.clone(), give_up: give_up.clone() };
            let count = load.clients / load.addresses;
            followers.spawn(async move {
                browser
                    .run(async move || {
                        let mut all = JoinSet::new();
                        for number in 0..count {
                            all.spawn(follower.clone().run(number % POLLING == 0));
                        }
                        all.join_all().await
                    })
                    .await
            });
        }
        let app = Client::new(live.cluster()).await;
        let there = place.clone();
        let wanted = (load.clients / load.addresses * load.addresses) as u64;
        app.run(async move || {
            let all = async {
                // A client asks for them in this order.
                while there.subscribers(CHANNELS[CHANNELS.len() - 1]).await != wanted {
                    sleep(Duration::from_millis(200)).await;
                }
            };
            timeout(PATIENCE, all).await.expect("all clients subscribe");
        })
        .await;
        let ending = stop.clone();
        let publisher = tokio::spawn(async move {
            app.run(async move || {
                let pause = Duration::from_secs(CHANNELS.len() as u64) / load.per_second;
                let all = (0..CHANNELS.len()).map(|at| publish(&place, at, pause, &ending));
                futures_util::future::join_all(all).await
            })
            .await
        });
        let started = Instant::now();
        Self { load, started, followers, publisher, stop, give_up }
    }

    /// Ends it. Every client has seen every publication once, in order.
    ///
    /// # Panics
    ///
    /// When one hasn't.
    pub async fn finish(mut self) -> Report {
        self.stop.cancel();
        let published = self.publisher.await.expect("all were published");
        let took = self.started.elapsed();
        let mut seen = Vec::new();
        let all = async {
            while let Some(some) = self.followers.join_next().await {
                seen.extend(some.expect("the clients run to their end"));
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            self.give_up.cancel();
            while let Some(some) = self.followers.join_next().await {
                seen.extend(some.expect("the clients run to their end"));
            }
        }
        assert_eq!(seen.len(), self.load.clients / self.load.addresses * self.load.addresses);
        let unrecovered = seen.iter().filter(|each| each.unrecovered).count();
        assert_eq!(unrecovered, 0, "so many sessions were not recovered");
        for (client, each) in seen.iter().enumerate() {
            for (at, published) in published.iter().enumerate() {
                let who = format!("client {client} on {}", CHANNELS[at]);
                each.assert_all(&who, at, *published);
            }
        }
        let published: u64 = published.iter().sum();
        let ended: Vec<Instant> = seen.into_iter().flat_map(|each| each.ended).collect();
        println!(
            "{} clients, {published} publications in {took:.1?}, {} connections ended; none lost, none twice",
            self.load.clients,
            ended.len()
        );
        Report { published, ended }
    }
}

/// Publishes numbers on one of the channels, at a steady pace until it is to
/// stop, and then which was the last; that.
async fn publish(place: &Place, at: usize, pause: Duration, stop: &CancellationToken) -> u64 {
    let mut ticks = interval(pause);
    // While no gateway answers, publications pile up as in any app.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    while !stop.is_cancelled() {
        ticks.tick().await;
        number += 1;
        patiently_publish(place, "order", at, number).await;
    }
    patiently_publish(place, "end", at, number).await;
    number
}

/// As an app does that wants its publication out: again until it is taken. The
/// id makes that harmless.
async fn patiently_publish(place: &Place, event: &str, at: usize, number: u64) {
    let body = json!({
        "channel": CHANNELS[at],
        "event": event,
        "data": {"at": at, "number": number},
        "id": format!("{event}-{number}"),
    });
    let url = format!("{}/v1/publish", place.api);
    let until = Instant::now() + PATIENCE;
    loop {
        let request = http::request("POST", &url).bearer_auth(&place.key).json(&body);
        let answer = http::try_send(request).await;
        if answer.as_ref().is_ok_and(|reply| reply.status == 200) {
            return;
        }
        assert!(Instant::now() < until, "publication {number}: {answer:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

// === impl Follower ===

impl Follower {
    /// Follows to the end, and comes back as the official client does.
    async fn run(self, polling: bool) -> Seen {
        let mut seen = Seen::default();
        let following =
            async { if polling { self.poll(&mut seen).await } else { self.read(&mut seen).await } };
        // Without an end, what it has says more than that it hangs.
        tokio::select! {
            () = following => {}
            () = self.give_up.cancelled() => {}
        }
        seen
    }

    /// Over WebSockets, cheaply.
    async fn read(&self, seen: &mut Seen) {
        let address = self.place.client.trim_start_matches("http://");
        let (mut pid, mut offset): (Option<String>, Option<String>) = (None, None);
        let mut delay = DELAY;
        loop {
            let joining = async {
                let mut socket = Raw::open(address, "").await?;
                if pid.is_none() {
                    let joined = socket.join(&CHANNELS.map(str::to_owned)).await?;
                    return anyhow::Ok((socket, joined.pid, joined.offset));
                }
                socket.send(format!("40{}", json!({"pid": pid, "offset": offset}))).await?;
                loop {
                    let text = socket.next().await?;
                    if let Some(data) = text.strip_prefix("40") {
                        let data: Value = serde_json::from_str(data)?;
                        return Ok((socket, data["pid"].as_str().map(str::to_owned), None));
                    }
                    anyhow::ensure!(!text.starts_with("44"), "{text}");
                }
            };
            if let Ok(Ok((mut socket, got, at))) = timeout(CONNECT_TIMEOUT, joining).await {
                if pid.is_some() && pid != got {
                    seen.unrecovered = true;
                    return;
                }
                pid = got;
                offset = at.or(offset);
                delay = DELAY;
                while let Ok(text) = socket.next().await {
                    let Some(data) = text.strip_prefix("42") else { continue };
                    let event: Value = serde_json::from_str(data).expect("events are JSON");
                    offset = offset_of(&event).or(offset);
                    if seen.take(event[0].as_str().unwrap_or_default(), &event[1]) {
                        return;
                    }
                }
                seen.ended.push(Instant::now());
            }
            sleep(delay.mul_f64(0.5 + lot())).await;
            delay = (delay * 2).min(DELAY_MOST);
        }
    }

    /// Over long-polling.
    async fn poll(&self, seen: &mut Seen) {
        let mut credentials: Option<Value> = None;
        loop {
            let (url, auth) = (self.place.client.clone(), credentials.clone());
            // The harness panics where the official client would try again.
            let joined = tokio::spawn(async move {
                Socket::join_url(&url, Transport::Polling, "/", auth.as_ref(), "").await
            })
            .await;
            let Ok(Ok(mut socket)) = joined else {
                sleep(DELAY.mul_f64(0.5 + lot())).await;
                continue;
            };
            match &credentials {
                Some(old) if old["pid"] != socket.pid() => {
                    seen.unrecovered = true;
                    return;
                }
                Some(_) => {}
                None => {
                    for channel in CHANNELS {
                        socket.subscribe(channel).await;
                    }
                }
            }
            while let Some(event) = socket.next_event().await {
                if event.args.first().is_some_and(|data| seen.take(&event.name, data)) {
                    return;
                }
            }
            seen.ended.push(Instant::now());
            credentials = Some(socket.credentials());
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Whether it was the last of all channels.
    fn take(&mut self, event: &str, data: &Value) -> bool {
        let (Some(at), Some(number)) = (data["at"].as_u64(), data["number"].as_u64()) else {
            return false;
        };
        let at = usize::try_from(at).expect("it is one of few");
        match event {
            "order" => self.numbers[at].push(number),
            "end" => self.last[at] = Some(number),
            _ => {}
        }
        self.last.iter().all(Option::is_some)
    }

    /// Asserts that each publication on a channel came once, in order.
    fn assert_all(&self, who: &str, at: usize, published: u64) {
        let numbers = &self.numbers[at];
        let wrong = (1..=published).zip(numbers).position(|(wanted, got)| wanted != *got);
        if let Some(place) = wrong {
            let around = &numbers[place.saturating_sub(3)..numbers.len().min(place + 9)];
            panic!("{who}: not each number once, in order: {around:?}");
        }
        assert_eq!(numbers.len() as u64, published, "{who}: the end is missing, or came twice");
        assert_eq!(self.last[at], Some(published), "{who}: the end is missing");
    }
}

/// From 0 to 1.
fn lot() -> f64 {
    let [high, low, ..] = RandomState::new().hash_one(0).to_be_bytes();
    f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX)
}

//! Clients that follow channels with history, and an app that publishes
//! numbers on them: whatever is lost, comes twice or out of order is noticed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Client, Live, PATIENCE, Place};

mod follower;
mod publisher;

use follower::{Follower, Seen};
use publisher::{Published, Publisher};

/// One client of so many uses long-polling.
const POLLING: usize = 10;
/// Clients that come for the first time at once.
const ENTERING: usize = 20;

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
    publisher: JoinHandle<Vec<Published>>,
    /// When the app has said enough.
    stop: watch::Sender<Option<Instant>>,
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

/// Channels that all follow: to the first half the app publishes by HTTP, to
/// the others by NATS. It waits for each answer before the next publication on
/// the same channel: else their order would be anybody's.
const CHANNELS: [&str; 8] = [
    "orders.0", "orders.1", "orders.2", "orders.3", "orders.4", "orders.5", "orders.6", "orders.7",
];

// === impl Load ===

impl Load {
    /// Enough to notice a loss.
    pub const LIGHT: Self = Self { clients: 40, addresses: 4, per_second: 20 };
    /// What a change must be borne under.
    pub const FULL: Self = Self { clients: 200, addresses: 10, per_second: 50 };

    /// Clients that there really are.
    fn everybody(&self) -> usize {
        self.clients / self.addresses * self.addresses
    }
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
        let (give_up, entrance) = (CancellationToken::new(), Arc::new(Semaphore::new(ENTERING)));
        let mut followers = JoinSet::new();
        for _ in 0..load.addresses {
            let browser = Client::new(live.cluster()).await;
            let follower = Follower {
                place: place.clone(),
                entrance: entrance.clone(),
                give_up: give_up.clone(),
            };
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
        everybody_is_there(&app, place.clone(), load.everybody() as u64).await;
        let (stop, ending) = watch::channel(None);
        let publisher = Publisher::new(live, place, load.per_second, ending).await;
        let publisher = tokio::spawn(async move { app.run(|| publisher.run()).await });
        Self { load, started: Instant::now(), followers, publisher, stop, give_up }
    }

    /// Ends it. All was published that was due, and every client has seen
    /// every publication once, in order.
    ///
    /// # Panics
    ///
    /// When that isn't so.
    pub async fn finish(mut self) -> Report {
        let took = self.started.elapsed();
        self.stop.send_replace(Some(Instant::now()));
        let all = self.publisher.await.expect("all were published");
        let mut seen = Vec::new();
        let following = async {
            while let Some(some) = self.followers.join_next().await {
                seen.extend(some.expect("the clients run to their end"));
            }
        };
        if timeout(PATIENCE, following).await.is_err() {
            self.give_up.cancel();
            while let Some(some) = self.followers.join_next().await {
                seen.extend(some.expect("the clients run to their end"));
            }
        }
        assert_eq!(seen.len(), self.load.everybody());
        let unrecovered = seen.iter().filter(|each| each.unrecovered).count();
        assert_eq!(unrecovered, 0, "so many sessions were not recovered");
        for (client, each) in seen.iter().enumerate() {
            for (at, published) in all.iter().enumerate() {
                let who = format!("client {client} on {}", CHANNELS[at]);
                each.assert_all(&who, at, published.last);
            }
        }
        let published: u64 = all.iter().map(|each| each.last).sum();
        let behind = all.iter().map(|each| each.behind).max().unwrap_or_default();
        let ended: Vec<Instant> = seen.into_iter().flat_map(|each| each.ended).collect();
        println!(
            "{} clients, {published} publications due within {took:.1?}, at most {behind:.1?} late; {} connections ended; none lost, none twice",
            self.load.clients,
            ended.len()
        );
        // The last whole second has not begun everywhere.
        let due = took.as_secs().saturating_sub(1) * u64::from(self.load.per_second);
        assert!(published >= due, "{published} of {due} that were due: the machine is too slow");
        Report { published, ended }
    }
}

/// Waits until all clients have subscribed.
async fn everybody_is_there(app: &Client, place: Place, wanted: u64) {
    app.run(async move || {
        let all = async {
            // A client asks for them in this order.
            while place.subscribers(CHANNELS[CHANNELS.len() - 1]).await != wanted {
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("all clients subscribe");
    })
    .await;
}

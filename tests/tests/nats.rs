//! The relay over NATS under faults, and what others than gateways publish.
//!
//! The reference is the stream's content: a gateway's feed must bring exactly
//! that, in its order, each once.
//!
//! # Layout
//!
//! - `faults`: servers that die, stall or leave
//! - `gateways`: several gateways on one stream
//! - `apps`: what apps publish straight
//! - `stream`: the stream and its settings
//! - `room`: history and sessions without room

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use gateway::metrics::Metrics;
use gateway::offset::Position;
use gateway::publication::{NewPublication, Publication};
use gateway::relay::embedded::Clock;
use gateway::relay::jetstream::{JetStreamOptions, JetStreamRelay};
use gateway::relay::{Fanout, FeedItem, Relay as _, Replay};
use gateway::rules::{Rules, SharedRules};
use gateway_config::Relay as RelayConfig;
use tests::nats::Nats;
use tests::relay::{
    Gateway, Setup, channel, join_cluster, keep, keep_nothing, number, numbered, patiently,
};
use tokio::task::JoinHandle;

#[path = "nats/apps.rs"]
mod apps;
#[path = "nats/faults.rs"]
mod faults;
#[path = "nats/gateways.rs"]
mod gateways;
#[path = "nats/room.rs"]
mod room;
#[path = "nats/stream.rs"]
mod stream;

/// What a gateway's first shard got.
type Feed = JoinHandle<Vec<Arc<Publication>>>;

struct Cluster {
    nats: Nats,
    config: RelayConfig,
    rules: SharedRules,
    setup: Setup,
}

impl Cluster {
    fn new(nats: Nats, replicas: usize) -> Self {
        let rules = vec![keep("kept.*", 100_000, 3600), keep_nothing(">")];
        let setup = Setup { shards: 1, tick: None, ..Setup::new(rules.clone()) };
        let config = RelayConfig { url: nats.url(), ..RelayConfig::default() };
        let rules = Rules::new(rules, 1_000).with_replicas(replicas).shared();
        Self { nats, config, rules, setup }
    }

    async fn gateway(&self) -> (Arc<JetStreamRelay>, Gateway, Metrics) {
        self.gateway_at(&self.config).await
    }

    async fn gateway_at(&self, config: &RelayConfig) -> (Arc<JetStreamRelay>, Gateway, Metrics) {
        let metrics = Metrics::default();
        let clock = Clock::system();
        let (relay, gateway) =
            join_cluster(config, &self.rules, &self.setup, clock, metrics.clone()).await;
        (relay, gateway, metrics)
    }

    async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.nats.url().split(',').collect::<Vec<_>>()).await.unwrap()
    }
}

/// Reads a gateway's feed until a number comes.
fn read_until(mut gateway: Gateway, last: u64) -> Feed {
    tokio::spawn(async move {
        let mut got = Vec::new();
        loop {
            match gateway.feeds[0].recv().await.unwrap() {
                FeedItem::Publication(publication) => {
                    let end = number(&publication) == last;
                    got.push(publication);
                    if end {
                        return got;
                    }
                }
                FeedItem::Epoch(_) | FeedItem::Lost(_) => panic!("told of a loss"),
                FeedItem::Fenced { .. } => {}
            }
        }
    })
}

/// Publishes numbers, each again until it is acknowledged, with an id.
async fn publish_patiently(relay: &JetStreamRelay, name: &str, number: u64) {
    let publication =
        NewPublication { id: Some(number.to_string().into()), ..numbered(name, number) };
    patiently("an acknowledgement", async {
        while relay.publish(publication.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// What the stream holds, read by its end.
async fn content(relay: &JetStreamRelay, names: &[&str]) -> Vec<(u64, u64)> {
    let until = relay.head();
    let from = Position { sequence: 0, time: until.epoch, ..until };
    let channels = names.iter().map(|name| (channel(name), 0)).collect();
    let replayed = relay.replay(Replay { from, channels, until, last: None }).await.unwrap();
    assert_eq!(replayed.lost, []);
    pairs(&replayed.publications)
}

fn pairs(publications: &[Arc<Publication>]) -> Vec<(u64, u64)> {
    publications.iter().map(|p| (p.position.unwrap().sequence, number(p))).collect()
}

fn number_of(publication: &Arc<Publication>) -> u64 {
    number(publication)
}

//! Apps that publish, over HTTP or NATS, and count what they were told is
//! stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Scenario;
use super::world::World;
use crate::balancer::Targets;

/// How long a publisher waits for an answer before it tries elsewhere, with
/// the same id.
const ANSWER: Duration = Duration::from_secs(3);
/// Pause of a publisher that was refused.
const AGAIN: Duration = Duration::from_millis(100);

/// How an app publishes.
enum Way {
    Http(Targets, reqwest::Result<reqwest::Client>),
    Nats(Client),
}

// === impl Scenario ===

impl Scenario {
    /// One publisher for each channel, half of them over HTTP and half over
    /// NATS, each with one publication under way at most. What each was told
    /// is stored: the numbers below.
    pub(super) async fn publish(
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

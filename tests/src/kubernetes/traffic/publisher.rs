//! An app that publishes at a steady pace, by HTTP and by NATS.

use std::time::Duration;

use async_nats::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{CHANNELS, Live, PATIENCE, Place};
use crate::{http, nats};

/// Before something is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long NATS may take to acknowledge before it is asked again.
const ACK_WITHIN: Duration = Duration::from_secs(5);

/// The app.
pub(super) struct Publisher {
    place: Place,
    nats: NatsPlace,
    per_second: u32,
    /// When it has said enough.
    stop: watch::Receiver<Option<Instant>>,
}

/// What an app must know to publish by NATS: what `<name>-nats-app` holds, but
/// with addresses, as nobody outside of the cluster can resolve its names.
struct NatsPlace {
    servers: Vec<String>,
    name: String,
    bundle: String,
    user: String,
    password: String,
    prefix: String,
}

/// What was published on one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    /// Its last number; the first is 1.
    pub(super) last: u64,
    /// How late the latest was.
    pub(super) behind: Duration,
}

/// How a channel's publications go out.
enum Way<'a> {
    Http(&'a Place),
    Nats(&'a async_nats::Client, &'a str),
}

// === impl Publisher ===

impl Publisher {
    pub(super) async fn new(
        live: &Live,
        place: Place,
        per_second: u32,
        stop: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let secret = async |key| live.secret("live-nats-app", key).await;
        let servers = live.pods("pushcluster-nats").await;
        let prefix = live.status().await["nats"]["prefix"].as_str().unwrap_or_default().to_owned();
        let nats = NatsPlace {
            servers: servers.iter().map(|(_, address)| format!("tls://{address}:4222")).collect(),
            name: format!("live-nats.{}.svc", live.namespace().name()),
            bundle: secret("ca.crt").await,
            user: secret("username").await,
            password: secret("password").await,
            prefix,
        };
        Self { place, nats, per_second, stop }
    }

    /// Publishes until it is to stop.
    pub(super) async fn run(self) -> Vec<Published> {
        let client = self.nats.connect().await;
        let all = (0..CHANNELS.len()).map(|at| {
            let way = if at < CHANNELS.len() / 2 {
                Way::Http(&self.place)
            } else {
                Way::Nats(&client, &self.nats.prefix)
            };
            self.follow(at, way)
        });
        futures_util::future::join_all(all).await
    }

    /// Publishes numbers on one channel, each when it is due, and then which
    /// was the last. What is late, as no gateway answers or the machine is
    /// slow, piles up as in any app, and goes out as soon as it can; also
    /// after the end what was due before it.
    async fn follow(&self, at: usize, way: Way<'_>) -> Published {
        let pause = Duration::from_secs(CHANNELS.len() as u64) / self.per_second;
        let mut stop = self.stop.clone();
        let (begun, mut published) =
            (Instant::now(), Published { last: 0, behind: Duration::ZERO });
        let mut due = begun;
        loop {
            let end = *stop.borrow_and_update();
            // Who is that late never gets there.
            if end.is_some_and(|end| due >= end || end.elapsed() > PATIENCE) {
                break;
            }
            if due > Instant::now() && end.is_none() {
                tokio::select! {
                    () = sleep_until(due) => {}
                    _ = stop.changed() => continue,
                }
            }
            published.last += 1;
            published.behind = published.behind.max(due.elapsed());
            way.patiently("order", at, published.last).await;
            due += pause;
        }
        way.patiently("end", at, published.last).await;
        published
    }
}

// === impl NatsPlace ===

impl NatsPlace {
    async fn connect(&self) -> async_nats::Client {
        async_nats::ConnectOptions::with_user_and_password(self.user.clone(), self.password.clone())
            .tls_client_config(nats::trusting(&self.bundle, &self.name))
            .request_timeout(Some(ACK_WITHIN))
            .connect(self.servers.as_slice())
            .await
            .expect("apps may connect to NATS")
    }
}

// === impl Way ===

impl Way<'_> {
    /// As an app does that wants its publication out: again until it is taken.
    /// The id makes that harmless.
    async fn patiently(&self, event: &str, at: usize, number: u64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let Err(why) = self.publish(event, at, number).await else { return };
            assert!(Instant::now() < until, "publication {number} on {}: {why}", CHANNELS[at]);
            sleep(PAUSE).await;
        }
    }

    async fn publish(&self, event: &str, at: usize, number: u64) -> Result<(), String> {
        let (channel, id) = (CHANNELS[at], format!("{event}-{number}"));
        let data = json!({"at": at, "number": number});
        match self {
            Self::Http(place) => {
                let body = json!({"channel": channel, "event": event, "data": data, "id": id});
                let url = format!("{}/v1/publish", place.api);
                let request = http::request("POST", &url).bearer_auth(&place.key).json(&body);
                match http::try_send(request).await {
                    Ok(reply) if reply.status == 200 => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }
            Self::Nats(client, prefix) => {
                let mut headers = HeaderMap::new();
                headers.insert("Push-Event", event);
                headers.insert("Nats-Msg-Id", format!("{channel}/{id}"));
                let subject = format!("{prefix}.pub.{channel}");
                let body = data.to_string().into();
                let ack = client.request_with_headers(subject, headers, body).await;
                let ack = ack.map_err(|error| error.to_string())?;
                let said: Value =
                    serde_json::from_slice(&ack.payload).map_err(|error| error.to_string())?;
                // A refusal has a sequence, too: 0.
                let stored = said["error"].is_null() && said["seq"].as_u64() > Some(0);
                if stored { Ok(()) } else { Err(said.to_string()) }
            }
        }
    }
}

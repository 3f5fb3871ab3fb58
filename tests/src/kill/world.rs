//! The gateways and NATS servers that suffer, and the stream that they keep.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Fault;
use crate::Gateway;
use crate::balancer::Targets;
use crate::nats::{Nats, Signal};

const GATEWAYS: usize = 3;
/// How long a gateway may take to find a stream that answers.
const START: Duration = Duration::from_mins(1);

/// Everything that runs.
pub(super) struct World {
    pub(super) nats: Nats,
    config: String,
    gateways: Vec<Option<Gateway>>,
    starting: JoinSet<(usize, Gateway)>,
    pub(super) leaving: Vec<Gateway>,
    pub(super) clients: Targets,
    pub(super) apis: Targets,
}

/// The channel's name and the number: a publication's data.
#[derive(Deserialize)]
struct Data {
    channel: String,
    n: u64,
}

// === impl World ===

impl World {
    pub(super) async fn start() -> Self {
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
    pub(super) async fn wait_until(&mut self, time: Instant) {
        loop {
            tokio::select! {
                Some(started) = self.starting.join_next(), if !self.starting.is_empty() => {
                    self.started(started.expect("starting doesn't panic"));
                }
                () = sleep_until(time) => return,
            }
        }
    }

    pub(super) async fn all_started(&mut self) {
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

    pub(super) async fn suffer(&mut self, fault: Fault) {
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
    pub(super) async fn stored(&self) -> BTreeMap<String, Vec<u64>> {
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

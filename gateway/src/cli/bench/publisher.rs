//! Publications at a steady pace through the HTTP API.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::Bench;
use super::stamp::Stamp;
use super::tally::Tally;
use crate::cli::Failure;
use crate::cli::publish::{is_loopback, read_answer};

/// Publishes that may wait for their answer; what is due meanwhile is skipped
/// and counted, so that a gateway that stands still is not asked for more and
/// more.
const UNDER_WAY: usize = 256;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The app's side of the run.
pub(super) struct Publisher {
    url: reqwest::Url,
    key: Option<String>,
    http: reqwest::Client,
    stamp: Stamp,
    channel: String,
}

#[derive(serde::Serialize)]
struct Request<'a> {
    channel: &'a str,
    data: &'a RawValue,
}

// === impl Publisher ===

impl Publisher {
    /// Checks what was asked for.
    pub(super) fn new(command: &Bench, stamp: Stamp) -> Result<Self, Failure> {
        let mut url = base(&command.api_url, "--api-url", "http://127.0.0.1:8081")?;
        url.set_path(&format!("{}/v1/publish", url.path().trim_end_matches('/')));
        Ok(Self {
            url,
            key: command.api_key.clone(),
            http: client(&command.api_url)?,
            stamp,
            channel: command.channel.clone(),
        })
    }

    /// Publishes at the pace asked for, to one channel after the other. Ends
    /// early when the first publication is refused.
    pub(super) async fn publish(self, command: &Bench, tally: &Arc<Tally>) -> Result<(), Failure> {
        let this = Arc::new(self);
        let mut under_way = JoinSet::new();
        let mut pace = tokio::time::interval(Duration::from_secs(1) / command.rate);
        // Each has its own moment, also when this process is late.
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + command.time.get();
        let mut number = 0;
        loop {
            let due = pace.tick().await;
            if due >= until {
                break;
            }
            let channel = number % command.channels;
            number = number.wrapping_add(1);
            while under_way.try_join_next().is_some() {}
            if tally.published() == 0
                && let Some(refusal) = tally.refusal()
            {
                return Err(refusal);
            }
            if under_way.len() >= UNDER_WAY {
                tally.skip();
                continue;
            }
            let (this, tally) = (this.clone(), tally.clone());
            under_way.spawn(async move {
                let sent = Instant::now();
                match this.one(channel, due).await {
                    Ok(()) => tally.publish(channel, sent.elapsed()),
                    Err(failure) => tally.refuse(failure),
                }
            });
        }
        while under_way.join_next().await.is_some() {}
        match tally.refusal() {
            Some(refusal) if tally.published() == 0 => Err(refusal),
            _ => Ok(()),
        }
    }

    async fn one(&self, channel: u32, due: Instant) -> Result<(), Failure> {
        let not_json = |error| Failure::Refused(format!("the publication is not JSON: {error}"));
        let data = RawValue::from_string(self.stamp.data(due)).map_err(not_json)?;
        let channel = format!("{}.{channel}", self.channel);
        let body = serde_json::to_vec(&Request { channel: &channel, data: &data });
        let mut request = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .timeout(ANSWER)
            .body(body.map_err(not_json)?);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let lost = |error: reqwest::Error| {
            Failure::Unreachable(format!(
                "the API at {} does not answer: {}",
                self.url.origin().ascii_serialization(),
                root(&error.without_url())
            ))
        };
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status().as_u16();
        read_answer(status, &answer.bytes().await.map_err(lost)?).map(drop)
    }
}

/// A URL of a listener.
pub(super) fn base(url: &str, flag: &str, example: &str) -> Result<reqwest::Url, Failure> {
    let parsed = url.parse::<reqwest::Url>().ok();
    let good = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    parsed.filter(good).ok_or_else(|| {
        Failure::Refused(format!("{flag}: `{url}` is not such a URL; write it as in {example}"))
    })
}

/// Requests to it.
pub(super) fn client(url: &str) -> Result<reqwest::Client, Failure> {
    let mut client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .pool_max_idle_per_host(UNDER_WAY);
    if url.parse().is_ok_and(|url| is_loopback(&url)) {
        // A proxy would look for the gateway on its own machine.
        client = client.no_proxy();
    }
    client.build().map_err(|error| Failure::Unreachable(root(&error)))
}

/// Libraries keep the reason in their errors' sources.
pub(super) fn root(error: &dyn std::error::Error) -> String {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

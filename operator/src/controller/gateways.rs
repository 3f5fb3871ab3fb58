//! What gateways say of themselves, and what follows from it for their pods.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;

use super::live::PodLive;
use super::names::port;

#[cfg(test)]
mod tests;

/// Time between two looks at a gateway.
pub const EVERY: Duration = Duration::from_secs(10);
/// A gateway that takes longer is not asked again before the next look.
const PATIENCE: Duration = Duration::from_secs(2);
/// Gateways asked at once.
const AT_ONCE: usize = 16;
/// A gateway takes no new clients while it holds more than this share of the
/// mean, in percent…
const OVERFULL_PERCENT: u64 = 120;
/// …and so many connections more than the mean.
const OVERFULL_BY: u64 = 50;

/// A gateway's `/status`. Unknown fields are a newer gateway's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatus {
    /// Its version.
    pub version: String,
    /// Clients' connections.
    pub connections: u64,
    /// Whether it takes new clients.
    pub accepting: bool,
    /// Whether it is sending its clients away.
    pub draining: bool,
    /// Sessions that it still has to send away.
    pub drain_remaining: Option<u64>,
    /// Which configuration it has loaded.
    pub config_hash: String,
    /// Its way to NATS.
    pub nats: NatsSeen,
    /// Publications that it has not seen yet.
    pub lag: u64,
}

/// A gateway's way to NATS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsSeen {
    /// Whether publications go through.
    pub connected: bool,
    /// What is wrong.
    pub error: Option<String>,
    /// The server's version.
    pub version: Option<String>,
}

/// What came of asking a gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// It answered.
    Status(GatewayStatus),
    /// It didn't, and why.
    Silent(String),
}

/// Asks every gateway that has an address.
pub async fn ask(
    http: &reqwest::Client,
    pods: &[PodLive],
    token: Option<&str>,
) -> BTreeMap<String, Seen> {
    let asked = pods.iter().filter_map(|pod| Some((pod.name.clone(), pod.ip.clone()?)));
    stream::iter(asked.collect::<Vec<_>>())
        .map(|(name, ip)| async move { (name, ask_one(http, &ip, token).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn ask_one(http: &reqwest::Client, ip: &str, token: Option<&str>) -> Seen {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let mut request = http.get(format!("http://{host}:{}/status", port::ADMIN)).timeout(PATIENCE);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = async { request.send().await?.error_for_status()?.json().await };
    match answer.await {
        Ok(status) => Seen::Status(status),
        Err(error) => {
            let reason = if error.is_timeout() {
                "no answer within 2 s".to_owned()
            } else {
                error.without_url().to_string()
            };
            Seen::Silent(reason)
        }
    }
}

/// Which pods' label `pushcluster.io/accepting` must change, and to what.
///
/// A gateway gets no new clients that drains, is full, or holds many more
/// connections than the others; but one always does.
pub fn accepting(
    pods: &[PodLive],
    seen: &BTreeMap<String, Seen>,
    full: u64,
) -> Vec<(String, bool)> {
    let known: Vec<(&PodLive, &GatewayStatus)> = pods
        .iter()
        .filter(|pod| pod.ready && !pod.deleting)
        .filter_map(|pod| match seen.get(&pod.name)? {
            Seen::Status(status) => Some((pod, status)),
            Seen::Silent(_) => None,
        })
        .collect();
    let Some(mean) = known
        .iter()
        .map(|(_, status)| status.connections)
        .sum::<u64>()
        .checked_div(known.len() as u64)
    else {
        return Vec::new();
    };
    let fits = |status: &GatewayStatus| {
        let overfull = status.connections * 100 > mean * OVERFULL_PERCENT
            && status.connections >= mean + OVERFULL_BY;
        status.accepting && !status.draining && status.connections < full && !overfull
    };
    let mut wanted: Vec<(&PodLive, bool, u64)> =
        known.iter().map(|(pod, status)| (*pod, fits(status), status.connections)).collect();
    let someone = wanted.iter().any(|(_, fits, _)| *fits)
        // Those that nobody has asked stay as they are.
        || pods.iter().any(|pod| {
            pod.ready && !pod.deleting && pod.accepting
                && !wanted.iter().any(|(known, ..)| known.name == pod.name)
        });
    if !someone && let Some(emptiest) = wanted.iter_mut().min_by_key(|(.., count)| *count) {
        emptiest.1 = true;
    }
    wanted
        .into_iter()
        .filter(|(pod, fits, _)| pod.accepting != *fits)
        .map(|(pod, fits, _)| (pod.name.clone(), fits))
        .collect()
}

/// What each pod costs to delete: its connections, so that a scale-down takes
/// the emptiest. Those whose cost is right already are left out.
pub fn deletion_costs(pods: &[PodLive], seen: &BTreeMap<String, Seen>) -> Vec<(String, u64)> {
    pods.iter()
        .filter(|pod| !pod.deleting)
        .filter_map(|pod| {
            let Seen::Status(status) = seen.get(&pod.name)? else { return None };
            // One that drains is on its way out.
            let cost = if status.draining { 0 } else { status.connections.min(i32::MAX as u64) };
            (pod.cost.as_deref() != Some(&cost.to_string())).then(|| (pod.name.clone(), cost))
        })
        .collect()
}

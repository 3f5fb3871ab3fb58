//! `bench`: puts load on a running gateway or cluster, within bounds, and says
//! how long its deliveries took.
//!
//! One process and one thread: clients, publishers and clock are the same, so
//! a delay is the difference of two readings of one clock. A delay counts from
//! the moment at which a publication was due, not from when it was sent: a
//! gateway that holds the publisher up is not measured as fast.
//!
//! # Layout
//!
//! - `client`: one client of each protocol, up to its end
//! - `publisher`: publications at a steady pace through the HTTP API
//! - `stamp`: what a publication carries to be recognized
//! - `tally`: what was counted
//! - `report`: the tally in words, or as JSON

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gateway_config::Period;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Failure, output};
use client::Target;
use publisher::Publisher;
use stamp::Stamp;
use tally::Tally;

mod client;
mod publisher;
mod report;
mod stamp;
mod tally;
#[cfg(test)]
mod tests;

/// Longest run: it is a load test, not a service.
const LONGEST: Duration = Duration::from_hours(1);
/// Clients that connect at the same time.
const CONNECTING: usize = 256;
/// After the last publication, and with deliveries missing, the end comes
/// when nothing has come for so long.
const SILENCE: Duration = Duration::from_secs(3);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

/// Arguments of `bench`.
#[derive(Args)]
pub struct Bench {
    /// Clients that connect and subscribe
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
    /// Channels, over which clients and publications are spread evenly
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=20_000))]
    channels: u32,
    /// Publications a second, over all channels
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long to publish, as in 30s or 5m; an hour at most
    #[arg(long, value_name = "TIME", default_value = "10s")]
    time: Period,
    /// Bytes of a publication's data
    #[arg(long, value_name = "BYTES", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    size: u32,
    /// New connections a second
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connect_rate: u32,
    /// What clients speak
    #[arg(long, value_enum, default_value_t = Protocol::Socketio)]
    protocol: Protocol,
    /// The channels are NAME.0, NAME.1 and so on: so it chooses their rule.
    /// Whoever else is subscribed to them gets what is published
    #[arg(long, value_name = "NAME", default_value = "bench")]
    channel: String,
    /// Where clients connect
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Where the gateway's HTTP API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    api_url: String,
    /// A token (JWT), where clients need one
    #[arg(long, value_name = "JWT", env = "PUSHCLUSTER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The API key, where the API needs one
    #[arg(long, value_name = "KEY", env = "PUSHCLUSTER_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Socket.IO over a WebSocket
    Socketio,
    /// The plain WebSocket
    Websocket,
    /// Server-Sent Events
    Sse,
}

pub(super) async fn run(command: Bench) -> ExitCode {
    match measure(&command).await {
        Ok(outcome) => {
            let text = if command.json { outcome.to_json() } else { outcome.to_text() };
            // Whoever closed stdout still gets the exit code.
            let _ = output::line(&text);
            if outcome.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(failure) => failure.report(),
    }
}

/// From the first connection to the last delivery, or Ctrl-C.
async fn measure(command: &Bench) -> Result<report::Outcome, Failure> {
    if command.time.get() > LONGEST || command.time.get().is_zero() {
        return Err(Failure::Refused("--time is between 1s and 1h".to_owned()));
    }
    let stamp = Stamp::new(command.size as usize);
    let target = Arc::new(Target::new(command, stamp.clone())?);
    let publisher = Publisher::new(command, stamp)?;
    let tally = Arc::new(Tally::new(command.channels));
    let stop = CancellationToken::new();
    let mut clients = JoinSet::new();

    let interrupted = async {
        // If signals can't be had, Ctrl-C ends the process as it always did.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let (begun, publishing) = (Instant::now(), Cell::new(None));
    let load = async {
        connect(command, &target, &tally, &stop, &mut clients).await?;
        output::note(&format!(
            "{} of {} clients are subscribed",
            tally.subscribed(),
            command.clients
        ));
        publishing.set(Some(Instant::now()));
        publisher.publish(command, &tally).await?;
        settle(&tally).await;
        Ok(())
    };
    let ended = tokio::select! {
        ended = load => ended,
        () = progress(&tally, begun) => Ok(()),
        () = interrupted => {
            output::note("interrupted; so far:");
            Ok(())
        }
    };
    stop.cancel();
    while clients.join_next().await.is_some() {}
    ended?;
    let now = Instant::now();
    let publishing = publishing.get().unwrap_or(now);
    let spent = report::Spent {
        connecting: publishing - begun,
        publishing: (now - publishing).min(command.time.get()),
    };
    Ok(report::Outcome::new(command, &tally, spent))
}

/// Connects all clients at the pace asked for. Good when at least one is
/// subscribed; the reasons of the others are in the tally.
async fn connect(
    command: &Bench,
    target: &Arc<Target>,
    tally: &Arc<Tally>,
    stop: &CancellationToken,
    clients: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let room = Arc::new(Semaphore::new(CONNECTING));
    let changed = Arc::new(Notify::new());
    let mut pace = tokio::time::interval(Duration::from_secs(1) / command.connect_rate);
    for number in 0..command.clients {
        pace.tick().await;
        // The semaphore is never closed.
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        // What is refused once is refused again: a wrong token, a wrong URL.
        if tally.subscribed() == 0
            && let Some(failure) = tally.refusal()
        {
            return Err(failure);
        }
        let (target, tally, stop, changed) =
            (target.clone(), tally.clone(), stop.clone(), changed.clone());
        let channel = number % command.channels;
        clients.spawn(async move {
            let ready = || {
                tally.subscribe(channel);
                drop(permit);
                changed.notify_one();
            };
            let life = target.live(channel, &tally, ready);
            tokio::select! {
                ended = life => tally.end(ended),
                () = stop.cancelled() => {}
            }
            changed.notify_one();
        });
    }
    while tally.settled() < command.clients {
        changed.notified().await;
    }
    match tally.first_failure() {
        Some(failure) if tally.subscribed() == 0 => Err(failure),
        _ => Ok(()),
    }
}

/// Until all that was published has come, or nothing comes any more.
async fn settle(tally: &Tally) {
    let (mut seen, mut since) = (tally.delivered(), Instant::now());
    while tally.delivered() < tally.expected() && since.elapsed() < SILENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if tally.delivered() > seen {
            (seen, since) = (tally.delivered(), Instant::now());
        }
    }
}

/// One line a second. Never ends.
async fn progress(tally: &Tally, begun: Instant) {
    let mut ticks = tokio::time::interval(PROGRESS);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        output::note(&report::progress(tally, begun.elapsed()));
    }
}

// === impl Bench ===

/// Without the token and the key.
impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench")
            .field("clients", &self.clients)
            .field("channels", &self.channels)
            .field("rate", &self.rate)
            .field("time", &self.time)
            .field("protocol", &self.protocol)
            .field("url", &self.url)
            .field("api_url", &self.api_url)
            .finish_non_exhaustive()
    }
}

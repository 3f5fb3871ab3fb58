//! Clients and attackers come and go for as long as you like, each under new
//! names: users, tokens, channels, session ids, addresses. When all are gone
//! the gateway's memory is what it was after the first ones went.
//!
//! # Layout
//!
//! - `visitor`: a good client's life, over and over

// Sizes that are shown.
#![allow(clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Gateway;
use crate::hostile::attackers::{Attackers, Forces};
use crate::hostile::look::Look;
use crate::hostile::{addresses, config};
use crate::token::sha256;

mod visitor;

use visitor::Visits;

/// Memory at the end is at most so much more than it was.
const GROWTH: f64 = 0.05;
/// A key for what only apps do.
const KEY: &str = "the-churns-own-key";
/// All are gone within this.
const EMPTY: Duration = Duration::from_mins(2);
/// Sessions can come back for so long, and are forgotten then.
const RECOVERY: Duration = Duration::from_secs(30);

/// How much, and for how long.
#[derive(Clone, Debug)]
pub struct Churn {
    /// Good clients at any time.
    pub visitors: usize,
    /// Attackers at any time.
    pub forces: Forces,
    /// From the begin to the first look at what is left.
    pub warm: Duration,
    /// From then on.
    pub time: Duration,
    /// From when all are gone until what is left is looked at: what lingers
    /// for a while (channels, sessions that may come back, publications' ids)
    /// is gone, too.
    pub calm: Duration,
    /// Between two lines of the series.
    pub every: Duration,
    /// More of the gateway's section `socketio`.
    pub socketio: &'static str,
    /// More of its configuration.
    pub config: String,
}

/// The gateway at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Since the begin.
    pub at: Duration,
    /// Resident memory in KiB.
    pub memory: u64,
    /// Client connections.
    pub connections: f64,
    /// Subscriptions.
    pub subscriptions: f64,
    /// Revocations that are remembered.
    pub revocations: f64,
    /// Connections that there were, all in all.
    pub opened: f64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When the first ones had gone, and when all had.
    pub calm: [Sample; 2],
    /// Visits of good clients.
    pub visits: u64,
    /// Visits that did not go as they should, with the first one's reason.
    pub failed: Option<(u64, String)>,
    /// Sessions that a fault of the gateway ended.
    pub panicked: f64,
    /// What the attackers counted.
    pub attacks: BTreeMap<String, u64>,
}

// === impl Churn ===

impl Churn {
    /// So many minutes of it; all in all five minutes longer.
    pub fn minutes(minutes: u64) -> Self {
        let warm = Duration::from_mins(2);
        Self {
            visitors: 300,
            forces: Forces { slow: 200, deaf: 100, flood: 30, bad: 200 },
            warm,
            time: Duration::from_mins(minutes).saturating_sub(warm),
            calm: Duration::from_secs(150),
            every: Duration::from_secs(10),
            socketio: "",
            config: String::new(),
        }
    }

    /// Runs it; prints the series.
    ///
    /// # Errors
    ///
    /// When the gateway doesn't become empty.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let recovery = RECOVERY.min(self.calm).as_secs().max(1);
        let more = format!(
            "api: {{keys: [{{name: churn, scopes: [publish, read, admin], sha256: '{}'}}]}}\n\
             socketio: {{recovery: {{maxDisconnection: {recovery}s}}, {}}}\n{}",
            sha256(KEY),
            self.socketio,
            self.config
        );
        let gateway = Arc::new(Gateway::start(&config(&more)));
        let begin = Instant::now();
        let visits = Arc::new(Visits::default());
        let mut report = Report::default();
        println!("{}", Sample::HEAD);
        for (index, time) in [self.warm, self.time].into_iter().enumerate() {
            let attacks = self.crowd(&gateway, &visits, begin, time).await?;
            for (name, count) in attacks {
                *report.attacks.entry(name).or_default() += count;
            }
            self.until_empty(&gateway).await?;
            let end = Instant::now() + self.calm;
            while Instant::now() < end {
                sleep(self.every.min(end - Instant::now())).await;
                println!("{}", Sample::of(&gateway, begin).await);
            }
            report.calm[index] = Sample::of(&gateway, begin).await;
            println!("{}  <- all are gone", report.calm[index]);
        }
        (report.visits, report.failed) = visits.counted();
        report.panicked = Look::at(&gateway).await.sum("push_session_panics_total");
        Ok(report)
    }

    /// All of them, for so long; then none.
    async fn crowd(
        &self,
        gateway: &Arc<Gateway>,
        visits: &Arc<Visits>,
        begin: Instant,
        time: Duration,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        let attackers = Attackers::start(addresses(gateway)?.0, self.forces);
        let mut visitors = JoinSet::new();
        for _ in 0..self.visitors {
            let (gateway, visits) = (gateway.clone(), visits.clone());
            visitors.spawn(async move { visits.one_after_the_other(&gateway).await });
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep(self.every.min(end - Instant::now())).await;
            println!("{}", Sample::of(gateway, begin).await);
        }
        // A visit is not cut short: it would not count.
        visits.close(true);
        while let Some(ended) = visitors.join_next().await {
            ended.context("a visitor")?;
        }
        visits.close(false);
        Ok(attackers.stop().await)
    }

    async fn until_empty(&self, gateway: &Gateway) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let sample = Sample::of(gateway, begin).await;
            if sample.connections < 0.5 && sample.subscriptions < 0.5 {
                return Ok(());
            }
            ensure!(begin.elapsed() < EMPTY, "somebody is still there: {sample}");
            sleep(Duration::from_millis(500)).await;
        }
    }
}

// === impl Sample ===

impl Sample {
    /// The columns.
    pub const HEAD: &str = "     s      KiB  connections  subscriptions  revocations    opened";

    async fn of(gateway: &Gateway, begin: Instant) -> Self {
        let look = Look::at(gateway).await;
        Self {
            at: begin.elapsed(),
            memory: gateway.resident_kib(),
            connections: look.sum("push_connections"),
            subscriptions: look.sum("push_subscriptions"),
            revocations: look.sum("push_revocations"),
            opened: look.sum("push_connections_opened_total"),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, memory, connections, subscriptions, revocations, opened } = self;
        write!(
            f,
            "{:6} {memory:8} {connections:12} {subscriptions:14} {revocations:12} {opened:9}",
            at.as_secs()
        )
    }
}

// === impl Report ===

impl Report {
    /// How much more memory there is at the end, as a part of what there was.
    pub fn growth(&self) -> f64 {
        let [before, after] = self.calm.map(|sample| sample.memory as f64);
        after / before.max(1.0) - 1.0
    }

    /// What is not as it should be, but for memory.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some((count, reason)) = &self.failed {
            reasons.push(format!("{count} of {} visits failed; one: {reason}", self.visits));
        }
        if self.panicked > 0.5 {
            reasons.push(format!("{} sessions panicked", self.panicked));
        }
        reasons
    }

    /// All that is not as it should be.
    pub fn all_reasons(&self) -> Vec<String> {
        let mut reasons = self.reasons();
        if self.growth() > GROWTH {
            reasons.push(format!("memory grew by {:.1} %", self.growth() * 100.0));
        }
        reasons
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = self.calm;
        writeln!(f, "\n{} visits of good clients; the attackers' count:", self.visits)?;
        for (name, count) in &self.attacks {
            writeln!(f, "  {name}: {count}")?;
        }
        writeln!(
            f,
            "\nwith nobody there: {} KiB after {} s, {} KiB after {} s: {:+.1} %",
            before.memory,
            before.at.as_secs(),
            after.memory,
            after.at.as_secs(),
            self.growth() * 100.0
        )?;
        let reasons = self.all_reasons();
        if reasons.is_empty() {
            write!(f, "ok")
        } else {
            write!(f, "FAILED: {}", reasons.join("; "))
        }
    }
}

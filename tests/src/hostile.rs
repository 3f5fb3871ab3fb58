//! Thousands of good clients while others attack the same gateway: how late
//! publications come then, and how late they come without the attackers.
//!
//! The gateway has one core; good clients, publisher and attackers share
//! another, the attackers at a lower priority. Nothing leaves the machine.
//!
//! # Layout
//!
//! - [`attackers`]: who attacks, and what is counted of it
//! - `slow`, `deaf`, `flood`, `bad`: each kind of attacker
//! - [`good`]: the clients that must notice nothing, and who publishes to them
//! - [`role`]: processes beside this one: cores and priorities
//! - [`look`]: what the gateway uses, and what it counts
//! - [`report`]: what came of it

// Counts, times and sizes that are shown.
#![allow(clippy::cast_precision_loss)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bench::cores::{Cores, pin};

use crate::Gateway;
use crate::token::SECRET;

pub mod attackers;
mod bad;
mod deaf;
mod flood;
pub mod good;
pub mod look;
pub mod report;
pub mod role;
mod slow;

use attackers::Forces;
use good::Audience;
use look::Look;
use report::{Phase, Report};
use role::Role;

/// Time in which connections are made ready before anything is measured.
const WARM: Duration = Duration::from_secs(5);
/// Time from the attackers' begin until it is measured: all of them are there,
/// and the first were cut off.
const ONSET: Duration = Duration::from_secs(12);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// The good clients.
    pub audience: Audience,
    /// The attackers.
    pub forces: Forces,
    /// Each of the two measurements.
    pub time: Duration,
    /// More of the gateway's configuration: YAML at the top level.
    pub config: String,
}

// === impl Hostile ===

impl Hostile {
    /// As it is published in docs/performance.md; about 90 seconds.
    pub fn whole() -> Self {
        Self {
            audience: Audience::WHOLE,
            forces: Forces::WHOLE,
            time: Duration::from_secs(30),
            config: String::new(),
        }
    }

    /// A tenth of everybody, for a few seconds: to see that it works.
    pub fn small() -> Self {
        Self {
            audience: Audience { clients: 200, channels: 10, per_second: 50 },
            forces: Forces { slow: 100, deaf: 50, flood: 20, bad: 50 },
            time: Duration::from_secs(5),
            config: String::new(),
        }
    }

    /// Runs it with processes of this program, each on its core.
    ///
    /// # Errors
    ///
    /// When the gateway, a process or a good client fails altogether.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let cores = Cores::here()?;
        pin(cores.server)?;
        let gateway = Gateway::start(&config(&self.config));
        pin(cores.others)?;
        let (client, api) = addresses(&gateway)?;
        let mut good = Role::good(&cores, client, api, &self.audience)?;
        let priority = good.ready().await?;
        good.measure(WARM).await?;
        let quiet = self.phase(&gateway, &mut good).await?;
        let before = Look::at(&gateway).await;
        let mut attackers = Role::attackers(&cores, client, &self.forces)?;
        good.measure(ONSET).await?;
        let hostile = self.phase(&gateway, &mut good).await?;
        let attacks = attackers.finish().await?;
        let counted = Look::at(&gateway).await.since(&before);
        let panicked = Look::at(&gateway).await.sum("push_session_panics_total");
        Ok(Report {
            due_per_second: self.audience.deliveries_per_second(),
            cores,
            priority,
            quiet,
            hostile,
            forces: self.forces,
            attacks,
            counted,
            panicked,
        })
    }

    async fn phase(&self, gateway: &Gateway, good: &mut Role) -> anyhow::Result<Phase> {
        let watch = look::Watch::start(gateway.pid());
        let figures = good.measure(self.time).await?;
        Ok(Phase { figures, used: watch.stop() })
    }
}

/// The gateway's configuration: what makes bad handshakes bad, and who may do
/// what. Limits are as they come, unless `more` says otherwise.
pub fn config(more: &str) -> String {
    format!(
        "client: {{allowedOrigins: ['https://app.example.com']}}\n\
         auth: {{anonymous: true, jwt: {{secret: {SECRET}}}}}\n\
         channels:\n\
         - {{match: 'good.>', anonymous: true}}\n\
         - {{match: 'deaf.>', anonymous: true}}\n\
         - {{match: 'flood.>', anonymous: true, clientPublish: true}}\n\
         - {{match: 'visit.>', anonymous: true, clientPublish: true}}\n\
         {more}\n"
    )
}

/// Where its clients and apps connect.
///
/// # Errors
///
/// When it has printed no addresses.
pub fn addresses(gateway: &Gateway) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let client = gateway.client_address().parse().context("the client listener's address")?;
    let api = gateway.api().trim_start_matches("http://").parse();
    Ok((client, api.context("the API's address")?))
}

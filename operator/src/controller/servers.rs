//! Servers of managed NATS: whether they use the certificate and the
//! configuration that they should, and telling those that don't to read them
//! again. docs/decisions/nats-reload.md says why in this way.
//!
//! A server takes both without a restart and without losing a connection.
//! What it uses it is asked afterwards, and only then its pod is marked; so a
//! server is asked once for each change, not at every look.

use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use futures_util::future::join_all;
use k8s_openapi::jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;

use super::apply;
use super::context::Context;
use super::kinds::Kind;
use super::live::PodLive;
use super::memory::{Behind, Memory};
use super::names::{LOADED, NUDGED, port};
use super::plan::{Loaded, ManagedPlan, Plan};
use super::secrets::{BUNDLE, NATS_SYSTEM};
use super::validate::Found;
use crate::crd::SecretKey;

#[cfg(test)]
mod tests;

/// A server that takes longer is asked again later.
const PATIENCE: Duration = Duration::from_secs(3);
/// Kubernetes mounts what is new within so long after a pod was changed.
const MOUNTED: Duration = Duration::from_secs(8);
/// One that could not be asked is asked again after so long.
const AGAIN: Duration = Duration::from_secs(30);
/// A server that starts reads everything itself. One that is not ready after so
/// many seconds may be waiting for others whose configuration it has not got:
/// they encrypt what they say to each other, and it does not.
const STARTS_WITHIN: i64 = 30;
/// After so long it is worth a person's time.
const WORTH_SAYING: Duration = Duration::from_mins(5);

/// Why a server doesn't use yet what it should.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No way to it.
    #[error("the operator cannot reach it: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// It didn't answer.
    #[error("it does not answer: {0}")]
    Request(#[from] async_nats::RequestError),
    /// Its answer is none.
    #[error("its answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
    /// Another server has its name.
    #[error("at its address there is \"{0}\"")]
    Other(String),
    /// It refused.
    #[error("it refuses: {0}")]
    Refused(String),
    /// It has read something else.
    #[error("it has not got it yet")]
    Old,
    /// The authorities can't be read.
    #[error("the authorities' certificates cannot be read: {0}")]
    Authorities(String),
    /// It takes too long.
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Slow,
}

/// An answer of a server's, as all of the system account are.
#[derive(Debug, Deserialize)]
struct Answer<T> {
    data: Option<T>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(default)]
    description: String,
}

/// What a server says of itself, as far as it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Varz {
    tls_required: bool,
    tls_cert_not_after: Option<Timestamp>,
    cluster: Routes,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Routes {
    tls_required: bool,
}

/// What is to be done with a server now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing.
    Wait,
    /// Its pod is new: it may have read the right thing when it started.
    Look,
    /// Its pod is changed, so that Kubernetes mounts what is new.
    Nudge,
    /// It is told to read again, and asked what came of it.
    Reload,
}

/// How to speak to the servers.
pub struct Way {
    password: String,
    tls: rustls::ClientConfig,
}

/// Sees to it that every server uses what it should.
pub async fn keep_loaded(context: &Context, plan: &Plan, found: &Found, memory: &mut Memory) {
    let Some(managed) = plan.managed_nats() else { return };
    let pods = context.world.servers(&plan.names);
    memory.servers.retain(|name, _| pods.iter().any(|pod| pod.name == *name));
    let renewed = context
        .world
        .get(Kind::StatefulSet, &plan.names.namespace, &plan.names.nats())
        .and_then(|live| live.workload)
        .is_some_and(|all| all.observed && all.updated == all.wanted);
    if !renewed {
        // What is old has yet to learn TLS.
        return;
    }
    let wanted = &managed.loaded.hash;
    let now = Timestamp::now().as_second();
    memory.servers.retain(|name, _| {
        pods.iter().any(|pod| pod.name == *name && pod.loaded.as_ref() != Some(wanted))
    });
    let behind: Vec<_> =
        pods.iter().filter(|pod| runs(pod, now) && pod.loaded.as_ref() != Some(wanted)).collect();
    if behind.is_empty() {
        return;
    }
    let way = &match way(plan, found) {
        Ok(way) => way,
        Err(error) => {
            tracing::warn!(cluster = %plan.names, "NATS servers cannot be told: {error}");
            return;
        }
    };
    let steps = behind.iter().map(|pod| (*pod, step(pod, wanted, memory.servers.get(&pod.name))));
    let done = join_all(steps.map(async |(pod, step)| {
        let result = match step {
            Step::Wait => return None,
            Step::Nudge => Ok(()),
            Step::Look | Step::Reload => {
                let host = format!("{}.{}", pod.name, plan.names.host(&plan.names.nats()));
                let url = format!("tls://{host}:{}", port::NATS);
                let wanted = &managed.loaded;
                let asked =
                    async move { way.ask(&url, &pod.name, wanted, step == Step::Reload).await };
                tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(ServerError::Slow))
            }
        };
        Some((pod, step, result))
    }))
    .await;
    for (pod, step, result) in done.into_iter().flatten() {
        settle(context, plan, managed, memory, pod, step, result).await;
    }
}

/// Whether a server can be asked: it is ready, or should have been long ago.
fn runs(pod: &PodLive, now: i64) -> bool {
    let late = pod.started.is_some_and(|started| now - started >= STARTS_WITHIN);
    !pod.deleting && (pod.ready || (pod.ip.is_some() && late))
}

/// What is to be done with a server that is behind.
fn step(pod: &PodLive, wanted: &str, known: Option<&Behind>) -> Step {
    let nudged = pod.nudged.as_deref() == Some(wanted);
    match known {
        Some(known) if known.trouble.is_some() && known.asked.elapsed() < AGAIN => Step::Wait,
        None if pod.loaded.is_none() && !nudged => Step::Look,
        _ if !nudged => Step::Nudge,
        Some(Behind { nudged: Some(when), .. }) if when.elapsed() < MOUNTED => Step::Wait,
        _ => Step::Reload,
    }
}

async fn settle(
    context: &Context,
    plan: &Plan,
    managed: &ManagedPlan,
    memory: &mut Memory,
    pod: &PodLive,
    step: Step,
    result: Result<(), ServerError>,
) {
    let now = Instant::now();
    let wanted = &managed.loaded.hash;
    let fresh = Behind { since: now, asked: now, nudged: None, trouble: None };
    let behind = memory.servers.entry(pod.name.clone()).or_insert(fresh);
    behind.asked = now;
    behind.trouble = None;
    match (step, result) {
        (Step::Nudge, _) | (Step::Look, Err(ServerError::Old)) => {
            behind.nudged = Some(now);
            mark(context, plan, pod, NUDGED, wanted).await;
        }
        (_, Ok(())) => {
            if step == Step::Reload {
                tracing::info!(cluster = %plan.names, server = pod.name, "a NATS server has read its configuration and certificate again");
            }
            memory.servers.remove(&pod.name);
            mark(context, plan, pod, LOADED, wanted).await;
        }
        (_, Err(error)) => {
            tracing::debug!(cluster = %plan.names, server = pod.name, "{error}");
            behind.trouble = Some(error.to_string());
        }
    }
}

async fn mark(context: &Context, plan: &Plan, pod: &PodLive, annotation: &str, value: &str) {
    // A new pod has the name of the one before.
    let patch = json!({"metadata": {"uid": pod.uid, "annotations": {annotation: value}}});
    apply::patch_pod(context, &plan.names, &pod.name, &patch).await;
}

/// Servers that have been behind for long, in words.
pub fn late(plan: &Plan, memory: &Memory) -> Vec<String> {
    let Some(managed) = plan.managed_nats() else { return Vec::new() };
    memory
        .servers
        .iter()
        .filter(|(_, behind)| behind.since.elapsed() >= WORTH_SAYING)
        .map(|(name, behind)| {
            let why = behind.trouble.as_deref().unwrap_or("it has not got it yet");
            let until = Timestamp::from_second(managed.loaded.until)
                .map_or_else(|_| String::new(), |until| format!(" (the new one holds until {until})"));
            format!("NATS server {name} does not use its newest configuration or certificate{until}: {why}; delete the pod if that stays")
        })
        .collect()
}

/// A request to one server, in the system account.
async fn request<T: for<'de> Deserialize<'de>>(
    client: &Client,
    server: &str,
    what: &str,
) -> Result<Option<T>, ServerError> {
    let message = client.request(format!("$SYS.REQ.SERVER.{server}.{what}"), "".into()).await?;
    let answer: Answer<T> = serde_json::from_slice(&message.payload)?;
    match answer.error {
        Some(refusal) => Err(ServerError::Refused(refusal.description)),
        None => Ok(answer.data),
    }
}

fn way(plan: &Plan, found: &Found) -> Result<Way, ServerError> {
    let value = |name: String, key: &str| {
        let at = SecretKey { name, key: key.to_owned() };
        found.values.get(&at).map_or("", String::as_str)
    };
    Way::new(value(plan.names.internal(), NATS_SYSTEM), value(plan.names.nats_tls(), BUNDLE))
}

// === impl Varz ===

impl Varz {
    fn is(&self, wanted: &Loaded) -> bool {
        self.tls_cert_not_after.is_some_and(|until| until.as_second() == wanted.until)
            && self.cluster.tls_required == wanted.routes
            && self.tls_required == wanted.clients
    }
}

// === impl Way ===

impl Way {
    /// As the system account's user, to servers that `bundle` vouches for.
    pub fn new(password: &str, bundle: &str) -> Result<Self, ServerError> {
        let failed = |error: &dyn std::fmt::Display| ServerError::Authorities(error.to_string());
        let mut roots = RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(one.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { password: password.to_owned(), tls })
    }

    /// Asks the server of this name whether it uses what it should; before, if
    /// `reload`, it is told to read again.
    pub async fn ask(
        &self,
        url: &str,
        name: &str,
        wanted: &Loaded,
        reload: bool,
    ) -> Result<(), ServerError> {
        let client = self.connect(url).await?;
        let server = client.server_info();
        if server.server_name != name {
            return Err(ServerError::Other(server.server_name));
        }
        if reload {
            request::<serde_json::Value>(&client, &server.server_id, "RELOAD").await?;
        }
        let varz = request::<Varz>(&client, &server.server_id, "VARZ").await?;
        if varz.is_some_and(|varz| varz.is(wanted)) { Ok(()) } else { Err(ServerError::Old) }
    }

    async fn connect(&self, url: &str) -> Result<Client, async_nats::ConnectError> {
        ConnectOptions::with_user_and_password("system".to_owned(), self.password.clone())
            .name("push-operator")
            .require_tls(true)
            .tls_client_config(self.tls.clone())
            .ignore_discovered_servers()
            .max_reconnects(1)
            .connection_timeout(PATIENCE)
            .connect(url)
            .await
    }
}

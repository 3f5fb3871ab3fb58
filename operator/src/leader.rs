//! Which replica acts: the one that holds the Lease.
//!
//! A replica that can't renew in time stops acting before another may begin:
//! [`RENEW_WITHIN`] is shorter than [`DURATION`]. Clocks of machines are not
//! compared: a Lease is old when it has not changed for its duration by the
//! watching replica's own clock.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controller::names::MANAGER;

/// How long a Lease holds that is not renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// A leader that has not renewed for so long is none any more.
pub const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// Time between two renewals.
const EVERY: Duration = Duration::from_secs(3);

/// Takes part in the election.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    namespace: String,
    identity: String,
    /// The Lease as it was last seen to change.
    seen: Option<(Sight, Instant)>,
    /// How this replica came to lead.
    term: Term,
}

/// How a replica came to lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// Who led before, and did not give the Lease back.
    pub instead_of: Option<String>,
}

/// What changes when a Lease is renewed.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    transitions: i32,
}

// === impl Candidate ===

impl Candidate {
    /// One of the replicas, by an identity that no other has.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            seen: None,
            term: Term::default(),
        }
    }

    /// Says whether and how this replica leads, until `stop`; then gives the Lease back.
    pub async fn run(mut self, leading: watch::Sender<Option<Term>>, stop: CancellationToken) {
        let mut renewed: Option<Instant> = None;
        loop {
            let patience = RENEW_WITHIN.saturating_sub(EVERY);
            // An API server that hangs must not keep a leader in office.
            let tried = tokio::time::timeout(patience, self.attempt()).await;
            match tried {
                Ok(Ok(true)) => renewed = Some(Instant::now()),
                Ok(Ok(false)) => renewed = None,
                Ok(Err(error)) => {
                    tracing::warn!("the Lease \"{}\" cannot be renewed: {error}", self.name);
                }
                Err(_) => {
                    tracing::warn!("the Lease \"{}\" cannot be renewed: no answer", self.name);
                }
            }
            let leads = renewed.is_some_and(|when| when.elapsed() < RENEW_WITHIN);
            leading.send_if_modified(|before| {
                let changed = before.is_some() != leads;
                if changed {
                    let what = if leads {
                        "this replica leads"
                    } else {
                        "this replica does not lead any more"
                    };
                    tracing::info!(identity = self.identity, "{what}");
                }
                if changed {
                    *before = leads.then(|| self.term.clone());
                }
                changed
            });
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        if renewed.is_some() {
            // The caller has stopped acting by now.
            match tokio::time::timeout(EVERY, self.release()).await {
                Ok(Ok(())) => tracing::info!("the Lease \"{}\" is given back", self.name),
                Ok(Err(error)) => tracing::warn!("the Lease cannot be given back: {error}"),
                Err(_) => tracing::warn!("the Lease cannot be given back: no answer"),
            }
        }
    }

    /// Renews or takes the Lease, if it can be had.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(1, None)),
            };
            return taken(self.api.create(&params(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let sight = Sight {
            holder: holder.clone(),
            renewed: spec.renew_time.clone(),
            transitions: spec.lease_transitions.unwrap_or_default(),
        };
        let mine = holder.as_deref() == Some(self.identity.as_str());
        if !mine && holder.is_some() {
            let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default());
            let duration = duration.map_or(DURATION, Duration::from_secs);
            match &self.seen {
                Some((before, when)) if *before == sight => {
                    if when.elapsed() < duration {
                        return Ok(false);
                    }
                }
                _ => {
                    self.seen = Some((sight, Instant::now()));
                    return Ok(false);
                }
            }
        }
        if !mine {
            self.term = Term { instead_of: holder };
        }
        let transitions = sight.transitions + i32::from(!mine);
        let acquired = if mine { spec.acquire_time } else { None };
        // The version that was read: of two that take it at once one is refused.
        let next = Lease { metadata: lease.metadata, spec: Some(self.spec(transitions, acquired)) };
        taken(self.api.replace(&self.name, &params(), &next).await)
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        let Some(spec) = &mut lease.spec else { return Ok(()) };
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(());
        }
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        self.api.replace(&self.name, &params(), &lease).await.map(|_| ())
    }

    fn spec(&self, transitions: i32, acquired: Option<MicroTime>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// Another replica was faster: no error, and no leader.
fn taken(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

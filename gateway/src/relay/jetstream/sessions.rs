//! Session records, in a key-value bucket: whoever holds the last revision
//! owns the session.
//!
//! # Layout
//!
//! - `bucket`: the bucket
//! - `update`: records of sessions that go on
//! - `claim`: sessions that change hands
//! - `closing`: ends of sessions, many at once
//! - `ended`: how much the records of ended sessions may take
//! - `unkept`: records that NATS has no room for
//! - `heartbeat`: which gateways are still there
//! - `sweep`: records of gateways that died

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use gateway_config::Period;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

use super::api::{Api, ApiError};
use super::connect::ConnectError;
use super::subjects::Subjects;
use super::unavailable;
use crate::metrics::Metrics;
use crate::relay::embedded::Clock;
use crate::relay::{Claim, Fanout, Owner, RelayError, SessionRecord, Sessions};

mod bucket;
mod claim;
mod closing;
mod ended;
mod heartbeat;
mod sweep;
mod unkept;
mod update;

use bucket::Bucket;
use claim::Fence;
use ended::Ended;
use heartbeat::HEARTBEAT;

/// Questions and writes of sessions under way at once: a storm of thousands
/// that come back leaves the stream free for publications.
const AT_ONCE: usize = 32;
/// How often a write is tried anew after somebody else's.
const TRIES: usize = 8;
/// How often a claim is, and how long it waits in between.
const CLAIM_TRIES: usize = 32;
const CLAIM_DELAY: Duration = Duration::from_millis(20);
/// How long NATS keeps a closed record after it stops to count.
const AFTERWARDS: u64 = 60_000;

/// The records of this gateway's sessions, and the way to all others'.
pub struct JetStreamSessions {
    /// None: nothing is kept.
    max_disconnection: Option<u64>,
    bucket: Bucket,
    fenced_subject: String,
    fanout: Fanout,
    clock: Clock,
    gateway: String,
    table: Mutex<HashMap<Arc<str>, Held>>,
    closing: Mutex<Vec<(Arc<str>, Owner)>>,
    /// What ended sessions take.
    ended: Mutex<Ended>,
    metrics: Metrics,
    /// When it was last said that NATS has no room.
    said_full: Mutex<Option<Instant>>,
    /// Other gateways' last heartbeats, and when they were read.
    beats: Mutex<HashMap<String, (u64, u64)>>,
    room: Semaphore,
    wake: Notify,
}

/// A session of this gateway.
struct Held {
    owner: Owner,
    /// The bucket's revision that this gateway wrote last.
    revision: u64,
    /// The writes that were begun, and the last one that is done.
    begun: u64,
    done: u64,
    record: Arc<SessionRecord>,
    /// When it ended, and whether for good.
    end: Option<(u64, bool)>,
    /// False: NATS had no room for its record. It lives, and nobody can come
    /// back to it.
    kept: bool,
}

/// What the records of sessions are kept with.
pub struct SessionsOptions {
    /// The way to the bucket.
    pub api: Api,
    /// Servers that keep it.
    pub replicas: usize,
    /// How long a record outlives its connection; none: no records.
    pub max_disconnection: Option<Period>,
    /// Where sessions that were taken over are told.
    pub fanout: Fanout,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// This gateway.
    pub gateway: String,
}

/// A record as it lies in the bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    owner: u64,
    gateway: String,
    /// When its transport closed, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<u64>,
    record: SessionRecord,
}

// === impl JetStreamSessions ===

impl JetStreamSessions {
    /// The bucket.
    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Makes the bucket if there is none.
    pub async fn open(subjects: &Subjects, options: SessionsOptions) -> Result<Self, ConnectError> {
        let SessionsOptions { api, replicas, max_disconnection, fanout, clock, metrics, gateway } =
            options;
        let bucket = Bucket::new(api, &subjects.bucket());
        let sessions = Self {
            max_disconnection: max_disconnection.map(Period::as_millis),
            bucket,
            fenced_subject: subjects.fenced(),
            fanout,
            clock,
            gateway,
            table: Mutex::default(),
            closing: Mutex::default(),
            ended: Mutex::default(),
            metrics,
            said_full: Mutex::default(),
            beats: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
            wake: Notify::new(),
        };
        // Also without recovery: what is revoked is kept there, too.
        sessions.bucket.ensure(replicas).await?;
        if sessions.max_disconnection.is_some() {
            sessions.beat().await?;
        }
        Ok(sessions)
    }

    /// Heartbeats, late writes, fences; until the gateway stops.
    pub async fn run(&self, mut fenced: Subscriber) {
        let heartbeat = async {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                if let Err(error) = self.beat().await {
                    tracing::debug!(%error, "a heartbeat can't be written");
                }
            }
        };
        let news = async {
            while let Some(message) = fenced.next().await {
                if let Ok(fence) = serde_json::from_slice::<Fence>(&message.payload) {
                    self.fence(&fence.pid, Owner(fence.owner)).await;
                }
            }
        };
        if self.max_disconnection.is_none() {
            return std::future::pending().await;
        }
        tokio::select! {
            () = heartbeat => {}
            () = news => {}
            () = self.write_ends() => {}
            () = self.sweep_forever() => {}
        }
    }

    /// Writes what waits and a heartbeat.
    pub async fn settle(&self) {
        if self.max_disconnection.is_some() {
            self.write_ends_now().await;
            if let Err(error) = self.beat().await {
                tracing::debug!(%error, "a heartbeat can't be written");
            }
        }
    }

    /// The gateway stops: the ends that wait are written.
    pub async fn finish(&self) {
        if self.max_disconnection.is_some() {
            self.write_ends_now().await;
        }
    }

    async fn write(
        &self,
        key: &str,
        entry: &Entry,
        revision: Option<u64>,
    ) -> Result<u64, ApiError> {
        self.bucket.put(key, encode(entry)?, None, revision).await
    }

    /// When the record of a session that closed then is gone.
    fn gone_after(&self, closed: u64) -> u64 {
        closed.saturating_add(self.max_disconnection.unwrap_or(0)).saturating_add(AFTERWARDS)
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions for JetStreamSessions {
    fn create<'a>(
        &'a self,
        pid: &'a Arc<str>,
        record: SessionRecord,
    ) -> BoxFuture<'a, Result<Owner, RelayError>> {
        Box::pin(async move {
            let owner = new_owner();
            if self.max_disconnection.is_none() {
                return Ok(owner);
            }
            let entry = Entry {
                owner: owner.0,
                gateway: self.gateway.clone(),
                closed: None,
                record: record.clone(),
            };
            let room = self.room.acquire().await;
            let (revision, kept) = match self.write(&format!("s.{pid}"), &entry, None).await {
                Ok(revision) => (revision, true),
                Err(error) if error.is_full() => {
                    self.count_unkept(&error);
                    (0, false)
                }
                Err(error) => return Err(unavailable(&error)),
            };
            drop(room);
            let record = Arc::new(record);
            let held = Held { owner, revision, begun: 0, done: 0, record, end: None, kept };
            self.lock().insert(pid.clone(), held);
            Ok(owner)
        })
    }

    fn put<'a>(
        &'a self,
        pid: &'a Arc<str>,
        owner: Owner,
        record: SessionRecord,
    ) -> BoxFuture<'a, Result<bool, RelayError>> {
        Box::pin(async move {
            if self.max_disconnection.is_none() {
                return Ok(true);
            }
            self.put_record(pid, owner, record).await.map_err(|error| unavailable(&error))
        })
    }

    fn closed(&self, pid: &Arc<str>, owner: Owner) {
        self.end(pid, owner, false);
    }

    fn delete(&self, pid: &Arc<str>, owner: Owner) {
        self.end(pid, owner, true);
    }

    fn revoke<'a>(
        &'a self,
        pid: &'a Arc<str>,
        owner: Owner,
    ) -> BoxFuture<'a, Result<(), RelayError>> {
        self.end(pid, owner, true);
        // If that fails it is tried again with the others that end.
        Box::pin(
            async move { self.write_end(pid, owner).await.map_err(|error| unavailable(&error)) },
        )
    }

    fn claim<'a>(&'a self, pid: &'a str) -> BoxFuture<'a, Result<Claim, RelayError>> {
        Box::pin(async move {
            // A private id of ours is one token; anything else is nobody's.
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
            let is_ours = !pid.is_empty() && pid.len() <= 128 && pid.bytes().all(plain);
            if self.max_disconnection.is_none() || !is_ours {
                return Ok(Claim::Unknown);
            }
            if let Some(held) = self.lock().get(pid)
                && held.end.is_some_and(|(_, for_good)| for_good)
            {
                return Ok(Claim::Unknown);
            }
            for attempt in 0..CLAIM_TRIES {
                let room = self.room.acquire().await;
                let claim = self
                    .claim_once(pid, attempt == 0)
                    .await
                    .map_err(|error| unavailable(&error))?;
                drop(room);
                if let Some(claim) = claim {
                    return Ok(claim);
                }
                // Out of step with the others.
                tokio::time::sleep(CLAIM_DELAY.mul_f64(crate::relay::jetstream::jitter())).await;
            }
            Err(RelayError::Unavailable("too many connections claim one session".to_owned()))
        })
    }
}

fn encode(entry: &Entry) -> Result<Bytes, ApiError> {
    let value = serde_json::to_vec(entry);
    value.map(Into::into).map_err(|error| ApiError::Malformed(error.to_string()))
}

/// A number that nobody else draws.
fn new_owner() -> Owner {
    let mut bytes = [0; 8];
    // A system without randomness gives no session ids either.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    Owner(u64::from_be_bytes(bytes))
}

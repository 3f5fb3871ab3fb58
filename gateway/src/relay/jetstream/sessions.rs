//! Session records, in a key-value bucket: whoever holds the last revision
//! owns the session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Subscriber};
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
use crate::relay::{Claim, Fanout, FeedItem, Owner, RelayError, SessionRecord, Sessions};

mod bucket;
mod closing;
mod ended;
mod sweep;

use bucket::Bucket;
use ended::Ended;

/// Time between two heartbeats: after the last one, what a dead gateway held
/// is valid for `maxDisconnection`.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long another gateway's heartbeat is taken from memory, in milliseconds.
const BEAT_AGE: u64 = 1_000;
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
/// How often it is said that NATS has no room.
const SAID_EVERY: Duration = Duration::from_mins(1);

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

/// The news that a session was taken over.
#[derive(Serialize, Deserialize)]
struct Fence {
    pid: Arc<str>,
    owner: u64,
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

    async fn beat(&self) -> Result<(), ApiError> {
        let now = self.clock.now().to_string();
        // Its entry goes some time after the last session that it held.
        let ttl = self.max_disconnection.unwrap_or(0).saturating_mul(2).max(60_000);
        let key = format!("h.{}", self.gateway);
        self.bucket.put(&key, now.into(), Some(ttl), None).await.map(drop)
    }

    /// Whether what is in an entry still holds.
    async fn holds(&self, entry: &Entry) -> Result<bool, ApiError> {
        let most = self.max_disconnection.unwrap_or(0);
        let now = self.clock.now();
        let since = match entry.closed {
            Some(closed) => closed,
            None if entry.gateway == self.gateway => return Ok(true),
            None => self.last_beat(&entry.gateway).await?,
        };
        Ok(now.saturating_sub(since) <= most)
    }

    /// When another gateway was last heard; 0: never.
    async fn last_beat(&self, gateway: &str) -> Result<u64, ApiError> {
        let beats = || self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let is_fresh = |read: u64| now.saturating_sub(read) < BEAT_AGE;
        let known = beats().get(gateway).copied();
        if let Some((_, beat)) = known.filter(|(read, _)| is_fresh(*read)) {
            return Ok(beat);
        }
        // A replica that is behind would make a gateway's sessions look
        // expired, and nothing written afterwards would tell.
        let found = self.bucket.get_from_leader(&format!("h.{gateway}")).await?;
        let text = found.and_then(|found| String::from_utf8(found.value.to_vec()).ok());
        let beat = text.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut beats = beats();
        // Gateways come and go.
        beats.retain(|_, (read, _)| is_fresh(*read));
        beats.insert(gateway.to_owned(), (now, beat));
        Ok(beat)
    }

    /// Somebody took a session over: if it is held here, its connection goes.
    async fn fence(&self, pid: &Arc<str>, owner: Owner) {
        let open = {
            let mut table = self.lock();
            match table.get(pid) {
                Some(held) if held.owner != owner => {
                    let open = held.end.is_none();
                    table.remove(pid);
                    open
                }
                _ => false,
            }
        };
        if open {
            let _ = self.fanout.send(FeedItem::Fenced { pid: pid.clone(), owner }).await;
        }
    }

    /// None: somebody else wrote first, or the replica that was asked is
    /// behind; the next attempt asks the leader.
    async fn claim_once(&self, pid: &str, first: bool) -> Result<Option<Claim>, ApiError> {
        let key = format!("s.{pid}");
        let found = if first {
            self.bucket.get(&key).await?
        } else {
            self.bucket.get_from_leader(&key).await?
        };
        let Some(found) = found else { return Ok(Some(Claim::Unknown)) };
        let Ok(entry) = serde_json::from_slice::<Entry>(&found.value) else {
            return Ok(Some(Claim::Unknown));
        };
        if !self.holds(&entry).await? {
            match self.bucket.delete(&key, found.revision).await {
                Ok(()) => {}
                Err(error) if error.is_conflict() => return Ok(None),
                Err(error) => return Err(error),
            }
            self.lock().remove(pid);
            return Ok(Some(Claim::Unknown));
        }
        let owner = new_owner();
        let was = Owner(entry.owner);
        let mine = Entry {
            owner: owner.0,
            gateway: self.gateway.clone(),
            closed: None,
            record: entry.record.clone(),
        };
        let revision = match self.write(&key, &mine, Some(found.revision)).await {
            Ok(revision) => revision,
            Err(error) if error.is_conflict() => return Ok(None),
            Err(error) => return Err(error),
        };
        let pid: Arc<str> = pid.into();
        let record = Arc::new(entry.record.clone());
        let held = Held { owner, revision, begun: 0, done: 0, record, end: None, kept: true };
        if let Some(closed) = entry.closed.filter(|_| entry.gateway == self.gateway) {
            self.ended().remove(self.gone_after(closed), found.value.len());
        }
        let before = self.lock().insert(pid.clone(), held);
        let open_here = before.is_some_and(|held| held.owner == was && held.end.is_none());
        if open_here {
            let _ = self.fanout.send(FeedItem::Fenced { pid: pid.clone(), owner }).await;
        } else if entry.closed.is_none() && entry.gateway != self.gateway {
            let fence = Fence { pid, owner: owner.0 };
            let payload = serde_json::to_vec(&fence).unwrap_or_default();
            let subject = self.fenced_subject.clone();
            let publish = self.bucket.api().client().publish(subject, payload.into());
            // If it doesn't arrive: what the former owner writes next fails.
            let _ = tokio::time::timeout(super::api::TIMEOUT, publish).await;
        }
        Ok(Some(Claim::Granted(entry.record, owner)))
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

    /// NATS has no room for a session's record: it works on, and nobody can
    /// come back to it.
    fn count_unkept(&self, error: &ApiError) {
        self.metrics.sessions_not_kept.inc();
        let now = Instant::now();
        let mut said = self.said_full.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|last| now - last >= SAID_EVERY) {
            *said = Some(now);
            drop(said);
            tracing::warn!(
                %error,
                "NATS has no room for the records of sessions: new ones work, and can't be \
                 recovered; give NATS or its account more storage"
            );
        }
    }

    /// Removes a record that can't be brought up to date: what lies there
    /// would bring back less than the client has.
    async fn give_up(
        &self,
        pid: &Arc<str>,
        owner: Owner,
        revision: u64,
        error: &ApiError,
    ) -> Result<(), ApiError> {
        // First, so that another write under way knows why it is gone.
        self.set_kept(pid, owner, false);
        if let Err(error) = self.bucket.delete(&format!("s.{pid}"), revision).await {
            self.set_kept(pid, owner, true);
            return Err(error);
        }
        self.count_unkept(error);
        Ok(())
    }

    fn set_kept(&self, pid: &str, owner: Owner, kept: bool) {
        if let Some(held) = self.lock().get_mut(pid).filter(|held| held.owner == owner) {
            held.kept = kept;
        }
    }

    fn is_unkept(&self, pid: &str, owner: Owner) -> bool {
        self.lock().get(pid).is_some_and(|held| held.owner == owner && !held.kept)
    }

    async fn put_record(
        &self,
        pid: &Arc<str>,
        owner: Owner,
        record: SessionRecord,
    ) -> Result<bool, ApiError> {
        let record = Arc::new(record);
        let (mut revision, turn) = {
            let mut table = self.lock();
            let Some(held) = table.get_mut(pid).filter(|held| held.owner == owner) else {
                return Ok(false);
            };
            if held.end.is_some_and(|(_, for_good)| for_good) {
                return Ok(false);
            }
            if !held.kept {
                return Ok(true);
            }
            if held.record == record && held.begun == held.done {
                // As after a recovery: nothing new.
                return Ok(true);
            }
            held.begun += 1;
            (held.revision, held.begun)
        };
        // Never closed: only its drop would.
        let _room = self.room.acquire().await;
        let key = format!("s.{pid}");
        let entry = |record: &SessionRecord| Entry {
            owner: owner.0,
            gateway: self.gateway.clone(),
            closed: None,
            record: record.clone(),
        };
        for _ in 0..TRIES {
            match self.write(&key, &entry(&record), Some(revision)).await {
                Ok(written) => {
                    let mut table = self.lock();
                    let Some(held) = table.get_mut(pid).filter(|held| held.owner == owner) else {
                        return Ok(false);
                    };
                    held.revision = held.revision.max(written);
                    if held.done < turn {
                        held.done = turn;
                        held.record = record;
                    }
                    return Ok(true);
                }
                Err(error) if error.is_conflict() => {}
                Err(error) if error.is_full() => {
                    return self.give_up(pid, owner, revision, &error).await.map(|()| true);
                }
                Err(error) => return Err(error),
            }
            // It was this very owner, in another write, or somebody else.
            let found = self.bucket.get_from_leader(&key).await?;
            let ours = found.and_then(|found| {
                let entry = serde_json::from_slice::<Entry>(&found.value).ok()?;
                (entry.owner == owner.0).then_some(found.revision)
            });
            let Some(found) = ours else {
                if self.is_unkept(pid, owner) {
                    return Ok(true);
                }
                self.forget(pid, owner);
                return Ok(false);
            };
            revision = found;
            let table = self.lock();
            if table.get(pid).is_some_and(|held| held.owner == owner && held.done > turn) {
                // A later one, which knows more, was faster.
                return Ok(true);
            }
        }
        Err(ApiError::Timeout(super::api::TIMEOUT))
    }

    fn forget(&self, pid: &Arc<str>, owner: Owner) {
        let mut table = self.lock();
        if table.get(pid).is_some_and(|held| held.owner == owner) {
            table.remove(pid);
        }
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

/// With headers that make a write one of this revision only.
fn expecting(headers: &mut HeaderMap, revision: u64) {
    headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string().as_str());
}

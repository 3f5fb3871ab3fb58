//! Ends of sessions: written soon, and many at once.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{AFTERWARDS, Entry, JetStreamSessions, TRIES, encode};
use crate::relay::Owner;
use crate::relay::jetstream::api::ApiError;

/// How long an end waits for others.
const DELAY: Duration = Duration::from_millis(20);
/// Writes that are under way at once.
const AT_ONCE: usize = 64;
/// How long a failed write waits, while NATS is away.
const RETRY: Duration = Duration::from_secs(1);

// === impl JetStreamSessions ===

impl JetStreamSessions {
    /// A session's transport closed, or its client left for good.
    pub(super) fn end(&self, pid: &Arc<str>, owner: Owner, for_good: bool) {
        if self.max_disconnection.is_none() {
            return;
        }
        let now = self.clock.now();
        {
            let mut table = self.lock();
            let Some(held) = table.get_mut(pid).filter(|held| held.owner == owner) else { return };
            if !held.kept {
                table.remove(pid);
                return;
            }
            match held.end {
                // Leaving for good comes after a close too.
                Some((_, was)) if was || !for_good => return,
                _ => held.end = Some((now, for_good)),
            }
        }
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).push((pid.clone(), owner));
        self.wake.notify_one();
    }

    pub(super) async fn write_ends(&self) {
        loop {
            self.wake.notified().await;
            tokio::time::sleep(DELAY).await;
            while !self.write_ends_now().await {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// False: some could not be written, and wait.
    pub(super) async fn write_ends_now(&self) -> bool {
        let batch =
            std::mem::take(&mut *self.closing.lock().unwrap_or_else(PoisonError::into_inner));
        let failed: Vec<_> = futures_util::stream::iter(batch)
            .map(|(pid, owner)| async move {
                let written = self.write_end(&pid, owner).await;
                written.is_err().then_some((pid, owner))
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let all = failed.is_empty();
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).extend(failed);
        all
    }

    /// Keeps what a client may come back to, if there is room for it; else it
    /// goes at once.
    async fn write_closed(
        &self,
        key: &str,
        entry: &Entry,
        revision: &mut u64,
        time: u64,
    ) -> Result<(), ApiError> {
        let value = encode(entry)?;
        let bytes = value.len();
        let overflows = {
            let mut ended = self.ended();
            (!ended.has_room(self.clock.now(), bytes)).then(|| ended.overflows())
        };
        if let Some(new) = overflows {
            self.bucket.delete(key, *revision).await?;
            self.metrics.sessions_not_kept.inc();
            if new {
                tracing::warn!(
                    "too many clients left and may come back: there is no room for the records of \
                     more, and they won't be recovered; a lower \
                     `socketio.recovery.maxDisconnection` or `limits.connectRate` leaves room"
                );
            }
            return Ok(());
        }
        // It goes by itself, some time after it stops to count.
        let ttl = self.max_disconnection.unwrap_or(0).saturating_add(AFTERWARDS);
        match self.bucket.put(key, value, Some(ttl), Some(*revision)).await {
            Ok(written) => {
                *revision = written;
                self.ended().add(self.gone_after(time), bytes);
                Ok(())
            }
            // As it lies there it would stay for ever.
            Err(error) if error.is_full() => {
                self.bucket.delete(key, *revision).await?;
                self.count_unkept(&error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn write_end(&self, pid: &Arc<str>, owner: Owner) -> Result<(), ApiError> {
        let key = format!("s.{pid}");
        for _ in 0..TRIES {
            let (mut revision, record, end) = {
                let table = self.lock();
                let Some(held) = table.get(pid).filter(|held| held.owner == owner) else {
                    return Ok(());
                };
                let Some(end) = held.end else { return Ok(()) };
                (held.revision, held.record.clone(), end)
            };
            let (time, for_good) = end;
            let written = if for_good {
                self.bucket.delete(&key, revision).await
            } else {
                let entry = Entry {
                    owner: owner.0,
                    gateway: self.gateway.clone(),
                    closed: Some(time),
                    record: (*record).clone(),
                };
                self.write_closed(&key, &entry, &mut revision, time).await
            };
            match written {
                Ok(()) => {
                    let mut table = self.lock();
                    if table
                        .get(pid)
                        .is_some_and(|held| held.owner == owner && held.end == Some(end))
                    {
                        table.remove(pid);
                    } else if let Some(held) = table.get_mut(pid).filter(|held| held.owner == owner)
                    {
                        held.revision = held.revision.max(revision);
                    }
                    return Ok(());
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
            // A write of its own was under way, or somebody took it over.
            let found = self.bucket.get_from_leader(&key).await?;
            let ours = found.and_then(|found| {
                let entry = serde_json::from_slice::<Entry>(&found.value).ok()?;
                (entry.owner == owner.0).then_some((found.revision, entry.record))
            });
            let Some((revision, record)) = ours else {
                self.forget(pid, owner);
                return Ok(());
            };
            let mut table = self.lock();
            if let Some(held) = table.get_mut(pid).filter(|held| held.owner == owner) {
                held.revision = revision;
                held.record = Arc::new(record);
            }
        }
        Ok(())
    }
}

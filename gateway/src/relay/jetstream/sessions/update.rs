//! Records of sessions that go on: each write over this gateway's own last one.

use std::sync::Arc;

use super::{Entry, JetStreamSessions, TRIES};
use crate::relay::jetstream::api::{ApiError, TIMEOUT};
use crate::relay::{Owner, SessionRecord};

// === impl JetStreamSessions ===

impl JetStreamSessions {
    pub(super) async fn put_record(
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
        Err(ApiError::Timeout(TIMEOUT))
    }

    pub(super) fn forget(&self, pid: &Arc<str>, owner: Owner) {
        let mut table = self.lock();
        if table.get(pid).is_some_and(|held| held.owner == owner) {
            table.remove(pid);
        }
    }
}

//! Sessions that change hands: a client comes back, and its former connection,
//! wherever it is, goes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entry, Held, JetStreamSessions, new_owner};
use crate::relay::jetstream::api::{ApiError, TIMEOUT};
use crate::relay::{Claim, FeedItem, Owner};

/// The news that a session was taken over.
#[derive(Serialize, Deserialize)]
pub(super) struct Fence {
    pub(super) pid: Arc<str>,
    pub(super) owner: u64,
}

// === impl JetStreamSessions ===

impl JetStreamSessions {
    /// Somebody took a session over: if it is held here, its connection goes.
    pub(super) async fn fence(&self, pid: &Arc<str>, owner: Owner) {
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
    pub(super) async fn claim_once(
        &self,
        pid: &str,
        first: bool,
    ) -> Result<Option<Claim>, ApiError> {
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
            let _ = tokio::time::timeout(TIMEOUT, publish).await;
        }
        Ok(Some(Claim::Granted(entry.record, owner)))
    }
}

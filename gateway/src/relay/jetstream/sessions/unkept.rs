//! Records that NATS has no room for: their sessions work, and nobody can come
//! back to them.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::JetStreamSessions;
use crate::relay::Owner;
use crate::relay::jetstream::api::ApiError;

/// How often it is said that NATS has no room.
const SAID_EVERY: Duration = Duration::from_mins(1);

// === impl JetStreamSessions ===

impl JetStreamSessions {
    /// NATS has no room for a session's record: it works on, and nobody can
    /// come back to it.
    pub(super) fn count_unkept(&self, error: &ApiError) {
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
    pub(super) async fn give_up(
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

    pub(super) fn is_unkept(&self, pid: &str, owner: Owner) -> bool {
        self.lock().get(pid).is_some_and(|held| held.owner == owner && !held.kept)
    }
}

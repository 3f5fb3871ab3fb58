//! Heartbeats of gateways: what one that is silent for too long held no longer
//! counts.

use std::sync::PoisonError;
use std::time::Duration;

use super::{Entry, JetStreamSessions};
use crate::relay::jetstream::api::ApiError;

/// Time between two heartbeats: after the last one, what a dead gateway held
/// is valid for `maxDisconnection`.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long another gateway's heartbeat is taken from memory, in milliseconds.
const BEAT_AGE: u64 = 1_000;

// === impl JetStreamSessions ===

impl JetStreamSessions {
    pub(super) async fn beat(&self) -> Result<(), ApiError> {
        let now = self.clock.now().to_string();
        // Its entry goes some time after the last session that it held.
        let ttl = self.max_disconnection.unwrap_or(0).saturating_mul(2).max(60_000);
        let key = format!("h.{}", self.gateway);
        self.bucket.put(&key, now.into(), Some(ttl), None).await.map(drop)
    }

    /// Whether what is in an entry still holds.
    pub(super) async fn holds(&self, entry: &Entry) -> Result<bool, ApiError> {
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
}

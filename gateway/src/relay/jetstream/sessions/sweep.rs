//! Records of gateways that died: any gateway deletes them when they expire.

use std::time::Duration;

use super::{Entry, JetStreamSessions};
use crate::relay::jetstream::api::ApiError;

/// Time between two sweeps, with jitter.
const EVERY: Duration = Duration::from_mins(1);
/// Records that are looked at in one step.
const PAGE: usize = 256;

// === impl JetStreamSessions ===

impl JetStreamSessions {
    pub(super) async fn sweep_forever(&self) {
        loop {
            tokio::time::sleep(EVERY.mul_f64(1.0 + crate::relay::jetstream::jitter())).await;
            if let Err(error) = self.sweep().await {
                tracing::debug!(%error, "expired sessions can't be swept");
            }
        }
    }

    /// Deletes what expired with its gateway. Closed ones go by their TTL.
    async fn sweep(&self) -> Result<(), ApiError> {
        let mut from = Some(1);
        while let Some(start) = from {
            let (entries, next) = self.bucket.page(start, "s.>", PAGE).await?;
            from = next;
            for (key, found) in entries {
                let Ok(entry) = serde_json::from_slice::<Entry>(&found.value) else { continue };
                if entry.closed.is_some() || entry.gateway == self.gateway {
                    continue;
                }
                if self.holds(&entry).await? {
                    continue;
                }
                match self.bucket.delete(&key, found.revision).await {
                    Err(error) if !error.is_conflict() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

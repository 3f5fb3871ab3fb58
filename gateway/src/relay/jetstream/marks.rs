//! What was revoked, in the bucket of the sessions: every entry goes by
//! itself when its time is over.

use std::fmt::Write as _;

use super::JetStreamRelay;
use super::api::ApiError;
use crate::relay::{Mark, MarkKind};

/// How often a write is tried anew after somebody else's.
const TRIES: usize = 8;
/// Marks that are read at once.
const PAGE: usize = 512;

// === impl JetStreamRelay ===

impl JetStreamRelay {
    /// Writes a mark, joined with what is there.
    pub(super) async fn keep_mark(&self, mark: &Mark) -> Result<(), ApiError> {
        let bucket = self.sessions.bucket();
        let key = key(mark.kind, &mark.of);
        for _ in 0..TRIES {
            let found = bucket.get_from_leader(&key).await?;
            let before = found.as_ref().and_then(|found| serde_json::from_slice(&found.value).ok());
            let joined = before.map_or_else(|| mark.clone(), |before| mark.clone().joined(&before));
            let left = joined.until.saturating_sub(self.clock.now());
            let value = serde_json::to_vec(&joined)
                .map_err(|error| ApiError::Malformed(error.to_string()))?;
            // 0: only while there is none.
            let revision = found.map_or(0, |found| found.revision);
            match bucket.put(&key, value.into(), Some(left), Some(revision)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Err(ApiError::Timeout(super::api::TIMEOUT))
    }

    /// The marks after a revision, and the last revision that was read.
    pub(super) async fn kept_marks(&self, after: u64) -> Result<(Vec<Mark>, u64), ApiError> {
        let (entries, next) = self.sessions.bucket().page(after + 1, "r.>", PAGE).await?;
        let marks = entries.into_iter().filter_map(|(_, found)| {
            // A later version may keep what this one doesn't know.
            serde_json::from_slice(&found.value).ok()
        });
        Ok((marks.collect(), next.map_or(after, |next| next - 1)))
    }
}

/// The entry's key. Names of users and tokens are any text of any length; a
/// hash is one token of a subject.
fn key(kind: MarkKind, of: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of.as_bytes());
    let mut key = format!("r.{}.", kind.as_str());
    for byte in digest.as_ref().iter().take(16) {
        // Writing into a String does not fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

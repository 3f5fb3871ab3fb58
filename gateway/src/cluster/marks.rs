//! Revocations that were made when this gateway wasn't there to be told, or
//! didn't hear: they are read from the relay, which keeps them.

use std::time::Duration;

use super::Cluster;
use crate::error::Error;
use crate::relay::{Mark, RelayError};
use crate::shard::Shared;

/// Time between two looks at what is new. Whoever hears the others is told
/// at once; this is for who doesn't.
const EVERY: Duration = Duration::from_secs(5);
/// The first look comes soon: what was made while this gateway began to
/// listen, or had not reached the server that was asked.
const FIRST: Duration = Duration::from_secs(1);
/// Pause after a look that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Looks after which all are read again, not only what is new: NATS may have
/// begun to count anew.
const WHOLE: u32 = 60;

/// Reads what the relay keeps.
pub(super) struct Follower<'a> {
    shared: &'a Shared,
    /// Up to where it was read.
    place: u64,
}

// === impl Cluster ===

impl Cluster {
    /// Takes a mark into force on this gateway, and closes the sessions that
    /// it ends. How many.
    pub(super) async fn revoke(&self, mark: &Mark) -> Result<u64, Error> {
        // First the memory: who connects meanwhile is refused or found.
        self.auth.revocations().add(mark);
        self.shards.revoked(mark).await
    }
}

// === impl Follower ===

impl<'a> Follower<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, place: 0 }
    }

    /// Ready when all was read once.
    pub(super) async fn begin(&mut self) {
        while let Err(error) = self.look().await {
            tracing::warn!(%error, "what was revoked can't be read; this gateway isn't ready before");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads what is new, for as long as it is polled.
    pub(super) async fn follow(&mut self) {
        tokio::time::sleep(FIRST).await;
        for turn in 1_u32.. {
            if turn % WHOLE == 0 {
                self.place = 0;
            }
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "what was revoked can't be read");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn look(&mut self) -> Result<(), RelayError> {
        let cluster = &self.shared.cluster;
        loop {
            let (marks, place) = self.shared.relay.kept(self.place).await?;
            if place == self.place {
                return Ok(());
            }
            for mark in marks {
                if cluster.auth.revocations().add(&mark) {
                    // A gateway that stops needs none.
                    let _ = cluster.shards.revoked(&mark).await;
                }
            }
            self.place = place;
        }
    }
}

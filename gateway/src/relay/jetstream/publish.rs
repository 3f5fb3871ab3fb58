//! Publishing.

use std::time::Duration;

use super::api::TIMEOUT;
use super::ring::When;
use super::{Get, JetStreamRelay, message, unavailable};
use crate::offset::Position;
use crate::publication::{NewPublication, Published};
use crate::relay::RelayError;

/// How long a publisher waits for the feed to bring its publication, which
/// tells when it was stored. After that the stream is asked.
const FEED_PATIENCE: Duration = Duration::from_secs(1);

// === impl JetStreamRelay ===

impl JetStreamRelay {
    pub(super) async fn publish_one(&self, new: NewPublication) -> Result<Published, RelayError> {
        self.apply_rules().await.map_err(|error| RelayError::Unavailable(error.to_string()))?;
        let channel = new.channel.to_subject();
        let history = self.effective.load().by_feed(&channel);
        let stored = history && new.store;
        let (headers, payload) = message::encode(&new, &channel, stored);
        if stored {
            let subject = self.subjects.publish(&channel);
            let ack = self
                .api
                .publish(subject, headers, payload)
                .await
                .map_err(|error| unavailable(&error))?;
            self.note_last(ack.seq);
            let position = Some(self.place(ack.seq).await);
            return Ok(Published { position, duplicate: ack.duplicate });
        }
        if !self.api.is_connected() {
            return Err(RelayError::Unavailable("not connected to NATS".to_owned()));
        }
        let subject = if history {
            // In the stream's subjects it would be stored.
            self.subjects.unstored(&channel)
        } else {
            self.subjects.publish(&channel)
        };
        let publish = self.api.client().publish_with_headers(subject, headers, payload);
        match tokio::time::timeout(TIMEOUT, publish).await {
            Ok(Ok(())) => Ok(Published { position: None, duplicate: false }),
            Ok(Err(error)) => Err(RelayError::Unavailable(error.to_string())),
            Err(_) => Err(RelayError::Unavailable("NATS takes nothing".to_owned())),
        }
    }

    /// Where a stored publication is. An acknowledgement doesn't say when it
    /// was stored.
    async fn place(&self, sequence: u64) -> Position {
        match self.ring.when(sequence) {
            When::Known(position) => return position,
            When::Later(position) => {
                if let Ok(Ok(position)) = tokio::time::timeout(FEED_PATIENCE, position).await {
                    return position;
                }
            }
            When::Gone => {}
        }
        let get = Get { seq: Some(sequence), ..Get::default() };
        let stored = self.api.get_from_leader(&self.stream, &get).await;
        // Of one that is gone no time is right; with 0 it is long ago.
        let time = stored.ok().flatten().map_or(0, |stored| stored.time);
        Position { epoch: self.ring.head().epoch, sequence, time }
    }
}

//! What a client publishes.

use super::Session;
use crate::auth::Action;
use crate::error::{Error, ErrorCode};
use crate::metrics::{RefusedLabel, Source, SourceLabel};
use crate::protocol::socketio as sio;
use crate::publication::{NewPublication, Published, check_event, check_id};

// === impl Session ===

impl Session {
    /// Publishes for the client.
    pub async fn publish(&self, mut publication: NewPublication) -> Result<Published, Error> {
        let done = self.try_publish(&mut publication).await;
        let metrics = &self.shard.shared.metrics;
        match &done {
            Ok(_) => {
                metrics.publications.get_or_create(&SourceLabel { source: Source::client }).inc();
            }
            Err(error) => {
                let label = RefusedLabel { source: Source::client, code: error.code.as_str() };
                metrics.publications_refused.get_or_create(&label).inc();
                self.tell("publishes", Some(publication.channel.as_str()), Err(error));
            }
        }
        done
    }

    async fn try_publish(&self, publication: &mut NewPublication) -> Result<Published, Error> {
        let channel = self.check(publication.channel.as_str(), Action::Publish).await?;
        check_event(&publication.event)?;
        sio::check_args(&publication.args)?;
        publication.id.as_deref().map_or(Ok(()), check_id)?;
        let most = self.shard.shared.access.rule(&channel).max_payload;
        if publication.size() > most {
            return Err(Error::new(
                ErrorCode::PayloadTooLarge,
                format!("a publication on this channel has at most {most} bytes"),
            )
            .field("data"));
        }
        publication.channel = channel;
        Ok(self.shard.shared.relay.publish(publication.clone()).await?)
    }
}

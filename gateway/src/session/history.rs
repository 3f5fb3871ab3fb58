//! A client reads a channel's history.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Session;
use crate::auth::Action;
use crate::error::Error;
use crate::protocol::json;
use crate::publication::{Publication, Value};
use crate::relay::HistoryQuery;

/// Publications in one answer.
const LIMIT: usize = 1_000;

/// A part of a channel's history, as clients get it. It is never turned into
/// a tree of values: what was published comes back byte for byte, and what
/// no tree can hold (`1e400`, a thousand brackets) can't harm its readers.
#[derive(Debug, Serialize)]
pub struct History {
    /// Socket.IO's acks say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    channel: String,
    publications: Vec<Box<RawValue>>,
    /// How far the stream reached when it was read.
    offset: String,
    /// False: what followed `since` is partly gone.
    complete: bool,
    /// There is more: pass it as `since`, or as `before` with the newest
    /// first. Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

// === impl Session ===

impl Session {
    /// Reads a channel's history for the client.
    pub async fn history(&self, name: &str, mut query: HistoryQuery) -> Result<History, Error> {
        let checked = self.check(name, Action::History).await;
        query.channel = checked.inspect_err(|error| {
            self.tell("reads history", Some(name), Err(error));
        })?;
        query.limit = query.limit.clamp(1, LIMIT);
        let page = self.shard.shared.relay.history(query).await?;
        // An answer that the outbox can't hold would look like a slow client.
        let fitting = fitting(&page.publications, self.subscriber.outbox.limits().bytes / 4);
        let more = page.more || fitting < page.publications.len();
        let taken = page.publications.get(..fitting).unwrap_or_default();
        let offset_of = |p: &Arc<Publication>| p.position.map(|position| position.to_string());
        let publications = taken
            .iter()
            .filter_map(|p| {
                let wire = json::publication(p, offset_of(p).as_deref());
                serde_json::from_slice(wire.payload()).ok()
            })
            .collect();
        Ok(History {
            ok: None,
            channel: name.to_owned(),
            publications,
            offset: page.head.to_string(),
            complete: page.complete,
            next: taken.last().filter(|_| more).and_then(offset_of),
        })
    }
}

/// How many of the publications fit into so many bytes; at least one.
fn fitting(publications: &[Arc<Publication>], most: usize) -> usize {
    let mut bytes = 0;
    let too_many = publications.iter().position(|publication| {
        bytes += publication.event.len() + publication.args.iter().map(Value::len).sum::<usize>();
        bytes > most
    });
    too_many.map_or(publications.len(), |index| index.max(1))
}

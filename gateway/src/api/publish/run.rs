//! Publishing a list: channels side by side, each channel in order.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::api::ApiState;
use crate::channel::Channel;
use crate::error::Error;
use crate::metrics::{RefusedLabel, Source, SourceLabel};
use crate::publication::{NewPublication, Published};
use crate::relay::Relay;

/// Channels that one request publishes to at the same time.
const SIDE_BY_SIDE: usize = 64;

/// What became of one publication.
pub type Outcome = Result<Published, Error>;

/// Publishes and answers in the list's order.
///
/// Publications of one channel go one after the other, so subscribers get
/// them in the list's order. After one that may succeed later
/// ([`crate::error::ErrorCode::retry`]) the rest of its channel is not tried:
/// a retry of what failed then keeps the order.
pub async fn publish_all(api: &ApiState, list: Vec<NewPublication>) -> Vec<Outcome> {
    let outcomes = if list.len() == 1 {
        let alone = list.into_iter().map(|publication| (0, publication)).collect();
        publish_queue(&api.relay, alone).await.into_iter().map(|(_, outcome)| outcome).collect()
    } else {
        side_by_side(&api.relay, list).await
    };
    for outcome in &outcomes {
        match outcome {
            Ok(_) => {
                api.metrics.publications.get_or_create(&SourceLabel { source: Source::api }).inc();
            }
            Err(error) => count_refused(api, error),
        }
    }
    outcomes
}

async fn side_by_side(relay: &Arc<dyn Relay>, list: Vec<NewPublication>) -> Vec<Outcome> {
    let count = list.len();
    let mut queues: Vec<Vec<(usize, NewPublication)>> = Vec::new();
    let mut queue_of: HashMap<Channel, usize> = HashMap::with_capacity(count.min(SIDE_BY_SIDE));
    for (index, publication) in list.into_iter().enumerate() {
        let queue = *queue_of.entry(publication.channel.clone()).or_insert_with(|| {
            queues.push(Vec::new());
            queues.len() - 1
        });
        queues[queue].push((index, publication));
    }
    let mut done: Vec<(usize, Outcome)> = stream::iter(queues)
        .map(|queue| publish_queue(relay, queue))
        .buffer_unordered(SIDE_BY_SIDE)
        .flat_map(stream::iter)
        .collect()
        .await;
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Counts a publication that was not published.
pub fn count_refused(api: &ApiState, error: &Error) {
    let label = RefusedLabel { source: Source::api, code: error.code.as_str() };
    api.metrics.publications_refused.get_or_create(&label).inc();
}

async fn publish_queue(
    relay: &Arc<dyn Relay>,
    queue: Vec<(usize, NewPublication)>,
) -> Vec<(usize, Outcome)> {
    let mut done = Vec::with_capacity(queue.len());
    let mut failed: Option<Error> = None;
    for (index, publication) in queue {
        if let Some(error) = &failed {
            let words = format!(
                "not tried, because an earlier publication to the same channel failed: {}",
                error.message
            );
            done.push((index, Err(Error::new(error.code, words))));
            continue;
        }
        let outcome = relay.publish(publication).await.map_err(Error::from);
        failed = outcome.as_ref().err().filter(|error| error.code.retry()).cloned();
        done.push((index, outcome));
    }
    done
}

//! Channels without history come over NATS core: one subscription for each
//! channel that somebody here is subscribed to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::api::TIMEOUT;
use super::{JetStreamRelay, kept_by, message, subjects};
use crate::channel::Channel;
use crate::relay::{FeedItem, RelayError};

/// Time between two attempts to subscribe, while NATS is away.
const RETRY: Duration = Duration::from_millis(500);
/// Every session's own channel: one subscription for all of them, since a
/// reconnect storm must not be one of subscriptions.
const SESSIONS: &str = "$sid.";

/// Which channels somebody here is subscribed to.
#[derive(Default)]
pub struct Interests {
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Default)]
struct Table {
    /// By subject.
    wanted: HashMap<String, Interest>,
    /// Subjects to look at.
    dirty: HashSet<String>,
}

struct Interest {
    /// Shards that have joined.
    count: usize,
    /// Whether what is published will arrive.
    ready: watch::Sender<bool>,
}

// === impl Interests ===

impl Interests {
    /// One shard more. The receiver says when the subscription is in force;
    /// with history, the feed is.
    fn join(&self, channel: &Channel, history: bool) -> watch::Receiver<bool> {
        let subject = subject_of(channel);
        let mut table = self.lock();
        let interest = table
            .wanted
            .entry(subject.clone())
            .or_insert_with(|| Interest { count: 0, ready: watch::Sender::new(history) });
        interest.count += 1;
        let ready = interest.ready.subscribe();
        if !*ready.borrow() {
            table.dirty.insert(subject);
            self.changed.notify_one();
        }
        ready
    }

    /// One shard less.
    pub fn leave(&self, channel: &Channel) {
        let subject = subject_of(channel);
        let mut table = self.lock();
        let Some(interest) = table.wanted.get_mut(&subject) else { return };
        interest.count = interest.count.saturating_sub(1);
        if interest.count == 0 {
            table.dirty.insert(subject);
            self.changed.notify_one();
        }
    }

    /// Which channels have history may be otherwise now.
    pub fn rules_changed(&self) {
        let mut table = self.lock();
        let all: Vec<_> = table.wanted.keys().cloned().collect();
        table.dirty.extend(all);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is subscribed to for a channel.
fn subject_of(channel: &Channel) -> String {
    if channel.as_str().starts_with(SESSIONS) {
        return format!("{SESSIONS}>");
    }
    channel.to_subject()
}

// === impl JetStreamRelay ===

impl JetStreamRelay {
    pub(super) async fn join_one(&self, channel: &Channel) -> Result<(), RelayError> {
        let history = kept_by(&self.rules.load().of(channel)).is_some();
        let mut ready = self.interests.join(channel, history);
        let joined = tokio::time::timeout(TIMEOUT, ready.wait_for(|ready| *ready)).await;
        let joined = matches!(joined, Ok(Ok(_)));
        if joined {
            return Ok(());
        }
        self.interests.leave(channel);
        Err(RelayError::Unavailable("NATS doesn't take a subscription".to_owned()))
    }

    /// Subscribes and unsubscribes as shards join and leave, and hands on
    /// what comes.
    pub(super) async fn serve_interests(self: &Arc<Self>, unstored: Subscriber) {
        // Sessions' own channels are in no hub, so nobody joins them.
        if let Ok(any) = Channel::sid("any") {
            self.interests.join(&any, false);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(self).hand_on(unstored, true));
        let mut subscribed: HashMap<String, AbortHandle> = HashMap::new();
        loop {
            let again = !self.update_interests(&mut subscribed, &mut tasks).await;
            let retry = async {
                if again {
                    tokio::time::sleep(RETRY).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.interests.changed.notified() => {}
                Some(_) = tasks.join_next() => {}
                () = retry => {}
            }
        }
    }

    /// False: to be tried again.
    async fn update_interests(
        self: &Arc<Self>,
        subscribed: &mut HashMap<String, AbortHandle>,
        tasks: &mut JoinSet<()>,
    ) -> bool {
        let dirty = std::mem::take(&mut self.interests.lock().dirty);
        let mut fresh = Vec::new();
        for subject in &dirty {
            let history = kept_by(&self.rules.load().of_subject(subject)).is_some();
            let wanted = {
                let mut table = self.interests.lock();
                let count = table.wanted.get(subject).map_or(0, |interest| interest.count);
                if count == 0 {
                    table.wanted.remove(subject);
                }
                count > 0
            };
            if wanted {
                fresh.push(subject.clone());
            }
            if !wanted || history {
                // Dropped, the subscription ends.
                if let Some(task) = subscribed.remove(subject) {
                    task.abort();
                }
                continue;
            }
            if subscribed.contains_key(subject) {
                continue;
            }
            let Ok(messages) = self.api.client().subscribe(self.subjects.publish(subject)).await
            else {
                continue;
            };
            let task = tasks.spawn(Arc::clone(self).hand_on(messages, false));
            subscribed.insert(subject.clone(), task);
        }
        if fresh.is_empty() {
            return true;
        }
        // One for all of them.
        let in_force = self.api.barrier().await.is_ok();
        let mut table = self.interests.lock();
        for subject in fresh {
            if !in_force {
                table.dirty.insert(subject);
            } else if let Some(interest) = table.wanted.get(&subject) {
                interest.ready.send_replace(true);
            }
        }
        in_force
    }

    /// Hands on one subscription's messages, in their order. `unstored`: of
    /// channels with history, what the stream doesn't have.
    async fn hand_on(self: Arc<Self>, mut messages: Subscriber, unstored: bool) {
        while let Some(message) = messages.next().await {
            let Some(channel) = self.subjects.channel_of(&message.subject) else { continue };
            let rule = self.rules.load().of_subject(channel);
            if !unstored && kept_by(&rule).is_some() {
                // The feed brings it.
                continue;
            }
            let headers = message.headers.as_ref();
            let name = subjects::channel(channel).ok_or(message::Undeliverable::Channel);
            let decoded = name.and_then(|name| {
                let content =
                    message::decode(channel, headers, &message.payload, rule.max_payload)?;
                Ok(content.into_publication(name, self.clock.now(), None))
            });
            match decoded {
                Ok(publication) => {
                    let item = FeedItem::Publication(Arc::new(publication));
                    if self.fanout.send(item).await.is_err() {
                        return;
                    }
                }
                Err(reason) => self.skips.count(&self.metrics, channel, reason),
            }
        }
    }
}

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
use super::apply::Effective;
use super::crossing::{Crossings, Source};
use super::{JetStreamRelay, message, subjects};
use crate::channel::Channel;
use crate::publication::Publication;
use crate::relay::{FeedItem, RelayError};

/// Time between two attempts to subscribe, while NATS is away.
const RETRY: Duration = Duration::from_millis(500);
/// How often a channel that goes over to core is looked at.
const LOOK: Duration = Duration::from_millis(50);
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
pub struct Table {
    /// By subject.
    wanted: HashMap<String, Interest>,
    /// Subjects to look at.
    dirty: HashSet<String>,
}

struct Interest {
    /// Shards that have joined.
    count: usize,
    /// Whether the feed brings it, or is to.
    by_feed: bool,
    /// Whether what is published will arrive.
    ready: watch::Sender<bool>,
}

// === impl Interests ===

impl Interests {
    /// One shard more. The receiver says when the subscription is in force;
    /// with history, the feed is.
    fn join(&self, channel: &Channel, by_feed: impl FnOnce(&str) -> bool) -> watch::Receiver<bool> {
        let subject = subject_of(channel);
        let mut table = self.lock();
        // Under the lock, so that no change of the rules is missed.
        let interest = table.wanted.entry(subject.clone()).or_insert_with(|| {
            let by_feed = by_feed(&subject);
            Interest { count: 0, by_feed, ready: watch::Sender::new(by_feed) }
        });
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

    /// A channel's subscription may be otherwise now.
    pub fn look_at(&self, subject: String) {
        self.lock().dirty.insert(subject);
        self.changed.notify_one();
    }

    /// There are channels to look at.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    pub fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Table {
    /// Channels that come from elsewhere now begin to go over.
    pub fn cross(&mut self, effective: &Effective, crossings: &Crossings) {
        let now = std::time::Instant::now();
        for (subject, interest) in &mut self.wanted {
            let by_feed = effective.by_feed(subject);
            if by_feed != interest.by_feed {
                interest.by_feed = by_feed;
                crossings.begin(subject, Source::of(by_feed), now);
                self.dirty.insert(subject.clone());
            }
        }
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
        let by_feed = |subject: &str| self.effective.load().by_feed(subject);
        let mut ready = self.interests.join(channel, by_feed);
        // Also when who asked is gone meanwhile.
        let asked = scopeguard::guard((), |()| self.interests.leave(channel));
        let joined = tokio::time::timeout(TIMEOUT, ready.wait_for(|ready| *ready)).await;
        if matches!(joined, Ok(Ok(_))) {
            scopeguard::ScopeGuard::into_inner(asked);
            return Ok(());
        }
        Err(RelayError::Unavailable("NATS doesn't take a subscription".to_owned()))
    }

    /// Subscribes and unsubscribes as shards join and leave, and hands on
    /// what comes.
    pub(super) async fn serve_interests(self: &Arc<Self>, unstored: Subscriber) {
        // Sessions' own channels are in no hub, so nobody joins them.
        if let Ok(any) = Channel::sid("any") {
            self.interests.join(&any, |_| false);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(self).hand_on(unstored, None));
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
            let (wanted, by_feed) = {
                let mut table = self.interests.lock();
                let interest = table.wanted.get(subject).filter(|interest| interest.count > 0);
                let found = (interest.is_some(), interest.is_some_and(|i| i.by_feed));
                if !found.0 {
                    table.wanted.remove(subject);
                    self.crossings.forget(subject);
                }
                found
            };
            let core = !by_feed || self.crossings.is_before_switch(subject, Source::Feed);
            if wanted {
                fresh.push(subject.clone());
            }
            if !wanted || !core {
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
            let task = tasks.spawn(Arc::clone(self).hand_on(messages, Some(subject.clone())));
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

    /// Hands on one subscription's messages, in their order. No subject: of
    /// channels with history, what the stream doesn't have.
    async fn hand_on(self: Arc<Self>, mut messages: Subscriber, subject: Option<String>) {
        loop {
            let leaving =
                subject.as_deref().filter(|subject| self.crossings.is_going(subject, Source::Core));
            let message = match leaving {
                None => messages.next().await,
                Some(subject) => {
                    let message = tokio::time::timeout(LOOK, messages.next()).await;
                    if self.go_over_to_core(subject).await.is_err() {
                        return;
                    }
                    let Ok(message) = message else { continue };
                    message
                }
            };
            let Some(message) = message else { return };
            let Some(channel) = self.subjects.channel_of(&message.subject) else { continue };
            let rule = self.rules.load().of_subject(channel);
            let headers = message.headers.as_ref();
            let name = subjects::channel(channel).ok_or(message::Undeliverable::Channel);
            let decoded = name.and_then(|name| {
                let content =
                    message::decode(channel, headers, &message.payload, rule.max_payload)?;
                Ok(content.into_publication(name, self.clock.now(), None))
            });
            match decoded {
                Ok(publication) => {
                    let publication = Arc::new(publication);
                    if self.hand_on_one(channel, publication, subject.is_none()).await.is_err() {
                        return;
                    }
                }
                // What the feed brings is counted there.
                Err(_) if subject.is_some() && self.effective.load().by_feed(channel) => {}
                Err(reason) => self.skips.count(&self.metrics, channel, reason),
            }
        }
    }

    async fn hand_on_one(
        &self,
        channel: &str,
        publication: Arc<Publication>,
        unstored: bool,
    ) -> Result<(), RelayError> {
        let permit = self.fanout.reserve().await?;
        if unstored {
            permit.send(FeedItem::Publication(publication));
            return Ok(());
        }
        let settled = || Source::of(self.effective.load().by_feed(channel));
        if self.crossings.is_idle() {
            if settled() == Source::Core {
                permit.send(FeedItem::Publication(publication));
            }
            return Ok(());
        }
        self.crossings.decide(channel, &publication, None, settled, |deliver| {
            if deliver {
                permit.send(FeedItem::Publication(publication.clone()));
            }
        });
        Ok(())
    }

    /// The channel goes over to core when its time has come.
    async fn go_over_to_core(&self, subject: &str) -> Result<(), RelayError> {
        let now = std::time::Instant::now();
        let complete = self.is_complete(subject);
        for publication in self.crossings.switch_to_core(subject, complete, now) {
            self.fanout.send(FeedItem::Publication(publication)).await?;
        }
        self.crossings.expire(false, now);
        Ok(())
    }
}

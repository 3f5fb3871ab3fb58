//! Channels without history come over NATS core: one subscription for each
//! channel that somebody here is subscribed to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::api::TIMEOUT;
use super::apply::Effective;
use super::crossing::{Crossings, Source};
use super::line::{FIRST, Frame};
use super::{JetStreamRelay, message, subjects};
use crate::channel::Channel;
use crate::publication::Publication;
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

pub struct Table {
    /// By subject.
    wanted: HashMap<Box<str>, Interest>,
    /// Subjects to look at.
    dirty: HashSet<Box<str>>,
    /// The next subscription's number.
    next: u64,
}

struct Interest {
    /// Shards that have joined.
    count: u32,
    /// Whether the feed brings it, or is to.
    by_feed: bool,
    /// Its subscription on the line, if it has one.
    sid: Option<u64>,
    arrival: Arrival,
}

/// Whether what is published arrives.
enum Arrival {
    /// The feed brings it, or the subscription is in force.
    Sure,
    /// Not yet; these wait for it.
    Awaited(Vec<oneshot::Sender<()>>),
}

// === impl Interests ===

impl Interests {
    /// One shard more. The receiver says when what is published arrives; none:
    /// it does already.
    fn join(
        &self,
        channel: &Channel,
        by_feed: impl FnOnce(&str) -> bool,
    ) -> Option<oneshot::Receiver<()>> {
        let subject = subject_of(channel);
        let mut table = self.lock();
        // Under the lock, so that no change of the rules is missed.
        let interest = table.wanted.entry(subject.as_str().into()).or_insert_with(|| {
            let by_feed = by_feed(&subject);
            let arrival = if by_feed { Arrival::Sure } else { Arrival::Awaited(Vec::new()) };
            Interest { count: 0, by_feed, sid: None, arrival }
        });
        interest.count += 1;
        let Arrival::Awaited(waiting) = &mut interest.arrival else { return None };
        let (sender, receiver) = oneshot::channel();
        // Of those nobody waits for any more.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        table.dirty.insert(subject.into());
        self.changed.notify_one();
        Some(receiver)
    }

    /// One shard less.
    pub fn leave(&self, channel: &Channel) {
        let subject = subject_of(channel);
        let mut table = self.lock();
        let Some(interest) = table.wanted.get_mut(subject.as_str()) else { return };
        interest.count = interest.count.saturating_sub(1);
        if interest.count == 0 {
            table.dirty.insert(subject.into());
            self.changed.notify_one();
        }
    }

    /// A channel's subscription may be otherwise now.
    pub fn look_at(&self, subject: String) {
        self.lock().dirty.insert(subject.into());
        self.changed.notify_one();
    }

    /// There are channels to look at.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Every subscription that there is to be on the line.
    pub fn each_subscribed(&self, mut subscribe: impl FnMut(&str, u64)) {
        for (subject, interest) in &self.lock().wanted {
            if let Some(sid) = interest.sid {
                subscribe(subject, sid);
            }
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Default for Table {
    fn default() -> Self {
        Self { wanted: HashMap::new(), dirty: HashSet::new(), next: FIRST }
    }
}

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
        let Some(sure) = self.interests.join(channel, by_feed) else { return Ok(()) };
        // Also when who asked is gone meanwhile.
        let asked = scopeguard::guard((), |()| self.interests.leave(channel));
        if matches!(tokio::time::timeout(TIMEOUT, sure).await, Ok(Ok(()))) {
            scopeguard::ScopeGuard::into_inner(asked);
            return Ok(());
        }
        Err(RelayError::Unavailable("NATS doesn't take a subscription".to_owned()))
    }

    /// Subscribes and unsubscribes as shards join and leave.
    pub(super) async fn serve_interests(&self) {
        // Sessions' own channels are in no hub, so nobody joins them.
        if let Ok(any) = Channel::sid("any") {
            self.interests.join(&any, |_| false);
        }
        loop {
            let again = !self.update_interests().await;
            let retry = async {
                if again {
                    tokio::time::sleep(RETRY).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.interests.changed.notified() => {}
                () = retry => {}
            }
        }
    }

    /// False: to be tried again.
    async fn update_interests(&self) -> bool {
        let fresh = self.subscribe_changed();
        // A channel may be on its way.
        self.line.wake();
        if fresh.is_empty() {
            return true;
        }
        // One for all of them.
        let barrier = tokio::time::timeout(TIMEOUT, self.line.barrier()).await;
        let in_force = matches!(barrier, Ok(Ok(())));
        let mut table = self.interests.lock();
        for subject in fresh {
            if !in_force {
                table.dirty.insert(subject);
            } else if let Some(interest) = table.wanted.get_mut(&subject) {
                let before = std::mem::replace(&mut interest.arrival, Arrival::Sure);
                if let Arrival::Awaited(waiting) = before {
                    for sender in waiting {
                        // Who waited may be gone.
                        let _ = sender.send(());
                    }
                }
            }
        }
        in_force
    }

    /// Says to NATS what is new. Which channels somebody wants among those
    /// that were looked at.
    fn subscribe_changed(&self) -> Vec<Box<str>> {
        let mut table = self.interests.lock();
        let Table { wanted, dirty, next } = &mut *table;
        let mut fresh = Vec::new();
        for subject in dirty.drain() {
            let Some(interest) = wanted.get_mut(&subject) else { continue };
            let by_core =
                !interest.by_feed || self.crossings.is_before_switch(&subject, Source::Feed);
            if interest.count == 0 || !by_core {
                if let Some(sid) = interest.sid.take() {
                    self.line.unsubscribe(sid);
                }
            } else if interest.sid.is_none() {
                interest.sid = Some(*next);
                self.line.subscribe(&self.subjects.publish(&subject), *next);
                *next += 1;
            }
            if interest.count > 0 {
                fresh.push(subject);
            } else {
                wanted.remove(&subject);
                self.crossings.forget(&subject);
            }
        }
        if wanted.capacity() > 4 * wanted.len().max(16) {
            wanted.shrink_to_fit();
        }
        fresh
    }

    /// Hands on what a channel without history brought.
    pub(super) async fn hand_on_core(&self, frame: &Frame) -> Result<(), RelayError> {
        let Some((channel, publication)) = self.decode_unstored(frame, true) else { return Ok(()) };
        let settled = || Source::of(self.effective.load().by_feed(channel));
        if self.crossings.is_idle() {
            if settled() == Source::Core {
                self.fanout.send(FeedItem::Publication(publication)).await?;
            }
            return Ok(());
        }
        let permit = self.fanout.reserve().await?;
        self.crossings.decide(channel, &publication, None, settled, |deliver| {
            if deliver {
                permit.send(FeedItem::Publication(publication.clone()));
            }
        });
        Ok(())
    }

    /// Hands on what a channel with history didn't store.
    pub(super) async fn hand_on_unstored(&self, frame: &Frame) -> Result<(), RelayError> {
        match self.decode_unstored(frame, false) {
            Some((_, publication)) => self.fanout.send(FeedItem::Publication(publication)).await,
            None => Ok(()),
        }
    }

    /// None: nobody here wants it, or no client could take it; that is counted.
    fn decode_unstored<'f>(
        &self,
        frame: &'f Frame,
        own_subject: bool,
    ) -> Option<(&'f str, Arc<Publication>)> {
        let channel = self.subjects.channel_of(frame.subject()?)?;
        if self.crossings.is_idle() && !self.fanout.is_wanted(channel) {
            return None;
        }
        let rule = self.rules.load().of_subject(channel);
        let name = subjects::channel(channel).ok_or(message::Undeliverable::Channel);
        let decoded = name.and_then(|name| {
            let (headers, payload) = (frame.headers(), frame.payload());
            let content = message::decode(channel, headers, &payload, rule.max_payload)?;
            Ok(content.into_publication(name, self.clock.now(), None))
        });
        match decoded {
            Ok(publication) => Some((channel, Arc::new(publication))),
            // What the feed brings is counted there.
            Err(_) if own_subject && self.effective.load().by_feed(channel) => None,
            Err(reason) => {
                self.skips.count(&self.metrics, channel, reason);
                None
            }
        }
    }

    /// Channels go over to core when their time has come.
    pub(super) async fn go_over_to_core(&self) -> Result<(), RelayError> {
        let now = std::time::Instant::now();
        for subject in self.crossings.going_to_core() {
            let complete = self.is_complete(&subject);
            for publication in self.crossings.switch_to_core(&subject, complete, now) {
                self.fanout.send(FeedItem::Publication(publication)).await?;
            }
        }
        self.crossings.expire(false, now);
        Ok(())
    }
}

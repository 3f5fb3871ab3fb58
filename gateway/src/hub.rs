//! Who is subscribed to what in one shard of this gateway, and the fan-out
//! to them. The hub holds outboxes (a session's write half), never sessions.
//!
//! # Layout
//!
//! - [`outbox`]: what waits for one connection, and the way onto its socket
//! - [`droppable`]: what a client that doesn't keep up may miss
//! - [`close`]: why connections end
//! - [`subscriber`]: one session as the hub knows it
//! - `subscribers`: all of a channel
//! - [`encode`]: a publication in the form of each protocol, made once

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::rc::Rc;
use std::sync::Arc;

use arcstr::ArcStr;

use crate::channel::Channel;
use crate::metrics::Metrics;
use crate::offset::Position;
use crate::publication::Publication;
use crate::rules::Rule;

pub mod close;
pub mod droppable;
pub mod encode;
pub mod outbox;
pub mod subscriber;
mod subscribers;
#[cfg(test)]
mod tests;

pub use close::CloseReason;
pub use droppable::Policy;
use droppable::{Droppable, Dropping};
use encode::Encoder;
pub use encode::{Form, Protocol};
pub use outbox::{Later, Outbox, OutboxLimits};
pub use subscriber::Subscriber;
pub use subscribers::SubscriptionKey;
use subscribers::{Subscribers, Subscription};

/// So many connections' memory is fetched at once, before they are written to.
const AHEAD: usize = 16;

/// One shard's part of the subscriptions, and how far it has come in the feed.
pub struct Hub {
    channels: HashMap<Channel, Subscribers>,
    position: Position,
    /// Outboxes that got something in this round and wait for the flush.
    dirty: Vec<Rc<Outbox>>,
    namespaces: Arc<[ArcStr]>,
    dropping: Rc<Dropping>,
    metrics: Metrics,
}

// === impl Hub ===

impl Hub {
    /// A hub without subscriptions, at a place in the feed.
    pub fn new(position: Position, namespaces: Arc<[ArcStr]>, metrics: Metrics) -> Self {
        let dropping = Dropping::new(namespaces.clone(), metrics.clone());
        let (channels, dirty) = (HashMap::new(), Vec::new());
        Self { channels, position, dirty, namespaces, dropping, metrics }
    }

    /// How far this shard has come: everything up to it has been handed to
    /// the outboxes.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The feed has come to here, or was here before.
    pub fn advance(&mut self, position: Position) {
        // Of another life only [`Hub::begin`] tells: this was read before it.
        let place = |position: Position| (position.sequence, position.time);
        if position.epoch == self.position.epoch && place(position) > place(self.position) {
            self.position = position;
        }
    }

    /// The feed begins anew.
    pub fn begin(&mut self, position: Position) {
        self.position = position;
    }

    /// Subscribes a session. What the feed brings from now on is delivered.
    /// Returns the name as it is known here: whoever keeps it shares it.
    pub fn subscribe(
        &mut self,
        channel: &Channel,
        rule: &Rule,
        subscriber: &Rc<Subscriber>,
        meta: bool,
    ) -> (Channel, SubscriptionKey) {
        self.metrics.subscriptions.inc();
        let policy = Policy::of(rule.slow_consumer);
        let subscription = Subscription { subscriber: subscriber.clone(), meta, policy };
        match self.channels.entry(channel.clone()) {
            MapEntry::Occupied(mut entry) => {
                let key = entry.get_mut().insert(subscription);
                (entry.key().clone(), key)
            }
            MapEntry::Vacant(entry) => {
                let channel = entry.key().clone();
                let (subscribers, key) = Subscribers::new(subscription);
                entry.insert(subscribers);
                (channel, key)
            }
        }
    }

    /// Whether anybody is subscribed to a channel.
    pub fn has(&self, channel: &Channel) -> bool {
        self.channels.contains_key(channel)
    }

    /// Whether a subscription wants `{channel, id, time}` after the data.
    pub fn set_meta(&mut self, channel: &Channel, key: SubscriptionKey, meta: bool) {
        let subscribers = self.channels.get_mut(channel);
        if let Some(subscription) = subscribers.and_then(|them| them.get_mut(key)) {
            subscription.meta = meta;
        }
    }

    /// Ends a subscription. True: it was the channel's last in this shard.
    pub fn unsubscribe(&mut self, channel: &Channel, key: SubscriptionKey) -> bool {
        let MapEntry::Occupied(mut entry) = self.channels.entry(channel.clone()) else {
            return false;
        };
        let subscribers = entry.get_mut();
        if subscribers.remove(key) {
            self.metrics.subscriptions.dec();
        }
        let last = subscribers.is_empty();
        if last {
            entry.remove();
            self.shrink();
        }
        last
    }

    /// Hands a publication to every subscriber of its channel. With `direct`
    /// it is written at once where nothing waits; else the caller hands over
    /// more and then calls [`Hub::flush`], which gathers the writes.
    pub fn deliver(&mut self, publication: &Arc<Publication>, direct: bool) {
        if let Some(position) = publication.position {
            self.position = position;
        }
        let Some(subscribers) = self.channels.get(&publication.channel) else { return };
        // What is stored must not be missed: a client resumes past it.
        let policy = subscribers.policy().filter(|_| publication.position.is_none());
        let mut encoder = Encoder::new(publication, self.position, &self.namespaces)
            .movable(policy == Some(Policy::Latest));
        let mut delivered = 0;
        let except = &publication.except;
        let mut ahead = subscribers.iter();
        for (index, subscription) in subscribers.iter().enumerate() {
            if index % AHEAD == 0 {
                ahead.by_ref().take(AHEAD).for_each(|next| next.subscriber.outbox.fetch());
            }
            let subscriber = &subscription.subscriber;
            if !except.is_empty() && except.iter().any(|id| **id == *subscriber.sid) {
                continue;
            }
            let message = encoder.message(subscriber.form.with_meta(subscription.meta));
            let droppable = policy.map(|policy| Droppable {
                channel: &publication.channel,
                policy,
                form: subscriber.form,
                dropping: &self.dropping,
            });
            if subscriber.deliver(message, droppable.as_ref(), direct) {
                self.dirty.push(subscriber.outbox.clone());
            }
            delivered += 1;
        }
        self.metrics.deliveries.inc_by(delivered);
    }

    /// Hands a publication to one session, if it is here.
    pub fn deliver_to(
        &mut self,
        publication: &Arc<Publication>,
        subscriber: Option<&Rc<Subscriber>>,
    ) {
        if let Some(position) = publication.position {
            self.position = position;
        }
        let Some(subscriber) = subscriber else { return };
        let mut encoder = Encoder::new(publication, self.position, &self.namespaces);
        if subscriber.deliver(encoder.message(subscriber.form), None, false) {
            self.dirty.push(subscriber.outbox.clone());
        }
        self.metrics.deliveries.inc();
    }

    /// Writes what [`Hub::deliver`] queued: one write for each connection.
    pub fn flush(&mut self) {
        for some in self.dirty.chunks(AHEAD) {
            for outbox in some {
                outbox.fetch();
            }
            for outbox in some {
                outbox.clean();
            }
        }
        self.dirty.clear();
    }

    /// The rules changed.
    pub fn refresh_rules(&mut self, of: impl Fn(&Channel) -> Rule) {
        for (channel, subscribers) in &mut self.channels {
            subscribers.set_policy(Policy::of(of(channel).slow_consumer));
        }
    }

    /// Subscribers of every channel that has one.
    pub fn counts(&self) -> HashMap<Channel, u64> {
        self.channels.iter().map(|(channel, them)| (channel.clone(), them.len() as u64)).collect()
    }

    /// Subscribers of one channel.
    pub fn count(&self, channel: &Channel) -> u64 {
        self.channels.get(channel).map_or(0, |them| them.len() as u64)
    }

    /// Gives back what many channels that are gone have left.
    fn shrink(&mut self) {
        if self.channels.capacity() > 4 * self.channels.len().max(256) {
            self.channels.shrink_to(self.channels.len() * 2);
        }
    }
}

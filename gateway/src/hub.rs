//! Who is subscribed to what in one shard of this gateway, and the fan-out
//! to them. The hub holds outboxes (a session's write half), never sessions.
//!
//! # Layout
//!
//! - [`outbox`]: what waits for one connection, and the way onto its socket
//! - [`subscriber`]: one session as the hub knows it
//! - [`encode`]: a publication in the form of each protocol, made once

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use crate::channel::Channel;
use crate::metrics::Metrics;
use crate::offset::Position;
use crate::publication::Publication;
use crate::rules::Rule;

pub mod encode;
pub mod outbox;
pub mod subscriber;

use encode::Encoder;
pub use encode::{Form, Protocol};
pub use outbox::{CloseReason, Outbox, OutboxLimits};
pub use subscriber::Subscriber;

/// One shard's part of the subscriptions, and how far it has come in the feed.
pub struct Hub {
    channels: HashMap<Channel, Entry>,
    position: Position,
    /// Outboxes that got something in this round and wait for the flush.
    dirty: Vec<Rc<Outbox>>,
    namespaces: Arc<[Box<str>]>,
    metrics: Metrics,
}

/// One channel that somebody is subscribed to.
struct Entry {
    rule: Rule,
    subscriptions: Slab<Subscription>,
}

/// One session on one channel.
struct Subscription {
    subscriber: Rc<Subscriber>,
    meta: bool,
}

/// Where a subscription stands in its channel's list.
pub type SubscriptionKey = usize;

// === impl Hub ===

impl Hub {
    /// A hub without subscriptions, at a place in the feed.
    pub fn new(position: Position, namespaces: Arc<[Box<str>]>, metrics: Metrics) -> Self {
        Self { channels: HashMap::new(), position, dirty: Vec::new(), namespaces, metrics }
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
    pub fn subscribe(
        &mut self,
        channel: &Channel,
        rule: Rule,
        subscriber: &Rc<Subscriber>,
        meta: bool,
    ) -> SubscriptionKey {
        self.metrics.subscriptions.inc();
        let entry = self
            .channels
            .entry(channel.clone())
            .or_insert_with(|| Entry { rule, subscriptions: Slab::new() });
        entry.subscriptions.insert(Subscription { subscriber: subscriber.clone(), meta })
    }

    /// Whether anybody is subscribed to a channel.
    pub fn has(&self, channel: &Channel) -> bool {
        self.channels.contains_key(channel)
    }

    /// Whether a subscription wants `{channel, id, time}` after the data.
    pub fn set_meta(&mut self, channel: &Channel, key: SubscriptionKey, meta: bool) {
        let entry = self.channels.get_mut(channel);
        if let Some(subscription) = entry.and_then(|entry| entry.subscriptions.get_mut(key)) {
            subscription.meta = meta;
        }
    }

    /// Ends a subscription. True: it was the channel's last in this shard.
    pub fn unsubscribe(&mut self, channel: &Channel, key: SubscriptionKey) -> bool {
        let MapEntry::Occupied(mut entry) = self.channels.entry(channel.clone()) else {
            return false;
        };
        if entry.get_mut().subscriptions.try_remove(key).is_some() {
            self.metrics.subscriptions.dec();
        }
        let last = entry.get().subscriptions.is_empty();
        if last {
            entry.remove();
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
        let Some(entry) = self.channels.get(&publication.channel) else { return };
        let mut encoder = Encoder::new(publication, self.position, &self.namespaces);
        let mut delivered = 0;
        for (_, subscription) in &entry.subscriptions {
            let subscriber = &subscription.subscriber;
            if !publication.except.is_empty() && publication.except.contains(&subscriber.sid) {
                continue;
            }
            let message = encoder.message(subscriber.form.with_meta(subscription.meta));
            if subscriber.deliver(message, direct) {
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
        if subscriber.deliver(encoder.message(subscriber.form), false) {
            self.dirty.push(subscriber.outbox.clone());
        }
        self.metrics.deliveries.inc();
    }

    /// Writes what [`Hub::deliver`] queued: one write for each connection.
    pub fn flush(&mut self) {
        for outbox in self.dirty.drain(..) {
            outbox.clean();
            outbox.flush();
        }
    }

    /// What holds for a channel that somebody is subscribed to.
    pub fn rule(&self, channel: &Channel) -> Option<Rule> {
        self.channels.get(channel).map(|entry| entry.rule)
    }

    /// The rules changed.
    pub fn refresh_rules(&mut self, of: impl Fn(&Channel) -> Rule) {
        for (channel, entry) in &mut self.channels {
            entry.rule = of(channel);
        }
    }

    /// Subscribers of every channel that has one.
    pub fn counts(&self) -> HashMap<Channel, u64> {
        self.channels
            .iter()
            .map(|(c, entry)| (c.clone(), entry.subscriptions.len() as u64))
            .collect()
    }

    /// Subscribers of one channel.
    pub fn count(&self, channel: &Channel) -> u64 {
        self.channels.get(channel).map_or(0, |entry| entry.subscriptions.len() as u64)
    }
}

//! Subscribing, with resume, for all protocols.
//!
//! There is no window between what is replayed and what is live: the session
//! enters the hub at the shard's position, live publications wait from there
//! on, the replay reaches exactly up to there, then they follow.

use std::rc::Rc;

use super::subscriptions::Subscription;
use super::{Origin, Session};
use crate::auth::Action;
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::hub::encode::replayed_later;
use crate::hub::{Later, Protocol};
use crate::offset::{Offset, Position};
use crate::protocol::engineio::Message;
use crate::relay::Replay;

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct SubscribeRequest {
    /// The channel, as the client calls it.
    pub channel: String,
    /// Resume after this offset.
    pub since: Option<Offset>,
    /// Begin with so many of the latest.
    pub last: Option<usize>,
    /// `{channel, id, time}` follows the data.
    pub meta: bool,
}

/// What a client learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Where the subscription begins; none without history.
    pub offset: Option<Position>,
    /// Whether everything since the offset that it gave is delivered.
    pub recovered: bool,
}

/// What one channel's replay holds.
struct ReplayedOne {
    messages: Vec<Later>,
    /// Whether it is all that followed the client's offset.
    recovered: bool,
    /// The place before its first message.
    start: Position,
}

/// A subscription that is in force but not yet told: live publications wait
/// until it is [`Pending::settle`]d. Dropped: they follow all the same, unless
/// the client hasn't been told of the session either.
pub struct Pending<'a> {
    session: &'a Rc<Session>,
    notices: Vec<Message>,
    replayed: Vec<Later>,
    settled: bool,
}

// === impl Session ===

impl Session {
    /// Subscribes for the client. The answer goes out before
    /// [`Pending::settle`], which sends the replay and lets live ones follow.
    pub async fn subscribe(
        self: &Rc<Self>,
        request: &SubscribeRequest,
    ) -> Result<(Subscribed, Pending<'_>), Error> {
        let done = self.try_subscribe(request).await;
        self.tell("subscribes", Some(&request.channel), done.as_ref().map(drop));
        done
    }

    async fn try_subscribe(
        self: &Rc<Self>,
        request: &SubscribeRequest,
    ) -> Result<(Subscribed, Pending<'_>), Error> {
        let channel = self.check(&request.channel, Action::Subscribe).await?;
        let reads_history = request.since.is_some() || request.last.is_some();
        let most = self.shard.shared.limits.load().subscriptions;
        let existing = self.subscriptions.borrow().get(&channel).cloned();
        if existing.is_none() && self.own_subscriptions() >= most {
            return Err(Error::new(
                ErrorCode::LimitSubscriptions,
                format!("a session has at most {most} subscriptions; unsubscribe from one first"),
            ));
        }
        if let Some(since) = &request.since {
            self.shard.reach(since.furthest()).await?;
        }
        let _joined = self.shard.join(&channel).await?;
        let mut pending = Pending::new(self);
        let position = match &existing {
            Some(subscription) => {
                self.change_meta(&channel, subscription, request.meta);
                self.shard.hub.borrow().position()
            }
            None => self.insert(&channel, None, request.meta, Origin::Command),
        };
        let history = self.shard.shared.access.rule(&channel).history.is_some();
        let mut subscribed = Subscribed { offset: history.then_some(position), recovered: false };
        if reads_history {
            match self.replay_one(&channel, request, position).await {
                Ok(replayed) => {
                    pending.replayed = replayed.messages;
                    subscribed.recovered = replayed.recovered;
                    self.begin_at(&channel, replayed.start, position);
                }
                Err(error) => {
                    if existing.is_none() {
                        self.remove(&channel);
                    }
                    return Err(error);
                }
            }
        }
        if (existing.is_none() || reads_history)
            && let Err(error) = self.write_record().await
        {
            if existing.is_none() {
                self.remove(&channel);
            }
            return Err(error);
        }
        Ok((subscribed, pending))
    }

    /// A subscription that begins with a replay begins before it: a client
    /// that is cut off in the middle recovers the rest.
    fn begin_at(&self, channel: &Channel, start: Position, joined: Position) {
        if let Some(subscription) = self.subscriptions.borrow_mut().get_mut(channel) {
            subscription.begin(start, joined);
        }
    }

    /// Subscriptions that the client asked for; only they are limited.
    fn own_subscriptions(&self) -> usize {
        let subscriptions = self.subscriptions.borrow();
        subscriptions.values().filter(|s| s.origin == Origin::Command).count()
    }

    /// Ends a subscription for the client.
    pub async fn unsubscribe(&self, name: &str) -> Result<(), Error> {
        let done = self.try_unsubscribe(name).await;
        self.tell("unsubscribes", Some(name), done.as_ref().map(drop));
        done
    }

    async fn try_unsubscribe(&self, name: &str) -> Result<(), Error> {
        let (channel, mapped) = self.resolve(name)?;
        if channel.is_system() && !mapped {
            return Err(Error::new(
                ErrorCode::Forbidden,
                "channels that begin with `$` belong to the system; they can't be left",
            )
            .field("channel"));
        }
        if !self.subscriptions.borrow().contains(&channel) {
            return Err(Error::new(
                ErrorCode::NotFound,
                "the session is not subscribed to this channel",
            )
            .field("channel"));
        }
        self.remove(&channel);
        self.write_record().await
    }

    /// Enters the hub. Returns the position from which publications arrive.
    pub(super) fn insert(
        &self,
        channel: &Channel,
        owed: Option<(Position, Position)>,
        meta: bool,
        origin: Origin,
    ) -> Position {
        let rule = self.shard.shared.access.rule(channel);
        let mut hub = self.shard.hub.borrow_mut();
        let position = hub.position();
        if self.ended.get() {
            // It ended while the relay was asked: nobody would ever take the
            // subscription out of the hub again.
            return position;
        }
        let (channel, key) = hub.subscribe(channel, &rule, &self.subscriber, meta);
        let history = rule.history.is_some();
        let mut subscription = Subscription::new(key, position, meta, origin, history);
        if let Some((start, joined)) = owed {
            subscription.begin(start, joined);
        }
        let before = self.subscriptions.borrow_mut().insert(channel.clone(), subscription);
        if let Some(before) = before {
            hub.unsubscribe(&channel, before.key);
        }
        position
    }

    /// Leaves the hub.
    pub(super) fn remove(&self, channel: &Channel) {
        let Some(subscription) = self.subscriptions.borrow_mut().remove(channel) else { return };
        let last = self.shard.hub.borrow_mut().unsubscribe(channel, subscription.key);
        if last {
            self.shard.leave(channel);
        }
    }

    fn change_meta(&self, channel: &Channel, subscription: &Subscription, meta: bool) {
        self.shard.hub.borrow_mut().set_meta(channel, subscription.key, meta);
        if let Some(subscription) = self.subscriptions.borrow_mut().get_mut(channel) {
            subscription.meta = meta;
        }
    }

    /// What one channel holds up to `until`: after `since`, or the `last`.
    async fn replay_one(
        &self,
        channel: &Channel,
        request: &SubscribeRequest,
        until: Position,
    ) -> Result<ReplayedOne, Error> {
        let since = request.since.clone();
        let from = since.as_ref().map_or(until, |offset| offset.position);
        let after = since.as_ref().map_or(0, |offset| offset.sequence_of(channel));
        let replay = Replay {
            from,
            channels: vec![(channel.clone(), after)],
            until,
            last: if since.is_some() { None } else { request.last },
        };
        let replayed = self.shard.shared.relay.replay(replay).await?;
        let recovered = since.is_some() && replayed.lost.is_empty();
        // What is owed begins where the replay does; without one, here.
        let first = replayed.publications.first().and_then(|publication| publication.position);
        let start = match first {
            Some(first) => Position { sequence: first.sequence.saturating_sub(1), ..first },
            None => until,
        };
        let form = self.subscriber.form.with_meta(request.meta);
        let namespaces = &self.shard.shared.namespaces;
        let messages = replayed
            .publications
            .into_iter()
            .map(|publication| {
                let sequence = publication.position.map_or(0, |position| position.sequence);
                // The other subscriptions are complete up to `until`, this
                // one up to here.
                let offset = Offset { position: until, channel: Some((channel.clone(), sequence)) };
                replayed_later(publication, form, namespaces, offset)
            })
            .collect();
        Ok(ReplayedOne { messages, recovered, start })
    }
}

// === impl Pending ===

impl<'a> Pending<'a> {
    pub(super) fn new(session: &'a Rc<Session>) -> Self {
        session.subscriber.hold();
        Self { session, notices: Vec::new(), replayed: Vec::new(), settled: false }
    }

    pub(super) fn replay(&mut self, messages: Vec<Later>) {
        self.replayed = messages;
    }

    pub(super) fn notices(&mut self, messages: Vec<Message>) {
        self.notices = messages;
    }

    /// The client has its answer: the replay follows, then what is live.
    pub fn settle(mut self) {
        let replayed = !self.replayed.is_empty();
        self.finish();
        // After a replay a Socket.IO client holds its last frame's offset. A
        // bare position would look like one from before the replay.
        let told = replayed && self.session.protocol() == Protocol::Socketio;
        self.session.start_positions(!told);
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        if !self.session.announced.get() {
            return self.session.subscriber.release();
        }
        let outbox = &self.session.subscriber.outbox;
        for notice in self.notices.drain(..) {
            outbox.queue(&notice);
        }
        let replayed = std::mem::take(&mut self.replayed);
        let count = replayed.len() as u64;
        if outbox.queue_replay(replayed) {
            self.session.shard.shared.metrics.deliveries.inc_by(count);
        }
        outbox.flush();
        self.session.subscriber.release();
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

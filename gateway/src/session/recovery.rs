//! Connection state recovery: a client that comes back with the private id
//! of its session, and the offset that it holds, is the same session again.

use std::rc::Rc;
use std::sync::Arc;

use super::sid::random_id;
use super::subscribe::Pending;
use super::{Origin, Session};
use crate::auth::{Action, Identity};
use crate::channel::Channel;
use crate::error::Error;
use crate::hub::Later;
use crate::hub::encode::replayed_later;
use crate::metrics::OutcomeLabel;
use crate::offset::{Offset, Position};
use crate::protocol::engineio::Message;
use crate::relay::{Claim, Owner, Replay, SessionRecord, SubscriptionRecord};

/// This connection owns the session's record.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// The private id.
    pub pid: Arc<str>,
    /// Which connection; a later one fences this one.
    pub owner: Owner,
}

/// What a client gives to be the same session again.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveryRequest {
    /// The private id.
    pub pid: String,
    /// The last offset that it saw. None: it saw none.
    pub offset: Option<Offset>,
}

/// A subscription to restore: its start and where it entered the hub, if it
/// had begun, and whether it wants `{channel, id, time}`.
type Wanted = (Channel, Option<(Position, Position)>, bool, Origin);

/// From where a session's subscriptions are replayed, all together.
#[derive(Clone, Copy, Debug)]
pub enum Resume<'a> {
    /// A recovered session: after the offset, never before a subscription's
    /// start.
    Session(Option<&'a Offset>),
    /// A stream that names its channels anew: after the offset.
    Stream(&'a Offset),
    /// So many of each channel's latest.
    Last(usize),
}

// === impl Session ===

impl Session {
    /// Takes a session's record over, if its user is this one.
    pub async fn claim(
        shard: &crate::shard::Shard,
        request: &RecoveryRequest,
        namespace: &str,
        user: Option<&str>,
    ) -> Result<Option<(SessionRecord, Owner)>, Error> {
        let sessions = shard.shared.relay.sessions();
        match sessions.claim(&request.pid).await? {
            Claim::Granted(record, owner) => {
                let revocations = shard.shared.auth.revocations();
                if revocations.forgets(record.user.as_deref(), record.began) {
                    sessions.delete(&request.pid.as_str().into(), owner);
                    return Ok(None);
                }
                let same = &*record.namespace == namespace && record.user.as_deref() == user;
                if !same {
                    // Nobody holds it now: from here its time runs.
                    sessions.closed(&request.pid.as_str().into(), owner);
                    return Ok(None);
                }
                Ok(Some((record, owner)))
            }
            Claim::Unknown => Ok(None),
        }
    }

    /// The session owns a record from now on.
    pub fn own(self: &Rc<Self>, ownership: Ownership) {
        self.shard.pids.borrow_mut().insert(ownership.pid.clone(), self.clone());
        *self.recovery.borrow_mut() = Some(ownership);
    }

    /// Its private id, if it is recoverable.
    pub fn pid(&self) -> Option<Arc<str>> {
        self.recovery.borrow().as_ref().map(|ownership| ownership.pid.clone())
    }

    /// As which owner it holds its record.
    pub fn owner(&self) -> Option<Owner> {
        self.recovery.borrow().as_ref().map(|ownership| ownership.owner)
    }

    /// Subscribes to what every session of this identity has: `$all`, its
    /// user's channel, the token's `join`.
    pub async fn join_all(self: &Rc<Self>) -> Result<Pending<'_>, Error> {
        let channels = self.connect_channels();
        let mut joined = Vec::with_capacity(channels.len());
        for channel in &channels {
            joined.push(self.shard.join(channel).await?);
        }
        let pending = Pending::new(self);
        for channel in &channels {
            self.insert(channel, None, false, Origin::Connect);
        }
        if self.subscriber.form.recoverable {
            let pid = random_id()?;
            let sessions = self.shard.shared.relay.sessions();
            let owner = sessions.create(&pid, self.record()).await?;
            self.own(Ownership { pid, owner });
        }
        Ok(pending)
    }

    /// The channels of [`Session::join_all`].
    pub(super) fn connect_channels(&self) -> Vec<Channel> {
        self.channels_of(&self.identity())
    }

    /// The channels that every session of an identity has.
    pub(super) fn channels_of(&self, identity: &Identity) -> Vec<Channel> {
        let mut channels = vec![Channel::all()];
        channels.extend(identity.user.as_deref().and_then(|user| Channel::user(user).ok()));
        channels.extend(
            identity.join.iter().filter_map(|channel| {
                Channel::in_namespace(&self.namespace, channel.as_str()).ok()
            }),
        );
        channels
    }

    /// Subscribes to everything at once: what every session of this identity
    /// has, and these. One position holds for all, so that one replay does.
    pub(super) async fn join_with(
        self: &Rc<Self>,
        names: &[String],
        since: Option<&Offset>,
    ) -> Result<(Position, Pending<'_>), Error> {
        if let Some(since) = since {
            self.shard.reach(since.furthest()).await?;
        }
        let mut channels = self.connect_channels();
        let connect = channels.len();
        for name in names {
            let checked = self.check(name, Action::Subscribe).await;
            let outcome = checked.as_ref().map(drop);
            self.tell("subscribes", Some(name), outcome);
            let channel = checked?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        let mut joined = Vec::with_capacity(channels.len());
        for channel in &channels {
            joined.push(self.shard.join(channel).await?);
        }
        let pending = Pending::new(self);
        let until = self.shard.hub.borrow().position();
        for (index, channel) in channels.iter().enumerate() {
            let origin = if index < connect { Origin::Connect } else { Origin::Command };
            self.insert(channel, None, false, origin);
        }
        Ok((until, pending))
    }

    /// Restores a record's subscriptions and what was missed. `None`: the
    /// gap can't be filled, and nothing is restored.
    pub async fn restore(
        self: &Rc<Self>,
        record: &SessionRecord,
        offset: Option<&Offset>,
    ) -> Result<Option<Pending<'_>>, Error> {
        self.began.set(record.began);
        let starts = record.subscriptions.iter().map(|subscription| subscription.start);
        for place in starts.chain(offset.map(Offset::furthest)) {
            self.shard.reach(place).await?;
        }
        let (wanted, gone) = self.still_allowed(record).await?;
        let mut joined = Vec::with_capacity(wanted.len());
        for (channel, ..) in &wanted {
            joined.push(self.shard.join(channel).await?);
        }
        let mut pending = Pending::new(self);
        let mut until = self.shard.hub.borrow().position();
        for (channel, owed, meta, origin) in &wanted {
            until = self.insert(channel, *owed, *meta, *origin);
        }
        let restored = self.replay_all(&Resume::Session(offset), until).await;
        match restored {
            Ok((messages, lost)) if lost.is_empty() => {
                self.write_record().await?;
                pending.notices(gone);
                pending.replay(messages);
                Ok(Some(pending))
            }
            other => {
                for (channel, ..) in &wanted {
                    self.remove(channel);
                }
                other.map(|_| None)
            }
        }
    }

    /// The record's subscriptions, less those that are no longer allowed,
    /// and what every session of this identity has; and a notice of each that
    /// is gone.
    async fn still_allowed(
        &self,
        record: &SessionRecord,
    ) -> Result<(Vec<Wanted>, Vec<Message>), Error> {
        let identity = self.identity();
        let mapped = &*self.namespace != "/";
        let connect = self.connect_channels();
        let mut wanted = Vec::with_capacity(record.subscriptions.len());
        let mut gone = Vec::new();
        for subscription in &record.subscriptions {
            let channel = subscription.channel.clone();
            let origin = if connect.contains(&channel) { Origin::Connect } else { Origin::Command };
            let allowed = match origin {
                Origin::Connect => Ok(()),
                Origin::Command => self.allow(&identity, &channel, mapped, Action::Subscribe).await,
            };
            if let Err(error) = &allowed
                && error.code.retry()
            {
                return Err(error.clone());
            }
            if allowed.is_ok() {
                let owed = Some((subscription.start, subscription.joined));
                wanted.push((channel, owed, subscription.meta, origin));
            } else {
                let name = self.name_of(&channel);
                let data = serde_json::json!({ "channel": name, "code": "forbidden" });
                gone.push(self.notice("push:unsubscribed", &data));
            }
        }
        for channel in connect {
            if !wanted.iter().any(|(have, ..)| *have == channel) {
                wanted.push((channel, None, false, Origin::Connect));
            }
        }
        Ok((wanted, gone))
    }

    /// What all subscriptions with history missed up to `until`, merged in
    /// the stream's order, and the channels of which some is gone.
    pub(super) async fn replay_all(
        &self,
        resume: &Resume<'_>,
        until: Position,
    ) -> Result<(Vec<Later>, Vec<Channel>), Error> {
        let mut channels = Vec::new();
        let mut metas = Vec::new();
        let mut earliest = until;
        // An offset of another life of the stream is one of an earlier
        // session: this one began in the present life.
        let offset = match resume {
            Resume::Session(offset) => offset.filter(|o| o.position.epoch == until.epoch),
            Resume::Stream(offset) => Some(*offset),
            Resume::Last(_) => None,
        };
        for (channel, subscription) in self.subscriptions.borrow().iter() {
            if !subscription.history {
                continue;
            }
            let start = subscription.start();
            let after = match (resume, offset) {
                // One from before the subscription says nothing of it; one of
                // its own replay says how far that came.
                (Resume::Session(_), Some(offset)) => match offset.exception_of(channel) {
                    Some(sequence) => sequence,
                    None if offset.position.sequence > subscription.joined.sequence => {
                        offset.position.sequence
                    }
                    None => start.sequence,
                },
                (Resume::Session(_), None) => start.sequence,
                (_, Some(offset)) => offset.sequence_of(channel),
                (_, None) => 0,
            };
            if matches!(resume, Resume::Session(_))
                && subscription.joined.sequence < earliest.sequence
            {
                // A place where the hub has been; a start may lie before one.
                earliest = subscription.joined;
            }
            channels.push((channel.clone(), after));
            metas.push((channel.clone(), subscription.meta));
        }
        if channels.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let base = offset.map(|offset| offset.position);
        let last = if let Resume::Last(last) = resume { Some(*last) } else { None };
        let replay = Replay { from: base.unwrap_or(earliest), channels, until, last };
        let replayed = self.shard.shared.relay.replay(replay).await?;
        let namespaces = &self.shard.shared.namespaces;
        let messages = replayed.publications.into_iter().map(|publication| {
            let meta = metas.iter().any(|(c, meta)| *meta && *c == publication.channel);
            let position = publication.position.unwrap_or(until);
            // A replayed frame never moves a session's position back: what
            // one channel was behind of the others carries their position.
            let offset = match base {
                Some(base) if position.sequence <= base.sequence => Offset {
                    position: base,
                    channel: Some((publication.channel.clone(), position.sequence)),
                },
                _ => position.into(),
            };
            replayed_later(publication, self.subscriber.form.with_meta(meta), namespaces, offset)
        });
        Ok((messages.collect(), replayed.lost))
    }

    /// Writes what another gateway needs to restore this session.
    pub(super) async fn write_record(&self) -> Result<(), Error> {
        let Some(ownership) = self.recovery.borrow().clone() else { return Ok(()) };
        let record = self.record();
        let sessions = self.shard.shared.relay.sessions();
        if !sessions.put(&ownership.pid, ownership.owner, record).await? {
            self.shard.fenced(&ownership.pid, None);
        }
        Ok(())
    }

    fn record(&self) -> SessionRecord {
        let mut subscriptions: Vec<_> = self
            .subscriptions
            .borrow()
            .iter()
            .map(|(channel, subscription)| SubscriptionRecord {
                channel: channel.clone(),
                start: subscription.start(),
                joined: subscription.joined,
                meta: subscription.meta,
            })
            .collect();
        // In one order: an unchanged record is not written again.
        subscriptions.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
        SessionRecord {
            sid: self.id.clone(),
            namespace: self.namespace.as_str().into(),
            user: self.identity.borrow().user.as_deref().map(Into::into),
            began: self.began.get(),
            subscriptions,
        }
    }

    /// The transport closed, or the client left for good.
    pub(super) fn leave_recovery(&self, for_good: bool) {
        let Some(ownership) = self.recovery.borrow_mut().take() else { return };
        let mut pids = self.shard.pids.borrow_mut();
        if pids.get(&ownership.pid).is_some_and(|session| session.id == self.id) {
            pids.remove(&ownership.pid);
        }
        let sessions = self.shard.shared.relay.sessions();
        if for_good {
            sessions.delete(&ownership.pid, ownership.owner);
        } else {
            sessions.closed(&ownership.pid, ownership.owner);
        }
    }

    /// Counts how a recovery went.
    pub(super) fn count_recovery(&self, outcome: &'static str) {
        self.tell(format_args!("comes back ({outcome})"), None, Ok(()));
        self.shard.shared.metrics.recoveries.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

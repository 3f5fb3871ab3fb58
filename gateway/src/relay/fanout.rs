//! From a relay to the gateway's shards, in one order.
//!
//! A publication goes to the shards that have a subscriber of its channel, and
//! wakes no other. How far the relay has come stands beside the queues, and a
//! shard reads it when it needs it: a stream full of what nobody here wants
//! costs a gateway no wake-up (docs/decisions/fanout.md).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use smallvec::SmallVec;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use super::{FeedItem, RelayError};
use crate::channel::Channel;
use crate::offset::Position;

#[cfg(test)]
mod tests;

/// Every session's own channel. Its shard finds it by its id; nobody wants it
/// by name.
const SESSION: &str = "$sid.";

/// Where a relay puts what it has for this gateway. Calls for one relay are
/// made one after the other, so that every shard sees the same order.
#[derive(Clone)]
pub struct Fanout(Arc<Inner>);

struct Inner {
    shards: Box<[mpsc::Sender<FeedItem>]>,
    /// Whether every shard gets everything, wanted or not.
    unasked: bool,
    /// One lock for who wants what and for the position: whoever begins to
    /// want a channel learns a position from which on nothing of it is kept
    /// from him.
    state: Mutex<State>,
    /// The position moved.
    moved: Notify,
    /// Publications that came.
    received: Counter,
}

#[derive(Default)]
struct State {
    /// The last place in the feed: all up to it is in the queues of those who
    /// wanted it.
    position: Position,
    wanted: HashMap<Channel, ShardSet>,
}

/// Some of the shards. Those from the 64th on share a bit, and may be given
/// what they don't want.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct ShardSet(u64);

/// Room in every shard's queue for one item; see [`Fanout::reserve`].
pub struct FanoutPermit<'a> {
    fanout: &'a Fanout,
    permits: SmallVec<[mpsc::Permit<'a, FeedItem>; 8]>,
}

// === impl Fanout ===

impl Fanout {
    /// One queue for each shard. `received` counts publications.
    pub fn new(shards: Vec<mpsc::Sender<FeedItem>>, received: Counter) -> Self {
        Self::with(shards, received, false)
    }

    /// The same, where every queue gets every publication. For tests of a
    /// relay, which have no shards.
    pub fn unasked(shards: Vec<mpsc::Sender<FeedItem>>) -> Self {
        Self::with(shards, Counter::default(), true)
    }

    fn with(shards: Vec<mpsc::Sender<FeedItem>>, received: Counter, unasked: bool) -> Self {
        let (state, moved) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { shards: shards.into(), unasked, state, moved, received }))
    }

    // --- for the relay ---

    /// Waits for room for one item in every shard's queue. Then the item can
    /// be sent while a lock is held: that is how the order of a sequence and
    /// the order of the queues stay the same.
    pub async fn reserve(&self) -> Result<FanoutPermit<'_>, RelayError> {
        let mut permits = SmallVec::with_capacity(self.0.shards.len());
        for shard in &self.0.shards {
            permits.push(shard.reserve().await.map_err(|_| RelayError::Stopped)?);
        }
        Ok(FanoutPermit { fanout: self, permits })
    }

    /// Waits for room and sends.
    pub async fn send(&self, item: FeedItem) -> Result<(), RelayError> {
        if let Some(item) = self.try_send(item)? {
            self.reserve().await?.send(item);
        }
        Ok(())
    }

    /// Sends if there is room where it is wanted; else it comes back.
    fn try_send(&self, item: FeedItem) -> Result<Option<FeedItem>, RelayError> {
        let mut state = self.lock();
        let receivers = self.receivers(&state, &item);
        let mut permits: SmallVec<[mpsc::Permit<'_, FeedItem>; 8]> = SmallVec::new();
        for shard in receivers.of(&*self.0.shards) {
            match shard.try_reserve() {
                Ok(permit) => permits.push(permit),
                Err(TrySendError::Full(())) => return Ok(Some(item)),
                Err(TrySendError::Closed(())) => return Err(RelayError::Stopped),
            }
        }
        self.hand_out(&mut state, permits, item);
        drop(state);
        self.0.moved.notify_waiters();
        Ok(None)
    }

    /// A publication of this channel, given as a subject, is next in the
    /// feed. If no shard wants it, the position moves past it. False: it is to
    /// be sent.
    pub fn pass_by(&self, subject: &str, position: Position) -> bool {
        let mut state = self.lock();
        if !self.receivers_of(&state, subject).is_empty() {
            return false;
        }
        state.position = position;
        drop(state);
        self.0.received.inc();
        self.0.moved.notify_waiters();
        true
    }

    /// Whether a shard wants a channel, given as a subject.
    pub fn is_wanted(&self, subject: &str) -> bool {
        !self.receivers_of(&self.lock(), subject).is_empty()
    }

    /// The feed moved on to here, and there was nothing to hand on.
    pub fn advance(&self, position: Position) {
        self.lock().position = position;
        self.0.moved.notify_waiters();
    }

    // --- for a shard ---

    /// A shard wants a channel from now on: it gets what comes after
    /// [`Fanout::position`], asked for after this.
    pub fn want(&self, shard: u8, channel: &Channel) {
        let mut state = self.lock();
        let set = state.wanted.entry(channel.clone()).or_default();
        *set = set.with(shard);
    }

    /// It doesn't any more.
    pub fn unwant(&self, shard: u8, channel: &Channel) {
        // Its bit may be others' too.
        if ShardSet::is_shared(shard, self.0.shards.len()) {
            return;
        }
        let mut state = self.lock();
        let Some(set) = state.wanted.get_mut(channel) else { return };
        *set = set.without(shard);
        if set.is_empty() {
            state.wanted.remove(channel);
            if state.wanted.capacity() > 4 * state.wanted.len().max(16) {
                state.wanted.shrink_to_fit();
            }
        }
    }

    /// How far the feed has come: everything up to here that a shard wants is
    /// in its queue, or was.
    pub fn position(&self) -> Position {
        self.lock().position
    }

    /// Ready when the feed has come to a place, or lives anew.
    pub async fn reach(&self, place: Position) {
        loop {
            let mut moved = std::pin::pin!(self.0.moved.notified());
            // Before the look, so that no move is missed after it.
            moved.as_mut().enable();
            let position = self.position();
            if position.epoch != place.epoch || position.sequence >= place.sequence {
                return;
            }
            moved.await;
        }
    }

    // --- both ---

    /// Who gets an item.
    fn receivers(&self, state: &State, item: &FeedItem) -> ShardSet {
        match item {
            FeedItem::Publication(publication)
                if !self.0.unasked && !publication.channel.as_str().starts_with(SESSION) =>
            {
                state.wanted.get(&publication.channel).copied().unwrap_or_default()
            }
            _ => ShardSet::ALL,
        }
    }

    /// The same for a channel, given as a subject.
    fn receivers_of(&self, state: &State, subject: &str) -> ShardSet {
        if self.0.unasked || subject.starts_with(SESSION) {
            return ShardSet::ALL;
        }
        // Without an escape it is the name; most have none.
        let found = if subject.contains('%') {
            Channel::from_subject(subject).and_then(|channel| state.wanted.get(&channel))
        } else {
            state.wanted.get(subject)
        };
        found.copied().unwrap_or_default()
    }

    /// Gives an item to those who have a permit for it.
    fn hand_out<'a>(
        &self,
        state: &mut State,
        permits: impl IntoIterator<Item = mpsc::Permit<'a, FeedItem>>,
        item: FeedItem,
    ) {
        let position = match &item {
            FeedItem::Publication(publication) => {
                self.0.received.inc();
                publication.position
            }
            FeedItem::Epoch(position) => Some(*position),
            FeedItem::Lost(_) | FeedItem::Fenced { .. } => None,
        };
        let mut permits = permits.into_iter().peekable();
        let mut item = Some(item);
        while let Some(permit) = permits.next() {
            // The last one takes it as it is.
            let one = if permits.peek().is_some() { item.clone() } else { item.take() };
            if let Some(one) = one {
                permit.send(one);
            }
        }
        state.advance(position);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock ends one request, not the relay.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl FanoutPermit ===

impl FanoutPermit<'_> {
    /// Sends to every shard that wants it, without waiting.
    pub fn send(self, item: FeedItem) {
        let Self { fanout, permits } = self;
        let mut state = fanout.lock();
        let receivers = fanout.receivers(&state, &item);
        fanout.hand_out(&mut state, receivers.of(permits), item);
        drop(state);
        fanout.0.moved.notify_waiters();
    }

    /// Nothing to hand on after all: the position alone moves.
    pub fn advance(self, position: Position) {
        self.fanout.advance(position);
    }
}

// === impl State ===

impl State {
    fn advance(&mut self, position: Option<Position>) {
        if let Some(position) = position {
            self.position = position;
        }
    }
}

// === impl ShardSet ===

impl ShardSet {
    const ALL: Self = Self(u64::MAX);
    const LAST: usize = 63;

    fn bit(shard: usize) -> u64 {
        1 << shard.min(Self::LAST)
    }

    fn with(self, shard: u8) -> Self {
        Self(self.0 | Self::bit(shard.into()))
    }

    fn without(self, shard: u8) -> Self {
        Self(self.0 & !Self::bit(shard.into()))
    }

    fn has(self, shard: usize) -> bool {
        self.0 & Self::bit(shard) != 0
    }

    /// Of all shards' things in their order, these shards'.
    fn of<T>(self, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        let all = all.into_iter().enumerate();
        all.filter(move |(shard, _)| self.has(*shard)).map(|(_, thing)| thing)
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a shard shares its bit, of so many shards.
    fn is_shared(shard: u8, shards: usize) -> bool {
        shards > Self::LAST + 1 && usize::from(shard) >= Self::LAST
    }
}

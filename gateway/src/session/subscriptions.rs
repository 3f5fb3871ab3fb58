//! What one session is subscribed to.

use std::collections::HashMap;

use super::Origin;
use crate::channel::Channel;
use crate::hub::SubscriptionKey;
use crate::offset::Position;

#[cfg(test)]
mod tests;

/// Up to so many are a list, which is looked through: most sessions have one
/// or two, and a map for them would be ten times as large.
const FEW: usize = 8;

/// A session's subscriptions by channel.
pub(super) enum Subscriptions {
    Few(Vec<(Channel, Subscription)>),
    Many(HashMap<Channel, Subscription>),
}

/// One of a session's subscriptions.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    /// Where it entered the hub: an offset up to here was given before it.
    pub(super) joined: Position,
    /// Nothing up to here is owed, where that is another place.
    start: Option<Box<Position>>,
    pub(super) key: SubscriptionKey,
    pub(super) meta: bool,
    pub(super) origin: Origin,
    pub(super) history: bool,
}

// === impl Subscription ===

impl Subscription {
    /// One of which nothing up to where it enters the hub is owed.
    pub(super) fn new(
        key: SubscriptionKey,
        joined: Position,
        meta: bool,
        origin: Origin,
        history: bool,
    ) -> Self {
        Self { joined, start: None, key, meta, origin, history }
    }

    /// Nothing up to here is owed.
    pub(super) fn start(&self) -> Position {
        self.start.as_deref().copied().unwrap_or(self.joined)
    }

    /// It begins anew: nothing up to `start` is owed, and it entered the hub
    /// at `joined`.
    pub(super) fn begin(&mut self, start: Position, joined: Position) {
        self.joined = joined;
        self.start = (start != joined).then(|| Box::new(start));
    }

    /// Nothing is owed any more. True: something was.
    pub(super) fn settle(&mut self) -> bool {
        self.start.take().is_some()
    }
}

// === impl Subscriptions ===

impl Default for Subscriptions {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Subscriptions {
    pub(super) fn get(&self, channel: &Channel) -> Option<&Subscription> {
        match self {
            Self::Few(list) => list.iter().find(|(name, _)| name == channel).map(|(_, it)| it),
            Self::Many(map) => map.get(channel),
        }
    }

    pub(super) fn get_mut(&mut self, channel: &Channel) -> Option<&mut Subscription> {
        match self {
            Self::Few(list) => list.iter_mut().find(|(name, _)| name == channel).map(|(_, it)| it),
            Self::Many(map) => map.get_mut(channel),
        }
    }

    pub(super) fn contains(&self, channel: &Channel) -> bool {
        self.get(channel).is_some()
    }

    /// Returns the one that it replaces.
    pub(super) fn insert(
        &mut self,
        channel: Channel,
        subscription: Subscription,
    ) -> Option<Subscription> {
        if let Some(before) = self.get_mut(&channel) {
            return Some(std::mem::replace(before, subscription));
        }
        if let Self::Few(list) = self
            && list.len() >= FEW
        {
            *self = Self::Many(std::mem::take(list).into_iter().collect());
        }
        match self {
            Self::Few(list) => {
                // A vector begins with room for four.
                list.reserve_exact(1);
                list.push((channel, subscription));
            }
            Self::Many(map) => {
                map.insert(channel, subscription);
            }
        }
        None
    }

    pub(super) fn remove(&mut self, channel: &Channel) -> Option<Subscription> {
        match self {
            Self::Few(list) => {
                let index = list.iter().position(|(name, _)| name == channel)?;
                Some(list.swap_remove(index).1)
            }
            Self::Many(map) => {
                let gone = map.remove(channel);
                if map.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(map).into_iter().collect());
                }
                gone
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Channel, &Subscription)> {
        let (few, many) = match self {
            Self::Few(list) => (Some(list.iter().map(|(channel, it)| (channel, it))), None),
            Self::Many(map) => (None, Some(map.iter())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    pub(super) fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.iter().map(|(channel, _)| channel)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Subscription> {
        self.iter().map(|(_, subscription)| subscription)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Subscription> {
        let (few, many) = match self {
            Self::Few(list) => (Some(list.iter_mut().map(|(_, it)| it)), None),
            Self::Many(map) => (None, Some(map.values_mut())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(map) => map.len(),
        }
    }
}

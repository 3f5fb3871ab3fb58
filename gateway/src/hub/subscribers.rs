//! The subscriptions of one channel.

use std::rc::Rc;

use super::{Policy, Subscriber};

#[cfg(test)]
mod tests;

/// One session on one channel.
pub(super) struct Subscription {
    pub(super) subscriber: Rc<Subscriber>,
    pub(super) meta: bool,
    /// The channel's. It stands here, where there is room for it.
    pub(super) policy: Option<Policy>,
}

/// Where a subscription stands in its channel's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionKey(u32);

/// A channel's subscriptions. Most channels there ever are have one: they need
/// no list.
pub(super) enum Subscribers {
    One(Subscription),
    Many(Box<List>),
}

/// More than one, or there were more. A place that was given stays the same;
/// one that was left is given again.
pub(super) struct List {
    places: Vec<Place>,
    free: Option<u32>,
    taken: usize,
}

enum Place {
    Taken(Subscription),
    /// And the next one that is free.
    Free(Option<u32>),
}

// === impl Subscribers ===

impl Subscribers {
    pub(super) fn new(first: Subscription) -> (Self, SubscriptionKey) {
        (Self::One(first), SubscriptionKey(0))
    }

    pub(super) fn insert(&mut self, subscription: Subscription) -> SubscriptionKey {
        if let Self::Many(list) = self {
            return list.insert(subscription);
        }
        let list = List { places: Vec::with_capacity(2), free: None, taken: 0 };
        let before = std::mem::replace(self, Self::Many(Box::new(list)));
        if let (Self::One(first), Self::Many(list)) = (before, &mut *self) {
            list.insert(first);
        }
        self.insert(subscription)
    }

    pub(super) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        match self {
            Self::One(subscription) => (key.0 == 0).then_some(subscription),
            Self::Many(list) => match list.places.get_mut(key.0 as usize) {
                Some(Place::Taken(subscription)) => Some(subscription),
                _ => None,
            },
        }
    }

    /// False: there was none at this place.
    pub(super) fn remove(&mut self, key: SubscriptionKey) -> bool {
        match self {
            Self::One(_) if key.0 == 0 => {
                let list = List { places: Vec::new(), free: None, taken: 0 };
                *self = Self::Many(Box::new(list));
                true
            }
            Self::One(_) => false,
            Self::Many(list) => list.remove(key),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        let (one, many) = match self {
            Self::One(subscription) => (Some(subscription), &[][..]),
            Self::Many(list) => (None, &list.places[..]),
        };
        one.into_iter().chain(many.iter().filter_map(|place| match place {
            Place::Taken(subscription) => Some(subscription),
            Place::Free(_) => None,
        }))
    }

    /// What may happen to publications that a subscriber doesn't take in time.
    pub(super) fn policy(&self) -> Option<Policy> {
        self.iter().next().and_then(|first| first.policy)
    }

    /// The channel's rule changed.
    pub(super) fn set_policy(&mut self, policy: Option<Policy>) {
        let (one, many) = match self {
            Self::One(subscription) => (Some(subscription), &mut [][..]),
            Self::Many(list) => (None, &mut list.places[..]),
        };
        let many = many.iter_mut().filter_map(|place| match place {
            Place::Taken(subscription) => Some(subscription),
            Place::Free(_) => None,
        });
        one.into_iter().chain(many).for_each(|subscription| subscription.policy = policy);
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(list) => list.taken,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl List ===

impl List {
    fn insert(&mut self, subscription: Subscription) -> SubscriptionKey {
        self.taken += 1;
        let taken = Place::Taken(subscription);
        if let Some(free) = self.free
            && let Some(place) = self.places.get_mut(free as usize)
        {
            if let Place::Free(next) = std::mem::replace(place, taken) {
                self.free = next;
            }
            return SubscriptionKey(free);
        }
        // A shard has no 4 billion sessions.
        let key = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(taken);
        SubscriptionKey(key)
    }

    fn remove(&mut self, key: SubscriptionKey) -> bool {
        let Some(place @ Place::Taken(_)) = self.places.get_mut(key.0 as usize) else {
            return false;
        };
        *place = Place::Free(self.free.replace(key.0));
        self.taken -= 1;
        true
    }
}

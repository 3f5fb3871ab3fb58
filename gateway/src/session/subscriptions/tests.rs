#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{FEW, Subscription, Subscriptions};
use crate::channel::Channel;
use crate::hub::SubscriptionKey;
use crate::offset::Position;
use crate::session::Origin;

fn subscription(sequence: u64) -> Subscription {
    let joined = Position { epoch: 1, sequence, time: 1 };
    Subscription::new(SubscriptionKey::default(), joined, false, Origin::Command, false)
}

/// Docs say what a subscription costs its session.
#[test]
fn a_subscription_and_its_channel_are_six_words() {
    assert_eq!(size_of::<(Channel, Subscription)>(), 48);
}

#[test]
fn what_is_owed_is_owed_until_it_is_settled() {
    let mut one = subscription(5);
    assert_eq!(one.start(), one.joined);
    assert!(!one.settle());
    let start = Position { epoch: 1, sequence: 3, time: 1 };
    one.begin(start, one.joined);
    assert_eq!((one.start().sequence, one.joined.sequence), (3, 5));
    assert!(one.settle() && one.start() == one.joined);
}

proptest! {
    /// Against a map, around the size at which the form changes.
    #[test]
    fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0..FEW as u64 * 2), 1..100)) {
        let mut ours = Subscriptions::default();
        let mut model = BTreeMap::new();
        for (index, (comes, name)) in steps.into_iter().enumerate() {
            let channel = Channel::new(&name.to_string()).unwrap();
            let sequence = |it: Option<Subscription>| it.map(|it| it.joined.sequence);
            if comes {
                let before = ours.insert(channel.clone(), subscription(index as u64));
                prop_assert_eq!(sequence(before), model.insert(channel, index as u64));
            } else {
                prop_assert_eq!(sequence(ours.remove(&channel)), model.remove(&channel));
            }
            let have: BTreeMap<_, _> =
                ours.iter().map(|(c, it)| (c.clone(), it.joined.sequence)).collect();
            prop_assert_eq!(&have, &model);
            prop_assert_eq!(ours.len(), model.len());
            prop_assert_eq!(ours.values_mut().count(), model.len());
            for (channel, sequence) in &model {
                prop_assert!(ours.contains(channel));
                prop_assert_eq!(ours.get_mut(channel).unwrap().joined.sequence, *sequence);
            }
        }
    }
}

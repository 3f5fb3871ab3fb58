#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::{Place, Subscribers, Subscription};
use crate::hub::{Form, Outbox, OutboxLimits, Protocol, Subscriber};

fn subscription(name: u32) -> Subscription {
    let form = Form { protocol: Protocol::Sse, namespace: 0, meta: false, recoverable: false };
    let outbox = Outbox::new(OutboxLimits { bytes: 1, messages: 1 });
    let subscriber = Subscriber::new(name.to_string().into(), form, outbox);
    Subscription { subscriber, meta: false, policy: None }
}

fn names(subscribers: &Subscribers) -> Vec<String> {
    let mut names: Vec<_> =
        subscribers.iter().map(|subscription| subscription.subscriber.sid.to_string()).collect();
    names.sort();
    names
}

/// Docs say what a subscription costs: 16 bytes in a list, none without one.
#[test]
fn a_subscription_is_two_words() {
    assert_eq!(size_of::<Place>(), 16);
    assert_eq!(size_of::<Subscribers>(), 16);
}

#[test]
fn what_was_left_is_dropped_at_once() {
    let first = subscription(1);
    let held = Rc::downgrade(&first.subscriber);
    let (mut subscribers, key) = Subscribers::new(first);
    assert!(subscribers.remove(key));
    assert!(held.upgrade().is_none());
    assert!(subscribers.is_empty() && !subscribers.remove(key));
}

proptest! {
    /// Against a map: whoever came and didn't go is there, under the key that
    /// he was given.
    #[test]
    fn it_holds_who_came_and_did_not_go(steps in prop::collection::vec(any::<(bool, u8)>(), 1..80)) {
        let (mut subscribers, key) = Subscribers::new(subscription(0));
        let mut there = BTreeMap::from([(0, key)]);
        for (number, (comes, which)) in (1..).zip(steps) {
            if comes || there.is_empty() {
                there.insert(number, subscribers.insert(subscription(number)));
            } else {
                let name = *there.keys().nth(usize::from(which) % there.len()).unwrap();
                let key = there.remove(&name).unwrap();
                prop_assert!(subscribers.remove(key));
                prop_assert!(!subscribers.remove(key) && subscribers.get_mut(key).is_none());
            }
            let mut expected: Vec<_> = there.keys().map(ToString::to_string).collect();
            expected.sort();
            prop_assert_eq!(names(&subscribers), expected);
            prop_assert_eq!(subscribers.len(), there.len());
            for (name, key) in &there {
                let found = subscribers.get_mut(*key).unwrap();
                prop_assert_eq!(&*found.subscriber.sid, name.to_string());
            }
        }
    }
}

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::PackedRecord;
use crate::channel::Channel;
use crate::offset::Position;
use crate::relay::{SessionRecord, SubscriptionRecord};

fn position() -> impl Strategy<Value = Position> {
    let near = (Just(1_767_323_045_000), 0..5_000_u64, 1_767_323_045_000..1_767_400_000_000_u64);
    let any = (any::<u64>(), any::<u64>(), any::<u64>());
    prop_oneof![near, any].prop_map(|(epoch, sequence, time)| Position { epoch, sequence, time })
}

fn subscription() -> impl Strategy<Value = SubscriptionRecord> {
    ("[a-z$.ä]{1,30}", position(), prop::option::of(position()), any::<bool>()).prop_map(
        |(name, joined, start, meta)| SubscriptionRecord {
            channel: Channel::new(&name).unwrap(),
            start: start.unwrap_or(joined),
            joined,
            meta,
        },
    )
}

proptest! {
    #[test]
    fn what_is_packed_is_read(
        sid in "[A-Za-z0-9_-]{0,24}",
        namespace in "/[a-zé]{0,200}",
        user in prop::option::of(".{0,10}"),
        began in any::<u64>(),
        subscriptions in prop::collection::vec(subscription(), 0..5),
    ) {
        let user = user.map(Into::into);
        let record = SessionRecord {
            sid: sid.into(), namespace: namespace.into(), user, subscriptions, began,
        };
        prop_assert_eq!(PackedRecord::new(&record).read(), Some(record));
    }

    /// Whatever happened to it, it is no panic.
    #[test]
    fn other_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = PackedRecord(bytes.into()).read();
    }
}

/// Docs say what a record costs.
#[test]
fn a_subscription_takes_few_bytes_beside_its_name() {
    let joined = Position { epoch: 1_767_323_045_000, sequence: 9, time: 1_767_323_145_000 };
    let subscriptions = (0..100).map(|number| SubscriptionRecord {
        channel: Channel::new(&format!("many.{number:05}")).unwrap(),
        start: joined,
        joined,
        meta: false,
    });
    let record = SessionRecord {
        sid: "Jmx2ZvAbqkkMlsFcAAAB".into(),
        namespace: "/".into(),
        user: None,
        subscriptions: subscriptions.collect(),
        began: 1_767_323_045_000,
    };
    assert!(PackedRecord::new(&record).0.len() <= 100 * 16);
}

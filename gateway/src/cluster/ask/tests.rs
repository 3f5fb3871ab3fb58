#![allow(clippy::unwrap_used, clippy::expect_used)]

use gateway_config::Pattern;

use super::{Answer, Answers, first};
use crate::api::answers::channels;
use crate::channel::Channel;
use crate::shard::ChannelCounts;

fn counts(names: &[(&str, u64)]) -> ChannelCounts {
    names.iter().map(|(name, count)| (Channel::new(name).unwrap(), *count)).collect()
}

#[test]
fn channels_of_several_gateways_come_in_pages_that_miss_none() {
    let gateways = [
        counts(&[("a", 1), ("a.b", 2), ("z", 9)]),
        counts(&[("$user.x", 5), ("a", 1), ("b", 3)]),
        counts(&[("\u{fc}", 4), ("b", 7)]),
    ];
    let (mut seen, mut after, limit) = (Vec::new(), None::<String>, 2);
    loop {
        let page = |counts: &ChannelCounts| {
            Answer::Channels(first(counts.clone(), None, &[], after.as_deref(), limit + 1))
        };
        let answers = gateways.iter().map(page).collect();
        let all = channels(Answers { answers, missing: Vec::new() });
        let more = all.len() > limit;
        seen.extend(all.into_iter().take(limit));
        after = seen.last().map(|(name, _)| name.clone());
        if !more {
            break;
        }
    }
    let expected = [("$user.x", 5), ("a", 2), ("a.b", 2), ("b", 10), ("z", 9), ("\u{fc}", 4)];
    assert_eq!(seen, expected.map(|(name, count)| (name.to_owned(), count)));
}

#[test]
fn what_a_key_may_not_touch_takes_no_room_on_a_page() {
    let all = counts(&[("a.1", 1), ("a.2", 1), ("b.1", 1), ("b.2", 1), ("c.1", 1)]);
    let pattern = |text| Pattern::new(text).unwrap();
    let names =
        |list: Vec<(String, u64)>| list.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let allowed = [pattern("b.>"), pattern("c.>")];
    assert_eq!(names(first(all.clone(), None, &allowed, None, 2)), ["b.1", "b.2"]);
    let matches = pattern("*.1");
    assert_eq!(names(first(all, Some(&matches), &allowed, None, 9)), ["b.1", "c.1"]);
}

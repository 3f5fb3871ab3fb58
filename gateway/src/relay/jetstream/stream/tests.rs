#![allow(clippy::unwrap_used)]

use gateway_config::{ChannelRule, History, Pattern, Period, SlowConsumer};

use super::{covering, covers, wanted};
use crate::relay::jetstream::subjects::Subjects;
use crate::rules::Rules;

fn rule(pattern: &str, max_messages: usize, seconds: u64) -> ChannelRule {
    let history = History { max_messages, max_age: Period::from_secs(seconds) };
    ChannelRule {
        matches: Pattern::new(pattern).unwrap(),
        history: (max_messages > 0).then_some(history),
        client_publish: None,
        anonymous: None,
        slow_consumer: SlowConsumer::default(),
        max_payload: None,
    }
}

#[test]
fn subjects_are_few_and_share_nothing() {
    for (patterns, expected) in [
        (&[][..], &["$tick", "$user.>"][..]),
        (&["a.>", "a.b", "a.*.c", "b"], &["$tick", "$user.>", "a.>", "b"]),
        (&["a", "a"], &["$tick", "$user.>", "a"]),
        (&["$user.7", "$user.*"], &["$tick", "$user.>"]),
        (&["*.x", "y.*"], &["$tick", "$user.>", "*.x", "y.*"]),
        // NATS' `>` takes what begins with `$` too.
        (&[">", "a.b"], &[">"]),
        (&["é"], &["$tick", "$user.>", "%C3%A9"]),
    ] {
        let rules = patterns.iter().map(|pattern| rule(pattern, 5, 60)).collect();
        assert_eq!(covering(&Rules::new(rules, 100)), expected, "{patterns:?}");
    }
}

#[test]
fn wildcards() {
    for (a, b, expected) in [
        (">", "a", true),
        ("a.>", "a", false),
        ("a.*", "a.b", true),
        ("a.*", "a.>", false),
        ("*", "$tick", true),
        ("a", "*", false),
    ] {
        assert_eq!(covers(a, b), expected, "{a} over {b}");
    }
}

#[test]
fn limits_are_the_largest() {
    let rules = vec![rule("a", 5, 7_200), rule("b", 3_000, 60), rule("c", 0, 0)];
    let config = wanted(&Subjects::new("team.live"), &Rules::new(rules, 100).with_replicas(3));
    assert_eq!(config.name, "PUSH_team_live");
    assert_eq!(config.subjects[1], "team.live.pub.$user.>");
    assert_eq!((config.max_msgs_per_subject, config.max_age), (3_000, 7_200_000_000_000));
    assert!(!config.allow_rollup_hdrs && config.allow_direct && config.allow_msg_ttl);
    assert!(config.max_bytes == -1 && !config.is_limited());
}

#[test]
fn a_limit_of_bytes_brings_anchors() {
    for (pattern, expected) in [
        ("a", &["push.pub.$anchor", "push.pub.$tick", "push.pub.$user.>", "push.pub.a"][..]),
        // NATS' `>` takes them, too.
        (">", &["push.pub.>"]),
    ] {
        let rules = Rules::new(vec![rule(pattern, 5, 60)], 100);
        let rules = rules.with_history_bytes(Some(5_000_000));
        let config = wanted(&Subjects::new("push"), &rules);
        assert_eq!(config.subjects, expected);
        assert_eq!((config.max_bytes, config.discard.as_str()), (5_000_000, "old"));
        assert!(config.is_limited());
    }
}

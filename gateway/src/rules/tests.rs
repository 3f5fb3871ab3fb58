//! Which rule holds for which channel.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use gateway_config::Pattern;

use super::*;

fn rule(matches: &str) -> ChannelRule {
    ChannelRule {
        matches: Pattern::new(matches).unwrap(),
        history: None,
        client_publish: None,
        anonymous: None,
        slow_consumer: SlowConsumer::default(),
        max_payload: None,
    }
}

/// A rule that is told from others by how many messages it keeps.
fn keeping(matches: &str, max_messages: usize) -> ChannelRule {
    let history = History { max_messages, max_age: Period::from_secs(60) };
    ChannelRule { history: Some(history), ..rule(matches) }
}

/// How many messages are kept of a channel; none: it has no history.
fn kept(rules: &Rules, channel: &Channel) -> Option<usize> {
    rules.of(channel).history.map(|history| history.max_messages)
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

#[test]
fn the_first_rule_that_matches_holds() {
    let rules = Rules::new(
        vec![
            keeping("orders.vip", 1),
            rule("orders.quiet.>"),
            keeping("orders.*", 2),
            keeping("orders.>", 3),
            keeping("#general", 4),
            keeping("odd.*.end", 5),
            keeping("*", 6),
        ],
        1000,
    );
    let table = [
        ("orders.vip", Some(1)),
        ("orders.quiet.1", None),
        ("orders.1", Some(2)),
        ("orders.quiet", Some(2)),
        ("orders.1.2", Some(3)),
        ("#general", Some(4)),
        ("odd.a.end", Some(5)),
        ("odd.a.b.end", None),
        ("orders", Some(6)),
        ("chat message", Some(6)),
        // Neither has more than one token: their dots make no empty ones.
        (".", Some(6)),
        ("orders.", Some(6)),
        ("a.b", None),
    ];
    for (name, expected) in table {
        assert_eq!(kept(&rules, &channel(name)), expected, "{name}");
    }
}

#[test]
fn a_leading_wildcard_does_not_reach_the_systems_channels() {
    let rules = Rules::new(vec![keeping("*.>", 1), keeping(">", 2)], 1000);
    let table = [
        (channel("a.b"), Some(1)),
        (channel("a"), Some(2)),
        (channel("$anything"), None),
        (Channel::all(), None),
        (Channel::sid("x").unwrap(), None),
        (Channel::user("ann").unwrap(), Some(USER_HISTORY.max_messages)),
        (Channel::in_namespace("/admin", "room").unwrap(), None),
        (Channel::in_namespace("/", "a.b").unwrap(), Some(1)),
    ];
    for (channel, expected) in table {
        assert_eq!(kept(&rules, &channel), expected, "{channel}");
    }
}

#[test]
fn rules_may_name_the_systems_channels() {
    let rules = Rules::new(
        vec![
            keeping("$user.bot", 1),
            rule("$user.guest-1"),
            keeping("$user.*", 2),
            keeping("$all", 3),
            keeping("$ns.admin.>", 4),
            keeping("$ns.*.news", 5),
        ],
        1000,
    );
    let table = [
        (Channel::user("bot").unwrap(), Some(1)),
        // A rule that matches takes the default history away.
        (Channel::user("guest-1").unwrap(), None),
        (Channel::user("auth0|7").unwrap(), Some(2)),
        // A user's id is one token, with its dots.
        (Channel::user("ann@a.example.com").unwrap(), Some(2)),
        (Channel::all(), Some(3)),
        (Channel::in_namespace("/admin", "room").unwrap(), Some(4)),
        (Channel::in_namespace("/admin", "news").unwrap(), Some(4)),
        (Channel::in_namespace("/shop", "news").unwrap(), Some(5)),
        (Channel::in_namespace("/shop", "room").unwrap(), None),
        (channel("admin.room"), None),
    ];
    for (channel, expected) in table {
        assert_eq!(kept(&rules, &channel), expected, "{channel}");
    }
}

#[test]
fn a_rule_narrows_the_largest_publication_and_never_widens_it() {
    let sized = |matches, bytes| ChannelRule { max_payload: Some(bytes), ..rule(matches) };
    let rules = Rules::new(vec![sized("small", 10), sized("large", 5000), rule("any")], 1000);
    for (name, expected) in [("small", 10), ("large", 1000), ("any", 1000), ("none", 1000)] {
        assert_eq!(rules.of(&channel(name)).max_payload, expected, "{name}");
    }
}

#[test]
fn the_shortest_age_is_that_of_any_rule_or_of_users() {
    let aged = |seconds| {
        let history = History { max_messages: 1, max_age: Period::from_secs(seconds) };
        ChannelRule { history: Some(history), ..rule("a") }
    };
    assert_eq!(Rules::new(vec![], 1).shortest_age(), USER_HISTORY.max_age);
    assert_eq!(Rules::new(vec![aged(7200)], 1).shortest_age(), USER_HISTORY.max_age);
    let rules = Rules::new(vec![aged(7200), rule("b"), aged(60)], 1);
    assert_eq!(rules.shortest_age(), Period::from_secs(60));
}

#[test]
fn new_rules_hold_at_once() {
    let shared = Rules::new(vec![], 1000).shared();
    assert_eq!(kept(&shared.load(), &channel("a")), None);
    shared.store(Arc::new(Rules::new(vec![keeping("a", 1)], 1000)));
    assert_eq!(kept(&shared.load(), &channel("a")), Some(1));
}

proptest::proptest! {
    /// The index finds what trying one after the other finds.
    #[test]
    fn the_index_finds_the_first(
        patterns in proptest::collection::vec("(a|b|\\*|\\$user)(\\.(a|b|\\*)){0,3}(\\.>)?|>", 0..12),
        names in proptest::collection::vec("(a|b|\\$user|\\$all)(\\.(a|b|c)){0,4}", 1..12),
    ) {
        let rules: Vec<_> = patterns.iter().map(|pattern| rule(pattern)).collect();
        let index = Index::new(rules.iter().map(|rule| &rule.matches));
        for name in names {
            let subject = channel(&name).to_subject();
            let first = rules.iter().position(|rule| rule.matches.matches_subject(&subject));
            proptest::prop_assert_eq!(index.first(&subject), first, "{}", name);
        }
    }
}

//! Who may do what where, as a table.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use gateway_config::{ChannelRule, Pattern, SlowConsumer};

use super::*;
use crate::auth::Grant;
use crate::rules::Rules;

const ACTIONS: [Action; 4] =
    [Action::Subscribe, Action::Publish, Action::Presence, Action::History];

fn rule(matches: &str, anonymous: Option<bool>, client_publish: Option<bool>) -> ChannelRule {
    ChannelRule {
        matches: Pattern::new(matches).unwrap(),
        history: None,
        client_publish,
        anonymous,
        slow_consumer: SlowConsumer::default(),
        max_payload: None,
    }
}

fn rules() -> SharedRules {
    Rules::new(
        vec![
            rule("public.closed.>", None, None),
            rule("public.>", Some(true), None),
            rule("wall.>", Some(true), Some(true)),
            rule("chat.>", None, Some(true)),
            rule("private.>", Some(false), None),
            rule("readonly.>", None, Some(false)),
            rule("hidden.>", Some(false), Some(true)),
            rule("$ns.shop.public", Some(true), None),
            rule("$ns.shop.sealed", Some(false), None),
            rule("$user.>", Some(true), Some(true)),
            rule("$all", Some(true), Some(true)),
        ],
        1000,
    )
    .shared()
}

fn user(name: &str, grants: &[(&str, &[Action])]) -> Identity {
    let grant = |(matches, can): &(&str, &[Action])| Grant {
        matches: Pattern::new(matches).unwrap(),
        can: can.to_vec(),
    };
    Identity {
        user: Some(name.into()),
        has_token: true,
        grants: grants.iter().map(grant).collect(),
        ..Identity::default()
    }
}

/// What `identity` may do in `namespace` on `room`, as letters: Subscribe,
/// Publish, presence ("who is here"), History.
fn allowed(access: &Access, identity: &Identity, namespace: &str, room: &str) -> String {
    let channel = Channel::in_namespace(namespace, room).unwrap();
    ACTIONS
        .iter()
        .zip(['s', 'p', 'w', 'h'])
        .filter(|(action, _)| match access.check(identity, &channel, namespace != "/", **action) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, ErrorCode::Forbidden, "{channel}");
                assert!(error.message.contains(channel.as_str()), "{error}");
                assert_eq!(error.field.as_deref(), Some("channel"));
                false
            }
        })
        .map(|(_, letter)| letter)
        .collect()
}

#[test]
fn with_an_issuer_only_grants_and_open_rules_allow() {
    use Action::{History, Presence, Publish, Subscribe};
    let access = Access::new(rules(), true);
    let ann = user(
        "ann",
        &[
            ("orders.ann", &[Subscribe, History]),
            ("orders.ann", &[Publish]),
            ("room.*", &[Subscribe, Publish, Presence, History]),
            ("chat.1", &[Subscribe]),
            ("chat.2", &[Publish]),
            ("chat.3", &[History]),
            ("private.ann", &[Subscribe]),
            ("readonly.x", &[Subscribe, Publish]),
            ("$ns.admin.ops.>", &[Subscribe, Publish]),
            ("nothing", &[]),
        ],
    );
    let bob = user("bob", &[(">", &[Subscribe, Publish, Presence, History])]);
    let anonymous = Identity::default();
    // namespace, room, what ann, bob and an anonymous client may.
    let table = [
        ("/", "orders.ann", "sph", "spwh", ""),
        ("/", "orders.bob", "", "spwh", ""),
        ("/", "orders.ann.1", "", "spwh", ""),
        ("/", "orders", "", "spwh", ""),
        ("/", "room.1", "spwh", "spwh", ""),
        ("/", "room.1.2", "", "spwh", ""),
        ("/", "nothing", "", "spwh", ""),
        // anonymous: true — everyone subscribes, and no more.
        ("/", "public.news", "s", "spwh", "s"),
        // The first rule that matches holds.
        ("/", "public.closed.news", "", "spwh", ""),
        // … and clientPublish: true — everyone publishes.
        ("/", "wall.1", "sp", "spwh", "sp"),
        // clientPublish: true — whoever may subscribe publishes.
        ("/", "chat.1", "sp", "spwh", ""),
        ("/", "chat.2", "p", "spwh", ""),
        ("/", "chat.3", "h", "spwh", ""),
        ("/", "chat.4", "", "spwh", ""),
        // False is the default: it takes nothing from a grant.
        ("/", "private.ann", "s", "spwh", ""),
        ("/", "readonly.x", "sp", "spwh", ""),
        ("/", "hidden.x", "", "spwh", ""),
        // The system's channels: neither a rule nor a grant opens them.
        ("/", "$all", "", "", ""),
        ("/", "$user.ann", "", "", ""),
        ("/", "$sid.x", "", "", ""),
        ("/", "$tick", "", "", ""),
        ("/", "$ns.admin.ops.1", "", "", ""),
        ("/", "$ns.shop.public", "", "", ""),
        // Namespaces: the full name counts, and `>` doesn't match it.
        ("/admin", "ops.1", "sp", "", ""),
        ("/admin", "orders.ann", "", "", ""),
        ("/admin", "public.news", "", "", ""),
        ("/admin", "$user.ann", "", "", ""),
        ("/shop", "ops.1", "", "", ""),
        ("/shop", "public", "s", "s", "s"),
    ];
    for (namespace, room, for_ann, for_bob, for_anonymous) in table {
        let at = format!("{namespace} {room}");
        assert_eq!(allowed(&access, &ann, namespace, room), for_ann, "ann {at}");
        assert_eq!(allowed(&access, &bob, namespace, room), for_bob, "bob {at}");
        assert_eq!(allowed(&access, &anonymous, namespace, room), for_anonymous, "nobody {at}");
    }
}

#[test]
fn without_an_issuer_everything_is_open_that_no_rule_closes() {
    let access = Access::new(rules(), false);
    let table = [
        ("/", "orders.1", "spwh"),
        ("/", "public.news", "spwh"),
        ("/", "chat.1", "spwh"),
        ("/", "private.x", ""),
        ("/", "hidden.x", ""),
        ("/", "readonly.x", "swh"),
        ("/", "$all", ""),
        ("/", "$user.ann", ""),
        ("/", "$ns.admin.room", ""),
        ("/admin", "room", "spwh"),
        ("/shop", "sealed", ""),
    ];
    for (namespace, room, expected) in table {
        let found = allowed(&access, &Identity::default(), namespace, room);
        assert_eq!(found, expected, "{namespace} {room}");
    }
}

#[test]
fn the_namespaces_word_counts_only_for_namespaces_channels() {
    let access = Access::new(rules(), false);
    for channel in [Channel::all(), Channel::user("ann").unwrap()] {
        let error = access
            .check(&Identity::default(), &channel, true, Action::Subscribe)
            .expect_err(channel.as_str());
        assert_eq!(error.code, ErrorCode::Forbidden);
    }
}

#[test]
fn an_identity_whose_time_is_over_may_nothing() {
    let now = SystemTime::now();
    let until = |expires| Identity { expires: Some(expires), ..user("ann", &[(">", &ACTIONS)]) };
    for has_issuer in [true, false] {
        let access = Access::new(rules(), has_issuer);
        for name in ["orders.1", "public.news", "$all"] {
            let channel = Channel::new(name).unwrap();
            let check =
                |identity: &Identity| access.check(identity, &channel, false, Action::Subscribe);
            let error = check(&until(now - Duration::from_secs(1))).expect_err(name);
            assert_eq!(error.code, ErrorCode::TokenExpired, "{name}");
            let later = check(&until(now + Duration::from_hours(1)));
            assert_ne!(later.map_err(|e| e.code), Err(ErrorCode::TokenExpired), "{name}");
        }
    }
}

#[test]
fn a_refusal_says_what_is_missing() {
    let channel = Channel::new("private.x").unwrap();
    let refusal = |has_issuer, identity: &Identity| {
        let access = Access::new(rules(), has_issuer);
        access.check(identity, &channel, false, Action::Publish).unwrap_err().message
    };
    let table = [
        (refusal(true, &user("ann", &[])), "the token doesn't allow `publish` on `private.x`"),
        (refusal(true, &Identity::default()), "connect with one"),
        (refusal(false, &Identity::default()), "a channel rule closes `private.x`"),
    ];
    for (message, words) in table {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn reloaded_rules_hold_at_once() {
    let shared = Rules::new(vec![], 1000).shared();
    let access = Access::new(shared.clone(), true);
    assert_eq!(allowed(&access.clone(), &Identity::default(), "/", "news"), "");
    shared.store(Arc::new(Rules::new(vec![rule("news", Some(true), None)], 1000)));
    assert_eq!(allowed(&access, &Identity::default(), "/", "news"), "s");
    assert_eq!(access.rule(&Channel::new("news").unwrap()).anonymous, Some(true));
}

// A test may sleep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::json;

use super::answer::{ConnectAnswer, SubscribeAnswer};
use super::cache::Cache;
use super::{Verdict, key};
use crate::auth::{Action, Identity};

fn connect(
    answer: &serde_json::Value,
    verified: Option<&Identity>,
) -> Result<Verdict<Arc<Identity>>, String> {
    let reply = Bytes::from(answer.to_string());
    ConnectAnswer::read(&reply)?.verdict(verified, SystemTime::now())
}

fn allowed(answer: &serde_json::Value, verified: Option<&Identity>) -> Arc<Identity> {
    match connect(answer, verified) {
        Ok(Verdict::Allowed(identity)) => identity,
        other => panic!("{answer}: {other:?}"),
    }
}

fn in_seconds(seconds: u64) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs() + seconds
}

#[test]
fn what_an_answer_leaves_out_is_as_the_token_says() {
    let token = Identity {
        user: Some("ann".into()),
        has_token: true,
        meta: Some(Bytes::from_static(b"1")),
        token_id: Some("t1".into()),
        expires: Some(SystemTime::now() + Duration::from_mins(1)),
        ..Identity::default()
    };
    let same = allowed(&json!({"allow": true}), Some(&token));
    assert_eq!(same.user.as_deref(), Some("ann"));
    assert_eq!(same.meta, token.meta);
    assert_eq!((same.expires, same.token_id.as_deref()), (token.expires, Some("t1")));
    let grants = json!([{"match": "a", "can": ["publish"]}]);
    let more = json!({"allow": true, "user": "ann", "meta": {"b": 2}, "channels": grants,
        "join": ["news"], "expires": in_seconds(10)});
    let more = allowed(&more, Some(&token));
    assert_eq!(more.meta.as_deref(), Some(&br#"{"b":2}"#[..]));
    assert_eq!(more.grants[0].can, [Action::Publish]);
    assert_eq!(more.join[0].as_str(), "news");
    assert!(more.expires < token.expires);
    // Never longer than the token itself.
    let longer = json!({"allow": true, "expires": in_seconds(3600)});
    assert_eq!(allowed(&longer, Some(&token)).expires, token.expires);
    // Nor for somebody else.
    assert!(connect(&json!({"allow": true, "user": "bob"}), Some(&token)).is_err());
    let nobody = Identity { user: None, ..token };
    assert_eq!(
        allowed(&json!({"allow": true, "user": "bob"}), Some(&nobody)).user.as_deref(),
        Some("bob")
    );
}

#[test]
fn without_a_token_of_ours_an_answer_says_all() {
    let all = allowed(&json!({"allow": true, "user": "ann"}), None);
    assert!(all.has_token && all.issued.is_some() && all.expires.is_none());
    assert!(all.grants.is_empty(), "what isn't granted isn't");
    let none = allowed(&json!({"allow": true}), None);
    assert_eq!(none.user, None);
}

#[test]
fn words_are_told_only_when_they_are_a_few() {
    let table = [
        (json!({"allow": false}), None),
        (json!({"allow": false, "message": "no"}), Some("no")),
        (json!({"allow": false, "message": ""}), None),
        (json!({"allow": false, "message": "a\nb"}), None),
        (json!({"allow": false, "message": "x".repeat(201)}), None),
        (json!({"allow": false, "user": 7}), None),
    ];
    for (answer, words) in table {
        match connect(&answer, None) {
            Ok(Verdict::Refused(found)) => assert_eq!(found.as_deref(), words, "{answer}"),
            other => panic!("{answer}: {other:?}"),
        }
    }
}

#[test]
fn what_is_not_an_answer_is_none_and_repeats_nothing() {
    let secret = "marker-of-an-answer";
    let table = [
        json!(null),
        json!(true),
        json!([true]),
        json!({}),
        json!({"allow": secret}),
        json!({"allow": 1}),
        json!({"allow": true, "user": ["ann"]}),
        json!({"allow": true, "user": ""}),
        json!({"allow": true, "user": "x".repeat(129)}),
        json!({"allow": true, "channels": secret}),
        json!({"allow": true, "channels": [{"match": secret, "can": [secret]}]}),
        json!({"allow": true, "channels": [{"match": "a", "can": [], "except": secret}]}),
        json!({"allow": true, "join": [secret, "$all"]}),
        json!({"allow": true, "expires": secret}),
        json!({"allow": true, "expires": in_seconds(0) - 10}),
        json!({"allow": true, "expires": in_seconds(60) * 1000}),
        json!({"allow": true, "ttl": secret}),
        json!({"allow": true, "ttl": -1}),
        json!({"allow": true, "allowed": secret}),
        json!({"allow": true, "meta": "x".repeat(20_000)}),
    ];
    for answer in table {
        let why = connect(&answer, None)
            .expect_err(&answer.to_string()[..20.min(answer.to_string().len())]);
        assert!(!why.contains(secret), "{why}");
    }
    for text in ["", "no", "{\"allow\":true", "{\"allow\":true,\"allow\":false}"] {
        assert!(ConnectAnswer::read(&Bytes::from(text)).is_err(), "{text}");
        assert!(SubscribeAnswer::read(&Bytes::from(text)).is_err(), "{text}");
    }
    let more = Bytes::from_static(b"{\"allow\":true,\"channels\":[]}");
    assert!(SubscribeAnswer::read(&more).is_err(), "a key of the other question");
}

#[test]
fn answers_are_kept_as_long_as_they_say_and_never_more_than_so_many() {
    let cache = Cache::new(3);
    let of = |text: &str| key(&[Some(text)]);
    let minute = Some(Duration::from_mins(1));
    cache.put(of("none"), &0, None);
    cache.put(of("zero"), &0, Some(Duration::ZERO));
    cache.put(of("soon"), &1, Some(Duration::from_millis(10)));
    assert_eq!(cache.get(&of("soon")), Some(1));
    std::thread::sleep(Duration::from_millis(20));
    for gone in ["none", "zero", "soon"] {
        assert_eq!(cache.get(&of(gone)), None, "{gone}");
    }
    for number in 0..10_u32 {
        cache.put(of(&number.to_string()), &number, minute);
    }
    assert_eq!(cache.get(&of("6")), None);
    assert_eq!(cache.get(&of("7")), Some(7));
    // Put again and again it is still one, and bounded.
    for _ in 0..100 {
        cache.put(of("9"), &9, minute);
    }
    assert_eq!(cache.get(&of("9")), Some(9));
    let (answers, order) = cache.sizes();
    assert!(answers <= 3 && order <= 6, "{answers} {order}");
    let none = Cache::new(0);
    none.put(of("a"), &1, minute);
    assert_eq!(none.get(&of("a")), None);
}

#[test]
fn one_key_is_never_two() {
    let keys = [
        key(&[None]),
        key(&[Some("")]),
        key(&[Some("a"), Some("b")]),
        key(&[Some("ab")]),
        key(&[Some("ab"), None]),
        key(&[Some("a"), None, Some("b")]),
        key(&[Some(""), Some("ab")]),
    ];
    for (index, one) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(one), "{index}");
    }
}

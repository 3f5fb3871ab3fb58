//! Who calls the API, and what the key allows.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

/// `printf %s shop-key | sha256sum`
const SHOP: &str = "44cfdcdd88354fa1412781f5a01a901c9112db33bfa8b165fbec9b618d9cf112";

fn sha256(key: &str) -> String {
    let hash = digest(&SHA256, key.as_bytes());
    hash.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn key(name: &str, secret: &str, scopes: &[Scope], channels: &[&str]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        sha256: sha256(secret),
        scopes: scopes.to_vec(),
        channels: channels.iter().map(|text| Pattern::new(text).unwrap()).collect(),
    }
}

fn keys() -> ApiKeys {
    let upper = ApiKey {
        sha256: SHOP.to_uppercase(),
        ..key("shop", "", &[Scope::Publish], &["orders.>", "news"])
    };
    ApiKeys::new(&[
        upper,
        key("reader", "reader-key", &[Scope::Read], &[]),
        key("boss", "boss-key", &[Scope::Publish, Scope::Read, Scope::Admin], &[]),
        key("mailer", "mailer-key", &[Scope::Publish], &["$user.>", "$all"]),
        key("pager", "pager-key", &[Scope::Publish], &["$user.ann", "$ns.admin.>"]),
        key("all", "all-key", &[Scope::Publish], &[">"]),
        key("off", "off-key", &[], &[]),
    ])
    .unwrap()
}

/// Headers of a request.
type Sent = &'static [(&'static str, &'static str)];

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
        .collect()
}

fn identity(keys: &ApiKeys, key: &str) -> ApiIdentity {
    keys.authenticate(&headers(&[("x-api-key", key)])).unwrap()
}

#[test]
fn a_key_is_found_in_either_header() {
    let keys = keys();
    let table: &[(Sent, Result<&str, &str>)] = &[
        (&[("authorization", "Bearer shop-key")], Ok("shop")),
        (&[("authorization", "bearer shop-key")], Ok("shop")),
        (&[("authorization", "BEARER  shop-key ")], Ok("shop")),
        (&[("x-api-key", "shop-key")], Ok("shop")),
        (&[("x-api-key", "off-key")], Ok("off")),
        // A proxy's own Authorization doesn't hide the key.
        (&[("authorization", "Basic YTpi"), ("x-api-key", "reader-key")], Ok("reader")),
        (&[("authorization", "Bearer other"), ("x-api-key", "reader-key")], Ok("reader")),
        (&[("authorization", "Bearer boss-key"), ("x-api-key", "")], Ok("boss")),
        (&[], Err("needs a key")),
        (&[("authorization", "")], Err("needs a key")),
        (&[("authorization", "Bearer")], Err("needs a key")),
        (&[("authorization", "Bearer ")], Err("needs a key")),
        (&[("authorization", "Basic c2hvcC1rZXk=")], Err("needs a key")),
        (&[("authorization", "shop-key")], Err("needs a key")),
        (&[("authorization", "Bearer shop-kez")], Err("isn't one of this gateway's")),
        (&[("authorization", "Bearer shop-key2")], Err("isn't one of this gateway's")),
        // The hash is no key.
        (&[("x-api-key", SHOP)], Err("isn't one of this gateway's")),
    ];
    for (sent, expected) in table {
        match (keys.authenticate(&headers(sent)), *expected) {
            (Ok(identity), Ok(name)) => assert_eq!(&*identity.name, name, "{sent:?}"),
            (Err(error), Err(words)) => {
                assert_eq!(error.code, ErrorCode::Unauthorized, "{sent:?}");
                assert!(error.message.contains(words), "{sent:?}: {error}");
                assert!(!error.message.contains("shop-ke"), "{sent:?}: {error}");
            }
            (found, _) => panic!("{sent:?}: {found:?}"),
        }
    }
}

#[test]
fn a_key_allows_its_scopes_on_its_channels() {
    use Scope::{Admin, Publish, Read};
    let keys = keys();
    let orders = Channel::new("orders.1").unwrap();
    let news = Channel::new("news").unwrap();
    let other = Channel::new("other").unwrap();
    let (ann, bob) = (Channel::user("ann").unwrap(), Channel::user("b.o.b").unwrap());
    let all = Channel::all();
    let room = Channel::in_namespace("/admin", "room").unwrap();
    // Key, scope, channel; the words of the refusal.
    let table = [
        ("shop-key", Publish, Some(&orders), None),
        ("shop-key", Publish, Some(&news), None),
        ("shop-key", Publish, None, None),
        ("shop-key", Publish, Some(&other), Some("`other`")),
        ("shop-key", Publish, Some(&ann), Some("`$user.ann`")),
        ("shop-key", Publish, Some(&all), Some("`$all`")),
        ("shop-key", Read, Some(&orders), Some("`read`")),
        ("shop-key", Admin, None, Some("`admin`")),
        ("reader-key", Read, Some(&other), None),
        ("reader-key", Publish, Some(&other), Some("`publish`")),
        ("boss-key", Admin, None, None),
        ("boss-key", Publish, Some(&ann), None),
        ("boss-key", Publish, Some(&all), None),
        ("boss-key", Read, Some(&room), None),
        ("mailer-key", Publish, Some(&ann), None),
        ("mailer-key", Publish, Some(&bob), None),
        ("mailer-key", Publish, Some(&all), None),
        ("mailer-key", Publish, Some(&orders), Some("`orders.1`")),
        ("pager-key", Publish, Some(&ann), None),
        ("pager-key", Publish, Some(&bob), Some("`$user.b.o.b`")),
        ("pager-key", Publish, Some(&room), None),
        // A leading wildcard doesn't reach the system's channels.
        ("all-key", Publish, Some(&other), None),
        ("all-key", Publish, Some(&ann), Some("`$user.ann`")),
        ("all-key", Publish, Some(&room), Some("`$ns.admin.room`")),
        ("off-key", Publish, Some(&orders), Some("`publish`")),
    ];
    for (key, scope, channel, refusal) in table {
        let outcome = identity(&keys, key).check(scope, channel);
        match (outcome, refusal) {
            (Ok(()), None) => {}
            (Err(error), Some(words)) => {
                assert_eq!(error.code, ErrorCode::Forbidden, "{key} {scope:?} {channel:?}");
                assert!(error.message.contains(words), "{key} {scope:?} {channel:?}: {error}");
            }
            (found, _) => panic!("{key} {scope:?} {channel:?}: {found:?}"),
        }
    }
}

#[test]
fn without_keys_everyone_may_do_everything() {
    let keys = ApiKeys::new(&[]).unwrap();
    assert!(keys.is_empty());
    for sent in [headers(&[]), headers(&[("x-api-key", "some")])] {
        let identity = keys.authenticate(&sent).unwrap();
        assert_eq!(&*identity.name, "anonymous");
        for scope in [Scope::Publish, Scope::Read, Scope::Admin] {
            identity.check(scope, Some(&Channel::all())).unwrap();
        }
    }
}

#[test]
fn keys_that_cannot_work_are_refused_by_name() {
    let good = || key("a", "1", &[Scope::Publish], &[]);
    let with = |sha256: &str| ApiKey { sha256: sha256.to_owned(), ..good() };
    let table = [
        (vec![ApiKey { name: " ".to_owned(), ..good() }], "api.keys[0].name"),
        (vec![good(), with("")], "api.keys[1].sha256 (`a`)"),
        (vec![with("the-key-itself")], "sha256sum"),
        (vec![with(&"g".repeat(64))], "api.keys[0].sha256"),
        (vec![with(&"ä".repeat(32))], "api.keys[0].sha256"),
        (vec![with(&"a".repeat(63))], "api.keys[0].sha256"),
        (vec![with(&sha256(""))], "hash of an empty key"),
        (vec![good(), key("b", "1", &[], &[])], "api.keys[0] and api.keys[1] (`b`)"),
    ];
    for (keys, words) in table {
        let error = ApiKeys::new(&keys).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains("the-key-itself"), "{error}");
    }
    // One holder may have two keys: that is how they are rotated.
    ApiKeys::new(&[key("a", "1", &[], &[]), key("a", "2", &[], &[])]).unwrap();
}

#[test]
fn a_hash_is_never_shown() {
    let keys = keys();
    assert!(!format!("{keys:?}").to_lowercase().contains(&SHOP[..8]));
    assert!(!format!("{:?}", identity(&keys, "shop-key")).contains("publish"));
}

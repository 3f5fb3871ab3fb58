//! Names and subjects, both ways.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn names_that_are_not_one() {
    assert_eq!(Channel::new(""), Err(ChannelError::Empty));
    assert_eq!(Channel::new(&"x".repeat(201)), Err(ChannelError::TooLong(201)));
    assert_eq!(Channel::new("a\nb"), Err(ChannelError::Control));
    assert!(Channel::new(&"x".repeat(200)).is_ok());
    // Half of a system's name: no subject, or another name's.
    for name in ["$user.", "$sid.", "$ns..room", "$ns..", "$ns.a b.room", "$ns.%61.room"] {
        assert_eq!(Channel::new(name), Err(ChannelError::System), "{name}");
    }
}

#[test]
fn names_as_subjects() {
    for (name, subject) in [
        ("orders.new", "orders.new"),
        ("chat message", "chat%20message"),
        ("#general", "%23general"),
        ("a..b", "a.%2Eb"),
        (".", "%2E"),
        (".a.", "%2Ea%2E"),
        ("100%", "100%25"),
        ("*", "%2A"),
        ("a.>", "a.%3E"),
        ("$user.auth0|7", "$user.auth0%7C7"),
        ("$user.ann@example.com", "$user.ann@example%2Ecom"),
        ("$sid.a.b", "$sid.a%2Eb"),
        ("$all", "$all"),
        ("$ns.admin.room.1", "$ns.admin.room.1"),
        ("$ns.admin.", "$ns.admin%2E"),
        ("grüße", "gr%C3%BC%C3%9Fe"),
    ] {
        let channel = Channel::new(name).unwrap();
        assert_eq!(channel.to_subject(), subject, "{name}");
        assert_eq!(Channel::from_subject(subject), Some(channel), "{subject}");
    }
}

#[test]
fn a_namespace_is_one_token() {
    let dotted = Channel::in_namespace("/a.b", "c").unwrap();
    let plain = Channel::in_namespace("/a", "b.c").unwrap();
    assert_ne!(dotted, plain);
    assert_eq!(dotted.to_subject(), "$ns.a%2Eb.c");
    assert_eq!(Channel::from_subject("$ns.a%2Eb.c"), Some(dotted));
    assert_eq!(plain.as_str(), "$ns.a.b.c");
    assert_eq!(Channel::in_namespace("/", "room").unwrap().as_str(), "room");
}

proptest! {
    #[test]
    fn every_name_comes_back(name in "\\PC{1,40}", dots in "[.a$%*>]{1,12}") {
        for name in [name, dots] {
            let Ok(channel) = Channel::new(&name) else { continue };
            let subject = channel.to_subject();
            prop_assert!(subject.split('.').all(|token| !token.is_empty()), "{subject}");
            prop_assert!(!subject.contains(['*', '>', ' ']), "{subject}");
            prop_assert_eq!(Channel::from_subject(&subject), Some(channel));
        }
    }

    #[test]
    fn rooms_of_different_namespaces_never_meet(a in "[a-c.$%]{1,4}", b in "[a-c.$%]{1,4}",
        x in "[a-c.$%]{1,4}", y in "[a-c.$%]{1,4}") {
        let one = Channel::in_namespace(&format!("/{a}"), &x);
        let two = Channel::in_namespace(&format!("/{b}"), &y);
        if let (Ok(one), Ok(two)) = (one, two) {
            prop_assert_eq!(one == two, (a, x) == (b, y));
        }
    }
}

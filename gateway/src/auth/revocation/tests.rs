// A test may sleep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::time::{Duration, SystemTime};

use super::{Revocations, hits, unix_millis};
use crate::auth::Identity;
use crate::error::ErrorCode;
use crate::relay::{Mark, MarkKind};

const HOUR: u64 = 3_600_000;

fn now() -> u64 {
    unix_millis(SystemTime::now())
}

fn mark(kind: MarkKind, of: &str) -> Mark {
    Mark { kind, of: of.to_owned(), at: now(), until: now() + HOUR }
}

/// Somebody with a token that was issued so many seconds ago.
fn ann(id: Option<&str>, age: Option<u64>) -> Identity {
    Identity {
        user: Some("ann".into()),
        has_token: true,
        token_id: id.map(Into::into),
        issued: age.map(|age| SystemTime::now() - Duration::from_secs(age)),
        ..Identity::default()
    }
}

#[test]
fn a_mark_refuses_what_it_names_and_nothing_else() {
    let bob = Identity { user: Some("bob".into()), ..ann(Some("t2"), Some(60)) };
    let later =
        Identity { issued: Some(SystemTime::now() + Duration::from_secs(2)), ..ann(None, None) };
    let table = [
        (MarkKind::Token, "t1", ann(Some("t1"), Some(60)), true),
        (MarkKind::Token, "t1", ann(Some("t2"), Some(60)), false),
        (MarkKind::Token, "t1", ann(None, Some(60)), false),
        // A token's id is no user's name.
        (MarkKind::Token, "ann", ann(Some("t1"), Some(60)), false),
        (MarkKind::User, "ann", ann(Some("t1"), Some(60)), true),
        // It may be any old one.
        (MarkKind::User, "ann", ann(Some("t1"), None), true),
        (MarkKind::User, "ann", later, false),
        (MarkKind::User, "ann", bob, false),
        (MarkKind::User, "t1", ann(Some("t1"), Some(60)), false),
        (MarkKind::User, "ann", Identity::default(), false),
        // Whoever has a good token may begin a new session.
        (MarkKind::Sessions, "ann", ann(Some("t1"), Some(60)), false),
    ];
    for (kind, of, identity, refused) in table {
        let mark = mark(kind, of);
        let revocations = Revocations::default();
        assert!(revocations.add(&mark));
        let found = revocations.check(&identity).map_err(|error| error.code);
        let expected = if refused { Err(ErrorCode::TokenRevoked) } else { Ok(()) };
        assert_eq!(found, expected, "{kind:?} {of} {identity:?}");
        assert_eq!(hits(&mark, &identity), refused, "{kind:?} {of} {identity:?}");
    }
}

#[test]
fn sessions_from_before_are_forgotten_those_from_after_are_not() {
    let revocations = Revocations::default();
    let mark = mark(MarkKind::Sessions, "ann");
    revocations.add(&mark);
    assert!(revocations.forgets(Some("ann"), mark.at - 1));
    assert!(revocations.forgets(Some("ann"), mark.at));
    assert!(!revocations.forgets(Some("ann"), mark.at + 1));
    assert!(!revocations.forgets(Some("bob"), mark.at - 1));
    assert!(!revocations.forgets(None, mark.at - 1));
}

#[test]
fn what_is_over_is_neither_taken_nor_kept() {
    let revocations = Revocations::default();
    let over = Mark { until: now(), ..mark(MarkKind::Token, "t1") };
    assert!(!revocations.add(&over));
    let soon = Mark { until: now() + 30, ..mark(MarkKind::Token, "t1") };
    assert!(revocations.add(&soon));
    assert!(revocations.check(&ann(Some("t1"), None)).is_err());
    std::thread::sleep(Duration::from_millis(40));
    assert!(revocations.check(&ann(Some("t1"), None)).is_ok());
    assert_eq!(revocations.len(), 1);
    revocations.purge();
    assert!(revocations.is_empty());
}

#[test]
fn a_second_mark_never_shortens_the_first() {
    let revocations = Revocations::default();
    let long = mark(MarkKind::User, "ann");
    assert!(revocations.add(&long));
    assert!(!revocations.add(&long), "nothing new");
    let short = Mark { at: long.at - 10_000, until: now() + 1, ..long.clone() };
    assert!(!revocations.add(&short), "nothing new");
    std::thread::sleep(Duration::from_millis(5));
    assert!(revocations.check(&ann(None, Some(5))).is_err());
    let later = Mark { at: long.at + 1, ..long };
    assert!(revocations.add(&later));
    assert_eq!(revocations.len(), 1);
}

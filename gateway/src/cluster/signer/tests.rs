#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{ClusterKeys, Refusal, SKEW, Signer, WINDOW, Window};
use crate::cluster::unix_millis;
use crate::session::sid::{GatewayId, SidParts};

fn signer(gateway: u64, secret: &[u8]) -> Signer {
    Signer::new(GatewayId(gateway), ClusterKeys::derive(secret, "push").requests)
}

#[test]
fn a_stamp_is_good_once_and_only_for_what_it_was_made_for() {
    let (one, two) = (signer(1, b"secret"), signer(2, b"secret"));
    let stamp = one.stamp(&[b"GET", b"/peer/poll"]);
    assert_eq!(two.check(&stamp, &[b"GET", b"/peer/post"]), Err(Refusal::Forged));
    assert_eq!(two.check(&stamp, &[b"GE", b"T/peer/poll"]), Err(Refusal::Forged));
    assert_eq!(two.check(&stamp, &[b"GET", b"/peer/poll"]).unwrap().from, GatewayId(1));
    assert_eq!(two.check(&stamp, &[b"GET", b"/peer/poll"]), Err(Refusal::Replayed));
    let other = stamp.replacen("0000000000000001.1.", "0000000000000001.2.", 1);
    assert_eq!(two.check(&other, &[b"GET", b"/peer/poll"]), Err(Refusal::Forged));
    let stranger = signer(1, b"guess").stamp(&[b"x"]);
    assert_eq!(two.check(&stranger, &[b"x"]), Err(Refusal::Forged));
    for text in ["", ".", "a.b.c.d", "1.1.1", "1.1.1.!", "....", "\u{e9}.1.1.AAAA"] {
        assert_eq!(two.check(text, &[b"x"]), Err(Refusal::Missing), "{text}");
    }
}

#[test]
fn a_stamp_of_another_time_is_refused() {
    let (one, two) = (signer(1, b"secret"), signer(2, b"secret"));
    for time in [unix_millis() - SKEW - 5_000, unix_millis() + SKEW + 5_000, 0, u64::MAX] {
        let stamp = one.stamp_at(time, &[b"x"]);
        assert_eq!(two.check(&stamp, &[b"x"]), Err(Refusal::Time), "{time}");
    }
}

#[test]
fn numbers_may_overtake_each_other_and_none_counts_twice() {
    let mut window = Window::new(std::time::Instant::now());
    for number in [3, 1, 2, 70, 65, WINDOW, WINDOW + 5] {
        assert!(window.take(number), "{number}");
        assert!(!window.take(number), "{number} again");
    }
    assert!(!window.take(5), "too late to be known");
    assert!(!window.take(70), "still known");
    assert!(window.take(WINDOW * 9));
    assert!(!window.take(WINDOW), "before the window");
    assert!(window.take(WINDOW * 9 - 1));
    assert!(!window.take(WINDOW * 9 - 1));
}

#[test]
fn keys_of_other_secrets_prefixes_and_purposes_differ() {
    let parts = SidParts { gateway: GatewayId(7), shard: 1 };
    let sid = ClusterKeys::derive(b"secret", "push").sid.issue(parts).unwrap();
    assert_eq!(ClusterKeys::derive(b"secret", "push").sid.read(&sid), Some(parts));
    assert_eq!(ClusterKeys::derive(b"secret", "pusher").sid.read(&sid), None);
    assert_eq!(ClusterKeys::derive(b"other", "push").sid.read(&sid), None);
    let keys = ClusterKeys::derive(b"secret", "push");
    let stamp = Signer::new(GatewayId(1), keys.messages).stamp(&[b"x"]);
    let requests = Signer::new(GatewayId(2), keys.requests);
    assert_eq!(requests.check(&stamp, &[b"x"]), Err(Refusal::Forged));
}

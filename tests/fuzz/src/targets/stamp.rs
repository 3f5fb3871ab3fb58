//! Requests that gateways sign for each other: each is good once, for what it
//! was made for, and for nobody else.

use std::collections::HashSet;

use aws_lc_rs::hmac;
use gateway::cluster::signer::{Refusal, Signer};
use gateway::session::sid::GatewayId;

use super::Target;
use crate::input::{Input, edited};

pub(super) const TARGET: Target =
    Target { name: "stamp", planted: "the MAC covers the parts without their lengths", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let key = || hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef");
    let sender = Signer::new(GatewayId(1), key());
    let receiver = Signer::new(GatewayId(2), key());
    let stranger = Signer::new(GatewayId(1), hmac::Key::new(hmac::HMAC_SHA256, b"another"));

    // In any order and as often as one likes: each is good once.
    let stamps: Vec<String> = (0..input.byte() % 16).map(|_| sender.stamp(&[b"x"])).collect();
    let mut used = HashSet::new();
    for _ in 0..input.byte() % 32 {
        let index = usize::from(input.byte()) % 16;
        if let Some(stamp) = stamps.get(index) {
            let answer = receiver.check(stamp, &[b"x"]);
            if used.insert(index) {
                assert_eq!(answer.unwrap().from, GatewayId(1));
            } else {
                assert_eq!(answer, Err(Refusal::Replayed));
            }
        }
    }

    let (method, path, digest) = (input.piece(), input.piece(), input.piece());
    let other = [input.piece(), input.piece(), input.piece()];
    let ours = covered(&[method, path, digest], planted);
    let stamp = sender.stamp(&slices(&ours));
    if [method, path, digest] != other {
        let answer = receiver.check(&stamp, &slices(&covered(&other, planted)));
        assert_eq!(answer, Err(Refusal::Forged), "for something else");
    }
    assert_eq!(stranger.check(&stamp, &slices(&ours)), Err(Refusal::Forged));
    let changed = edited(&stamp, input);
    if changed != stamp {
        assert!(receiver.check(&changed, &slices(&ours)).is_err(), "{changed}");
    }
    assert!(receiver.check(&stamp, &slices(&ours)).is_ok());

    let text = std::str::from_utf8(data).unwrap_or_default();
    assert!(receiver.check(text, &[]).is_err(), "made up");
}

fn covered(parts: &[&[u8]; 3], planted: bool) -> Vec<Vec<u8>> {
    if planted { vec![parts.concat()] } else { parts.iter().map(|part| part.to_vec()).collect() }
}

fn slices(parts: &[Vec<u8>]) -> Vec<&[u8]> {
    parts.iter().map(Vec::as_slice).collect()
}

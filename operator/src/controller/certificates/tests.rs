#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const NOW: i64 = 1_800_000_000;
const DAYS: i64 = 24 * 60 * 60;

fn hosts() -> Vec<String> {
    vec!["live-nats".to_owned(), "*.live-nats.shop.svc".to_owned()]
}

#[test]
fn a_certificate_is_for_its_hosts_and_of_its_authority() {
    let ca = authority("shop/live", NOW).unwrap();
    let pair = sign(&ca, &hosts(), NOW).unwrap();
    let seen = look(&pair.certificate).unwrap();
    assert_eq!(seen.names, hosts());
    assert_eq!(seen.issuer, look(&ca.certificate).unwrap().subject);
    assert_eq!(seen.until, NOW + 90 * DAYS);
    let (pem, ca_pem) = [&pair.certificate, &ca.certificate]
        .map(|text| x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap().1)
        .into();
    let (read, by) = (pem.parse_x509().unwrap(), ca_pem.parse_x509().unwrap());
    read.verify_signature(Some(by.public_key())).unwrap();
    assert!(!authority_is_due(&ca, NOW));
    assert!(!certificate_is_due(&pair, &hosts(), &ca, &ca.certificate, NOW));
}

#[test]
fn at_two_thirds_it_is_renewed() {
    let ca = authority("shop/live", NOW).unwrap();
    let pair = sign(&ca, &hosts(), NOW).unwrap();
    let due =
        |days: i64| certificate_is_due(&pair, &hosts(), &ca, &ca.certificate, NOW + days * DAYS);
    assert!(!due(59));
    assert!(due(61));
    assert!(!authority_is_due(&ca, NOW + 2_400 * DAYS));
    assert!(authority_is_due(&ca, NOW + 2_440 * DAYS));
}

#[test]
fn what_does_not_fit_is_made_anew() {
    let ca = authority("shop/live", NOW).unwrap();
    let pair = sign(&ca, &hosts(), NOW).unwrap();
    let due = |pair: &Pair, hosts: &[String], bundle: &str| {
        certificate_is_due(pair, hosts, &ca, bundle, NOW)
    };
    assert!(due(&pair, &["other".to_owned()], &ca.certificate), "another host");
    let stranger = authority("shop/live", NOW).unwrap();
    assert!(due(&pair, &hosts(), &stranger.certificate), "an authority that nobody trusts");
    let mixed = Pair { key: stranger.key.clone(), ..pair.clone() };
    assert!(due(&mixed, &hosts(), &ca.certificate), "another's key");
    assert!(due(&Pair { certificate: "text".to_owned(), ..pair }, &hosts(), &ca.certificate));
    assert!(authority_is_due(&Pair { key: stranger.key, ..ca }, NOW));
}

/// A new authority is known for a day before it signs; what the old one has
/// signed is trusted for as long as it lives.
#[test]
fn a_new_authority_is_known_before_it_signs() {
    let old = authority("shop/live", NOW).unwrap();
    let late = NOW + 2_440 * DAYS;
    let pair = sign(&old, &hosts(), late - 70 * DAYS).unwrap();
    let new = authority("shop/live", late).unwrap();
    let both = bundle(&new.certificate, &old.certificate, late);
    assert_eq!(both.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(bundle(&both, &both, late), both, "each once");
    let due = |now: i64| certificate_is_due(&pair, &hosts(), &new, &both, now);
    assert!(!due(late), "though two thirds are over");
    assert!(due(late + 2 * DAYS));
    // Unless it would run out before.
    let last = sign(&old, &hosts(), late - 90 * DAYS + 60).unwrap();
    assert!(certificate_is_due(&last, &hosts(), &new, &both, late));

    let end = NOW + 10 * 365 * DAYS + 1;
    assert_eq!(bundle(&both, "", end).matches("BEGIN CERTIFICATE").count(), 1);
}

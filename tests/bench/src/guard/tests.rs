#![allow(clippy::expect_used)]

use super::Baseline;
use crate::report::tests::report;

#[test]
fn only_a_ratio_that_got_much_worse_fails() {
    let before = Baseline::of(&report(&[(8.0, 4.0)]));
    // Twice as slow a machine, and 10 % worse.
    let same = Baseline::of(&report(&[(16.0, 8.8)]));
    before.check(&same).expect("within the tolerance");
    let worse = Baseline::of(&report(&[(8.0, 4.0), (8.0, 4.8), (8.0, 4.8)]));
    let error = before.check(&worse).expect_err("20 % worse").to_string();
    assert!(error.contains("broadcast.cpu_us: 0.600 × floor, was 0.500"), "{error}");
}

#[test]
fn what_was_not_measured_fails() {
    let before = Baseline::of(&report(&[(8.0, 4.0)]));
    before.check(&Baseline::of(&report(&[]))).expect_err("nothing was measured");
}

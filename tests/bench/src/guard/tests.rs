#![allow(clippy::expect_used)]

use super::Baseline;
use crate::report::tests::report;
use crate::scenario::Scenario;

const ASKED: [Scenario; 1] = [Scenario::Broadcast];

#[test]
fn only_a_ratio_that_got_much_worse_fails() {
    let before = Baseline::of(&report(&[(8.0, 4.0)]));
    // Twice as slow a machine, and 10 % worse.
    let same = Baseline::of(&report(&[(16.0, 8.8)]));
    let (_, worse) = before.compare(&same, &ASKED).expect("it was measured");
    assert_eq!(worse, [], "within the tolerance");
    let slow = Baseline::of(&report(&[(8.0, 4.0), (8.0, 4.8), (8.0, 4.8)]));
    let (text, worse) = before.compare(&slow, &ASKED).expect("it was measured");
    assert_eq!(worse, ASKED, "20 % worse");
    assert!(text.contains("broadcast.cpu_us: 0.600 × floor, baseline 0.500: over"), "{text}");
}

#[test]
fn what_was_not_measured_fails() {
    let before = Baseline::of(&report(&[(8.0, 4.0)]));
    let nothing = Baseline::of(&report(&[]));
    before.compare(&nothing, &ASKED).expect_err("nothing was measured");
    nothing.compare(&before, &ASKED).expect_err("there is nothing to compare with");
}

use super::*;

#[test]
fn never_later_than_the_truth_and_close_to_it() {
    let mut times = Times::new(1_000_000);
    // Five publications a second for six hours.
    let time_of = |sequence: u64| 1_000_000 + sequence * 200;
    let last = 6 * 3_600 * 5;
    for sequence in 1..=last {
        times.note(sequence, time_of(sequence));
    }
    assert!(times.marks.len() <= MAX_MARKS);
    for sequence in 0..=last {
        let late = time_of(sequence) - times.at_or_before(sequence);
        let age = time_of(last) - time_of(sequence);
        assert!(late < SPACING.max(age), "{sequence}: {late} ms off at an age of {age} ms");
        if age < 1_800_000 {
            assert!(late < SPACING, "{sequence}: {late} ms off at an age of {age} ms");
        }
    }
}

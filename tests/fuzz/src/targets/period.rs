//! Lengths of time as people write them.

use gateway_config::Period;

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "period", planted: "a day has 24 hours and one second", check };

fn check(data: &[u8], planted: bool) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let Ok(mut period) = text.parse::<Period>() else { return };
    if planted && text.contains('d') {
        period = Period::from_millis(period.as_millis().saturating_add(1000));
    }
    let written = period.to_string();
    assert_eq!(written.parse(), Ok(period));
    // Parts add up.
    let sum: u64 = parts(text.trim());
    assert_eq!(period.as_millis(), sum, "{text}");
}

fn parts(text: &str) -> u64 {
    let mut sum = 0;
    let mut number = 0_u64;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '0'..='9' => number = number * 10 + u64::from(letter) - u64::from('0'),
            'm' if letters.next_if_eq(&'s').is_some() => sum += std::mem::take(&mut number),
            's' => sum += std::mem::take(&mut number) * 1_000,
            'm' => sum += std::mem::take(&mut number) * 60_000,
            'h' => sum += std::mem::take(&mut number) * 3_600_000,
            _ => sum += std::mem::take(&mut number) * 86_400_000,
        }
    }
    sum
}

//! Times as NATS writes them.

/// Milliseconds since 1970 of a time in UTC as in RFC 3339:
/// `2026-01-31T23:59:59.123456789Z`. None: not such a time.
pub fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let mut number = || date.next()?.ok();
    let (year, month, day) = (number()?, number()?, number()?);
    let mut time = time.splitn(3, ':').map(str::parse::<u64>);
    let mut number = || time.next()?.ok();
    let (hours, minutes, seconds) = (number()?, number()?, number()?);
    let in_range = (1970..10_000).contains(&year) && (1..=12).contains(&month) && day <= 31;
    if !in_range || hours > 24 || minutes > 60 || seconds > 61 {
        return None;
    }
    let mut millis = 0;
    for (index, digit) in fraction.bytes().enumerate() {
        let digit = u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        millis += match index {
            0 => digit * 100,
            1 => digit * 10,
            2 => digit,
            _ => 0,
        };
    }
    let days = days_since_1970(year, month, day)?;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000 + millis)
}

/// Days of the Gregorian calendar, with years that begin in March, so that
/// the leap day is the last one.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE_1970: u64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let days = year * 365 + year / 4 - year / 100
        + year / 400
        + (153 * month_from_march + 2) / 5
        + day.checked_sub(1)?;
    days.checked_sub(BEFORE_1970)
}

/// Milliseconds of a `Nats-TTL`: whole seconds, or a duration as Go writes
/// it (`1m30s`, `1500ms`). None: `never`, or not one.
pub fn parse_ttl(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000);
    }
    let mut rest = text;
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        total += number
            * match &unit[..end] {
                "h" => 3_600_000.0,
                "m" => 60_000.0,
                "s" => 1_000.0,
                "ms" => 1.0,
                "us" | "µs" | "ns" => 0.0,
                _ => return None,
            };
        rest = &unit[end..];
    }
    if !total.is_finite() || total < 1_000.0 {
        return None;
    }
    // The server keeps whole seconds. Too many for a number are the most that
    // there is, and too many for milliseconds no time at all, as above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    ((total / 1_000.0) as u64).checked_mul(1_000)
}

#[cfg(test)]
mod tests;

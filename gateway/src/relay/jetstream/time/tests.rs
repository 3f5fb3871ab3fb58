use super::{parse, parse_ttl};

#[test]
fn times() {
    for (text, millis) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001999Z", 1),
        ("2000-02-29T12:00:00Z", 951_825_600_000),
        ("2026-11-22T12:19:08.5Z", 1_795_349_948_500),
        ("2100-03-01T00:00:00Z", 4_107_542_400_000),
    ] {
        assert_eq!(parse(text), Some(millis), "{text}");
    }
    for text in ["", "Z", "2026-11-22", "2026-13-01T00:00:00Z", "2026-11-22T12:19:08+01:00"] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn ttls() {
    for (text, millis) in [("5", 5_000), ("1m30s", 90_000), ("1500ms", 1_000), ("1.5h", 5_400_000)]
    {
        assert_eq!(parse_ttl(text), Some(millis), "{text}");
    }
    for text in ["never", "", "-1", "500ms", "5 s", "18446744073709552", "99999999999999999998m"] {
        assert_eq!(parse_ttl(text), None, "{text}");
    }
}

//! Query strings and the token in a request.

use gateway::transport::request::Query;

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "query", planted: "a plus behind an escape stays a plus", check };

fn check(data: &[u8], planted: bool) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let query = Query::parse(Some(text));
    let expected: Vec<(String, String)> = text
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(key, false), unescaped(value, planted))
        })
        .collect();
    for (key, _) in &expected {
        let values: Vec<&str> =
            expected.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect();
        assert_eq!(query.all(key).collect::<Vec<_>>(), values, "{key}");
        assert_eq!(query.get(key), values.last().copied(), "{key}");
    }
}

/// The URL standard's form decoding, byte by byte.
fn unescaped(text: &str, planted: bool) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    let mut escaped = false;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        rest = after;
        let was = std::mem::replace(&mut escaped, false);
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap());
                rest = &after[2..];
                escaped = true;
            }
            (b'+', ..) if !(planted && was) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

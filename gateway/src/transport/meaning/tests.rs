//! Which requests are in doubt.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn one_host() {
    let table: [(&[(&str, &str)], bool); 3] =
        [(&[("host", "a")], false), (&[], true), (&[("host", "a"), ("host", "a")], true)];
    for (headers, doubtful) in table {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(doubt(Version::HTTP_11, &map).is_some(), doubtful, "{headers:?}");
    }
    assert!(doubt(Version::HTTP_10, &HeaderMap::new()).is_none(), "1.0 knew no host");
}

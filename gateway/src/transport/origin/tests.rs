#![allow(clippy::unwrap_used, clippy::expect_used)]

use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};

use super::{Verdict, judge};

fn verdict(allowed: &[&str], origins: &[&str]) -> Verdict {
    let allowed: Vec<_> = allowed.iter().map(|entry| (*entry).to_owned()).collect();
    let mut headers = HeaderMap::new();
    for origin in origins {
        headers.append(header::ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).unwrap());
    }
    judge(&allowed, &headers)
}

#[test]
fn an_origin_is_let_in_as_it_is_listed() {
    let list = ["https://app.example.com", "https://*.shop.example:8443", "http://*.localhost"];
    for good in [
        "https://app.example.com",
        "https://APP.example.com",
        "https://a.shop.example:8443",
        "https://a-1.b.shop.example:8443",
        "http://x.localhost",
    ] {
        let listed = Verdict::Listed(HeaderValue::from_str(good).unwrap());
        assert_eq!(verdict(&list, &[good]), listed, "{good}");
    }
    for bad in [
        "https://example.com",
        "http://app.example.com",
        "https://app.example.com:443",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        // Not the parent itself, and nothing that only ends like it.
        "https://shop.example:8443",
        "https://.shop.example:8443",
        "https://evilshop.example:8443",
        "https://a..shop.example:8443",
        "https://a.shop.example",
        "https://a.shop.example:84430",
        "https://evil.example/.shop.example:8443",
        "https://evil.example#.shop.example:8443",
        "https://evil@a.shop.example:8443",
        "https://evil.example:1.shop.example:8443",
        "https://ä.shop.example:8443",
        "http://a.shop.example:8443",
        "null",
        "",
        "*",
    ] {
        assert_eq!(verdict(&list, &[bad]), Verdict::Refused, "{bad}");
    }
    assert_eq!(verdict(&list, &[]), Verdict::NoOrigin);
    let two = ["https://app.example.com", "https://app.example.com"];
    assert_eq!(verdict(&list, &two), Verdict::Refused);
}

#[test]
fn a_star_is_everybody_and_null_is_to_be_listed() {
    for origin in ["https://a.example", "null", "nonsense"] {
        assert_eq!(verdict(&["*"], &[origin]), Verdict::Any, "{origin}");
        assert_eq!(verdict(&[], &[origin]), Verdict::Refused, "{origin}");
    }
    let null = Verdict::Listed(HeaderValue::from_static("null"));
    assert_eq!(verdict(&["null"], &["null"]), null);
}

#[test]
fn credentials_are_for_listed_pages_alone() {
    for (allowed, origin, credentials) in [
        (&["*"][..], "https://a.example", false),
        (&["https://a.example", "*"], "https://a.example", true),
        (&["https://a.example"], "https://a.example", true),
        (&["https://*.example"], "https://a.example", true),
        (&["null"], "null", false),
        (&["https://a.example"], "https://b.example", false),
    ] {
        let mut headers = HeaderMap::new();
        verdict(allowed, &[origin]).mark(&mut headers);
        let told = headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        assert_eq!(told, credentials, "{allowed:?} {origin}");
        assert!(!headers.contains_key(header::SET_COOKIE));
    }
}

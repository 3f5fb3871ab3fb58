//! Who says where a client is: forged `X-Forwarded-For` and `Forwarded`, from
//! strangers and through proxies that are trusted, and wrong hop counts.
//!
//! An address may have one connection here. A row sends two requests that
//! each want one, over one connection: the second is refused when the gateway
//! takes both to come from one place, and served when it doesn't.

use crate::row::{Answer, Attack, Group, Row, row};
use crate::world::config;

/// Both requests are one client's.
const SAME: Answer = Answer::Words("connectionsPerAddress");
/// They are two clients'.
const APART: Answer = Answer::Served(2);

/// A gateway behind proxies at 127.1.0.0/16.
fn behind(hops: usize) -> String {
    format!(
        "{}client: {{trustedProxies: [127.1.0.0/16], trustedHops: {hops}}}\n\
         limits: {{connectionsPerAddress: 1}}\n",
        config()
    )
}

/// Two requests with these headers; in them stand `%A`, `%B` and `%C` for
/// addresses and `%V` for a /64 that no other row has.
pub fn pair(first: &str, second: &str) -> Vec<u8> {
    let request = |headers: &str, more: &str| {
        format!(
            "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n{headers}{more}\r\n"
        )
    };
    (request(first, "") + &request(second, "connection: close\r\n")).into_bytes()
}

fn lines(values: &[&str]) -> String {
    values.iter().flat_map(|value| [value, "\r\n"]).collect()
}

/// From somebody who is no proxy.
fn stranger(name: &str, second: &[&str], answer: Answer) -> Row {
    row(name, Attack::From("127.2", pair("", &lines(second))), answer)
}

/// Through a proxy that is trusted.
fn proxied(name: &str, first: &[&str], second: &[&str], answer: Answer) -> Row {
    row(name, Attack::From("127.1", pair(&lines(first), &lines(second))), answer)
}

#[allow(clippy::too_many_lines)] // It is one table.
pub fn group() -> Group {
    let long = format!("x-forwarded-for: {}%A", "%B, ".repeat(500));
    let a: &[&str] = &["x-forwarded-for: %A"];
    let rows = vec![
        // --- nobody's proxy ---
        stranger("a stranger says where it is", &["x-forwarded-for: %B"], SAME),
        stranger("a stranger says it by the standard", &["forwarded: for=%B"], SAME),
        stranger("a stranger says it in both", &["x-forwarded-for: %B", "forwarded: for=%B"], SAME),
        stranger("a stranger is one of the proxies", &["x-forwarded-for: %B, 127.1.0.1"], SAME),
        stranger(
            "a stranger uses every header that proxies ever had",
            &[
                "x-real-ip: %B",
                "x-client-ip: %B",
                "x-cluster-client-ip: %B",
                "x-originating-ip: %B",
                "x-remote-addr: %B",
                "cf-connecting-ip: %B",
                "true-client-ip: %B",
                "fastly-client-ip: %B",
                "via: 1.1 %B",
            ],
            SAME,
        ),
        stranger(
            "a stranger sends the PROXY protocol in a header",
            &["proxy: TCP4 %B %B 1 2"],
            SAME,
        ),
        // --- what a client made up, and a proxy passed on ---
        proxied("two clients of one proxy", a, &["x-forwarded-for: %B"], APART),
        proxied("one client of it twice", a, a, SAME),
        proxied("another address in front", a, &["x-forwarded-for: %B, %A"], SAME),
        proxied("another address in a line before", a, &["x-forwarded-for: %B", a[0]], SAME),
        proxied("500 addresses in front", a, &[&long], SAME),
        proxied("somebody else's address in front", a, &["x-forwarded-for: %A, %B"], APART),
        proxied("somebody else's in a line before", a, &[a[0], "x-forwarded-for: %B"], APART),
        proxied("the headers that are not looked at", a, &["x-real-ip: %B", a[0]], SAME),
        // --- one address, in other letters ---
        proxied("with a port", a, &["x-forwarded-for: %A:4711"], SAME),
        proxied("within IPv6", a, &["x-forwarded-for: ::ffff:%A"], SAME),
        proxied("within IPv6, with a port", a, &["x-forwarded-for: [::ffff:%A]:4711"], SAME),
        proxied("with spaces", a, &["x-forwarded-for: \t %A \t"], SAME),
        proxied("the same by the standard", a, &["forwarded: For=\"%A:80\";proto=https"], SAME),
        proxied(
            "two addresses of one /64",
            &["x-forwarded-for: %V::1"],
            &["x-forwarded-for: %V:ffff::2"],
            SAME,
        ),
        // --- what is no address: the proxy's own stands ---
        proxied("nothing", &[], &["x-forwarded-for:"], SAME),
        proxied("nothing behind a comma", &[], &["x-forwarded-for: %A,"], SAME),
        proxied("nonsense behind an address", &[], &["x-forwarded-for: %A, nonsense"], SAME),
        proxied("`unknown`", &[], &["x-forwarded-for: unknown"], SAME),
        proxied("a number", &[], &["x-forwarded-for: 3232235521"], SAME),
        proxied("octal numbers", &[], &["x-forwarded-for: 0300.0250.0.01"], SAME),
        proxied("a part of an address", &[], &["x-forwarded-for: 192.168.1"], SAME),
        proxied("a zone", &[], &["x-forwarded-for: fe80::1%25eth0"], SAME),
        proxied("a port beyond 65535", &[], &["x-forwarded-for: %A:65536"], SAME),
        proxied("a quotation without end", &[], &["forwarded: for=\"%A"], SAME),
        proxied("an address within a quotation", &[], &["forwarded: by=\"for=%A\""], SAME),
        proxied("two in one element", &[], &["forwarded: for=%A;for=%B"], SAME),
        proxied("a name in its place", &[], &["forwarded: for=_hidden"], SAME),
        // --- two headers that disagree ---
        proxied("both, and they agree", a, &[a[0], "forwarded: for=%A"], SAME),
        proxied("both, and they don't", &[], &[a[0], "forwarded: for=%B"], SAME),
        proxied("both, and one is nonsense", &[], &[a[0], "forwarded: nonsense"], SAME),
    ];
    Group { name: "addresses", config: behind(1), rows }
}

pub fn two_proxies() -> Group {
    let a: &[&str] = &["x-forwarded-for: %A, %B"];
    let rows = vec![
        proxied("one client through two proxies", a, &["x-forwarded-for: %A, %C"], SAME),
        proxied("two clients through two proxies", a, &["x-forwarded-for: %C, %B"], APART),
        proxied("an address in front", a, &["x-forwarded-for: %C, %A, %B"], SAME),
        proxied("somebody else's in front", a, &["x-forwarded-for: %A, %C, %B"], APART),
        proxied("one a line", a, &["x-forwarded-for: %A", "x-forwarded-for: %B"], SAME),
        proxied("past the outer proxy", a, &["x-forwarded-for: %A"], SAME),
        proxied("past the outer proxy, by the standard", a, &["forwarded: for=%A"], SAME),
        proxied("nothing at the client's place", &[], &["x-forwarded-for: %A, , %B"], SAME),
        proxied("a name at the client's place", &[], &["forwarded: for=_a, for=%B"], SAME),
    ];
    Group { name: "hops", config: behind(2), rows }
}

/// The gateway alone counts hops; one that is told too few believes the outer
/// proxy's clients to be one.
pub fn too_few() -> Group {
    let first: &[&str] = &["x-forwarded-for: %A, %B"];
    let rows = vec![
        proxied(
            "a hop too few: all are the inner one's",
            first,
            &["x-forwarded-for: %C, %B"],
            SAME,
        ),
        proxied("a hop too few: nobody chooses", first, &["x-forwarded-for: %C, %A, %B"], SAME),
    ];
    Group { name: "hops too few", config: behind(1), rows }
}

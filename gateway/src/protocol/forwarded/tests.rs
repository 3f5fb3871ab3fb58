#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use super::{Malformed, forwarded, x_forwarded_for};

fn lines<'a>(all: &'a [&'a str]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    all.iter().map(|line| line.as_bytes())
}

/// An address, `-` for none, `!` for malformed.
fn wanted(text: &str) -> Result<Option<IpAddr>, Malformed> {
    match text {
        "-" => Ok(None),
        "!" => Err(Malformed),
        address => Ok(Some(address.parse().unwrap())),
    }
}

#[test]
fn x_forwarded_for_is_counted_from_the_right() {
    let table: &[(&[&str], usize, &str)] = &[
        (&[], 1, "-"),
        (&["192.0.2.1"], 1, "192.0.2.1"),
        (&["6.6.6.6, 192.0.2.1"], 1, "192.0.2.1"),
        (&["6.6.6.6, 192.0.2.1, 10.0.0.1"], 2, "192.0.2.1"),
        (&["6.6.6.6", "192.0.2.1, 10.0.0.1"], 2, "192.0.2.1"),
        (&["6.6.6.6", "192.0.2.1", "10.0.0.1"], 2, "192.0.2.1"),
        // Fewer proxies than there may be.
        (&["192.0.2.1"], 3, "192.0.2.1"),
        (&["192.0.2.1,10.0.0.1"], 3, "192.0.2.1"),
        (&["192.0.2.1:4711"], 1, "192.0.2.1"),
        (&["2001:db8::1"], 1, "2001:db8::1"),
        (&["[2001:db8::1]"], 1, "2001:db8::1"),
        (&["[2001:db8::1]:4711"], 1, "2001:db8::1"),
        (&["::ffff:192.0.2.1"], 1, "192.0.2.1"),
        (&["  192.0.2.1\t"], 1, "192.0.2.1"),
        // Nonsense on the left is the client's own.
        (&["<script>, 192.0.2.1"], 1, "192.0.2.1"),
        (&["192.0.2.1, <script>"], 1, "!"),
        (&[""], 1, "!"),
        (&["192.0.2.1,"], 1, "!"),
        (&["192.0.2.1,,10.0.0.1"], 2, "!"),
        (&["unknown"], 1, "!"),
        (&["192.0.2.1:"], 1, "!"),
        (&["192.0.2.1:99999"], 1, "!"),
        (&["192.0.2.1:+80"], 1, "!"),
        (&["[2001:db8::1"], 1, "!"),
        (&["[2001:db8::1]80"], 1, "!"),
        (&["[192.0.2.1]"], 1, "!"),
        (&["2001:db8::1%eth0"], 1, "!"),
        (&["192.0.2.256"], 1, "!"),
        (&["192.0.2"], 1, "!"),
        (&["0x7f.1"], 1, "!"),
        (&["192.0.2.1 10.0.0.1"], 1, "!"),
    ];
    for (given, hops, address) in table {
        assert_eq!(x_forwarded_for(lines(given), *hops), wanted(address), "{given:?}, {hops}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_says() {
    let table: &[(&[&str], usize, &str)] = &[
        (&[], 1, "-"),
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"], 1, "192.0.2.60"),
        (&["For=\"[2001:db8:cafe::17]:4711\""], 1, "2001:db8:cafe::17"),
        (&["for=6.6.6.6, for=198.51.100.17"], 1, "198.51.100.17"),
        (&["for=192.0.2.43, for=198.51.100.17"], 2, "192.0.2.43"),
        (&["for=6.6.6.6", "for=192.0.2.43, for=198.51.100.17"], 2, "192.0.2.43"),
        (&["for=192.0.2.43"], 4, "192.0.2.43"),
        (&["by=10.0.0.1 ; for=192.0.2.43 ; host=\"a, b; for=1.1.1.1\""], 1, "192.0.2.43"),
        (&["for=\"192.0.2.43:47011\""], 1, "192.0.2.43"),
        (&["for=192.0.2.43:47011"], 1, "192.0.2.43"),
        (&["for=\"\\192.0.2.43\""], 1, "192.0.2.43"),
        (&["for=192.0.2.43;"], 1, "192.0.2.43"),
        (&["proto=http"], 1, "!"),
        (&["for=unknown"], 1, "!"),
        (&["for=_hidden"], 1, "!"),
        (&["for="], 1, "!"),
        (&[""], 1, "!"),
        (&["for=192.0.2.43;for=6.6.6.6"], 1, "!"),
        (&["for 192.0.2.43"], 1, "!"),
        (&["for=\"192.0.2.43"], 1, "!"),
        // A client's open quote must not swallow what the proxy adds.
        (&["host=\"x, for=192.0.2.43"], 1, "!"),
        (&["host=\", for=\"[2001:db8::1]\""], 1, "!"),
        (&["for=192.0.2.43 junk"], 1, "!"),
        (&["for=\"a\"b"], 1, "!"),
    ];
    for (given, hops, address) in table {
        assert_eq!(forwarded(lines(given), *hops), wanted(address), "{given:?}, {hops}");
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use super::{HEAD, Malformed, SIGNATURE, binary, length, line};

fn wanted(text: &str) -> Result<Option<IpAddr>, Malformed> {
    match text {
        "-" => Ok(None),
        "!" => Err(Malformed),
        address => Ok(Some(address.parse().unwrap())),
    }
}

#[test]
fn version_1() {
    for (text, address) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", "192.0.2.1"),
        ("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", "2001:db8::1"),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"),
        ("PROXY UNKNOWN\r\n", "-"),
        ("PROXY UNKNOWN ffff::1 what ever\r\n", "-"),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\n", "!"),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443", "!"),
        ("PROXY TCP4  192.0.2.1 10.0.0.1 56324 443\r\n", "!"),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n", "!"),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443 1\r\n", "!"),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 056324 443\r\n", "!"),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 +1 443\r\n", "!"),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n", "!"),
        ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", "!"),
        ("PROXY TCP6 192.0.2.1 ::1 1 2\r\n", "!"),
        ("PROXY TCP4 192.0.2.1 example.com 1 2\r\n", "!"),
        ("PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", "!"),
        ("proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n", "!"),
        ("PROXY \r\n", "!"),
        ("", "!"),
    ] {
        assert_eq!(line(text.as_bytes()), wanted(address), "{text:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107));
    assert_eq!(line(long.as_bytes()), Err(Malformed), "too long");
}

fn head(command: u8, family: u8, length: u16) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..12].copy_from_slice(&SIGNATURE);
    head[12] = command;
    head[13] = family;
    head[14..].copy_from_slice(&length.to_be_bytes());
    head
}

#[test]
fn version_2() {
    let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 3, 4];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 1;
    let extended = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let mut mapped = [0; 36];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
    for (name, command, family, rest, address) in [
        ("TCP over IPv4", 0x21, 0x11, &v4[..], "192.0.2.1"),
        ("UDP over IPv4", 0x21, 0x12, &v4[..], "192.0.2.1"),
        ("TCP over IPv6", 0x21, 0x21, &v6[..], "2001:db8::1"),
        ("IPv4 in IPv6", 0x21, 0x21, &mapped[..], "192.0.2.1"),
        ("with extensions", 0x21, 0x11, &extended[..], "192.0.2.1"),
        ("local", 0x20, 0x11, &v4[..], "-"),
        ("local, and whatever", 0x20, 0xff, &[9][..], "-"),
        ("nothing known", 0x21, 0x00, &[][..], "-"),
        ("nothing known, with more", 0x21, 0x00, &v6[..], "-"),
        ("a Unix socket", 0x21, 0x31, &[7; 216][..], "-"),
        ("a Unix socket cut off", 0x21, 0x31, &[7; 215][..], "!"),
        ("IPv4 cut off", 0x21, 0x11, &v4[..11], "!"),
        ("IPv6 cut off", 0x21, 0x21, &v6[..35], "!"),
        ("another command", 0x22, 0x11, &v4[..], "!"),
        ("another version", 0x11, 0x11, &v4[..], "!"),
        ("another family", 0x21, 0x41, &v6[..], "!"),
        ("another protocol", 0x21, 0x13, &v4[..], "!"),
    ] {
        let head = head(command, family, u16::try_from(rest.len()).unwrap());
        assert_eq!(binary(head, rest), wanted(address), "{name}");
    }
    let short = head(0x21, 0x11, 12);
    assert_eq!(binary(short, &v4[..8]), Err(Malformed), "less than it says");
}

#[test]
fn version_2_is_bounded() {
    assert_eq!(length(head(0x21, 0x11, 4096)), Ok(4096));
    assert_eq!(length(head(0x21, 0x11, 4097)), Err(Malformed));
    let mut other = head(0x21, 0x11, 12);
    other[0] = b'G';
    assert_eq!(length(other), Err(Malformed));
}

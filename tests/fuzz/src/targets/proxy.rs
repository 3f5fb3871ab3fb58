//! The PROXY protocol, both versions: what a balancer writes is read, and
//! nothing else is.

use std::net::IpAddr;

use gateway::protocol::proxy::{HEAD, LONGEST_LINE, Malformed, SIGNATURE, binary, length, line};

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "proxy", planted: "a line of version 1 may have a word too many", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let (four, six) = (input.number().to_le_bytes(), input.number());
    let port = u16::from_le_bytes([input.byte(), input.byte()]);
    let v4 = IpAddr::from([four[0], four[1], four[2], four[3]]);
    let v6 = IpAddr::from((u128::from(six) << 64 | 0xdb8).to_be_bytes());
    for (kind, address) in [("TCP4", v4), ("TCP6", v6)] {
        let text = format!("PROXY {kind} {address} {address} {port} 443\r\n");
        assert_eq!(line(text.as_bytes()), Ok(Some(address.to_canonical())), "{text}");
    }
    let mut head = [0; HEAD];
    head[..12].copy_from_slice(&SIGNATURE);
    let extensions = input.piece();
    for (kind, source) in [(0x11, &four[..4]), (0x21, &v6_bytes(v6)[..])] {
        let mut rest = [source, source, &[0; 4]].concat();
        rest.extend_from_slice(extensions);
        (head[12], head[13]) = (0x21, kind);
        let size = u16::try_from(rest.len()).unwrap_or(u16::MAX);
        [head[14], head[15]] = size.to_be_bytes();
        if length(head).is_ok() {
            let found = binary(head, &rest).unwrap().unwrap();
            let expected = if kind == 0x11 { v4 } else { v6 };
            assert_eq!(found, expected.to_canonical());
            assert!(binary(head, &rest[1..]).is_err(), "a byte is missing");
        }
        // Any version, any family.
        (head[12], head[13]) = (input.byte(), input.byte());
        if binary(head, &rest).is_ok() {
            assert!(matches!(head[12], 0x20 | 0x21), "{:#x}", head[12]);
        }
    }
    // Any line.
    let text = input.rest();
    if let Ok(Some(_)) = read(text, planted) {
        assert!(text.len() <= LONGEST_LINE);
        assert_eq!(text.split(|byte| *byte == b' ').count(), 6);
    }
}

fn read(text: &[u8], planted: bool) -> Result<Option<IpAddr>, Malformed> {
    if planted && let Some(end) = text.iter().rposition(|byte| *byte == b' ') {
        let shorter = [&text[..end], b"\r\n"].concat();
        return line(text).or_else(|_| line(&shorter));
    }
    line(text)
}

fn v6_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}

//! The PROXY protocol, versions 1 and 2: what a balancer says of a connection
//! before its first byte (`doc/proxy-protocol.txt` of HAProxy).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// What version 2 begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
pub const WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included (section 2.1).
pub const LONGEST_LINE: usize = 107;
/// Bytes of version 2 before its addresses.
pub const HEAD: usize = 16;
/// Bytes of addresses and extensions of version 2 that are taken. Addresses
/// are 216 at most; extensions (TLV) hold names and certificates' subjects.
pub const MOST: usize = 4096;

/// Bytes that aren't the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY protocol header")]
pub struct Malformed;

/// A line of version 1, with its end. `None`: the balancer doesn't know, so
/// the connection stands for itself.
pub fn line(line: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    let text = line.strip_prefix(WORD).and_then(|rest| rest.strip_suffix(b"\r\n"));
    let text = text.filter(|_| line.len() <= LONGEST_LINE).ok_or(Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let mut words = text.split(' ');
    let version = match words.next() {
        // What follows it is ignored.
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => 4,
        Some("TCP6") => 6,
        _ => return Err(Malformed),
    };
    let mut address = || -> Result<IpAddr, Malformed> {
        let address: IpAddr = words.next().and_then(|word| word.parse().ok()).ok_or(Malformed)?;
        if address.is_ipv4() == (version == 4) { Ok(address) } else { Err(Malformed) }
    };
    let (source, _destination) = (address()?, address()?);
    let port = |word: &str| {
        word.bytes().all(|b| b.is_ascii_digit())
            && (word == "0" || !word.starts_with('0'))
            && word.parse::<u16>().is_ok()
    };
    let ports: Vec<_> = words.collect();
    match ports.as_slice() {
        [from, to] if port(from) && port(to) => Ok(Some(source.to_canonical())),
        _ => Err(Malformed),
    }
}

/// How many bytes follow the first 16 of version 2.
pub fn length(head: [u8; HEAD]) -> Result<usize, Malformed> {
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if head[..12] == SIGNATURE && length <= MOST { Ok(length) } else { Err(Malformed) }
}

/// A header of version 2: its first 16 bytes, and all that follow. `None`:
/// the connection stands for itself (a health check, a Unix socket).
pub fn binary(head: [u8; HEAD], rest: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    if length(head)? != rest.len() {
        return Err(Malformed);
    }
    match head[12] {
        // LOCAL; what follows is to be skipped, whatever it is.
        0x20 => return Ok(None),
        0x21 => {}
        // Section 2.2: other values must be refused.
        _ => return Err(Malformed),
    }
    match head[13] {
        // Nothing known (UNSPEC), or Unix sockets.
        0x00 => Ok(None),
        0x31 | 0x32 if rest.len() >= 216 => Ok(None),
        0x11 | 0x12 => {
            let source: [u8; 4] = rest.get(..12).and_then(first).ok_or(Malformed)?;
            Ok(Some(Ipv4Addr::from(source).into()))
        }
        0x21 | 0x22 => {
            let source: [u8; 16] = rest.get(..36).and_then(first).ok_or(Malformed)?;
            Ok(Some(IpAddr::from(Ipv6Addr::from(source)).to_canonical()))
        }
        _ => Err(Malformed),
    }
}

/// The source's address is the first of the four.
fn first<const N: usize>(addresses: &[u8]) -> Option<[u8; N]> {
    addresses.first_chunk().copied()
}

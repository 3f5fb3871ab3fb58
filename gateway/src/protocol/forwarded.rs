//! Where a client is, as the proxies in front of the gateway tell it:
//! `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! Each proxy adds who connected to it on the right, so what is counted from
//! the right was written by proxies, and all to the left of that by anybody.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// What stands at the client's place is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no address stands at the client's place")]
pub struct Malformed;

/// The address `hops` places from the right of all `X-Forwarded-For` lines,
/// or the one farthest to the left where there are fewer. `None`: there is no
/// such line.
pub fn x_forwarded_for<'a>(
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    hops: usize,
) -> Result<Option<IpAddr>, Malformed> {
    let mut last = None;
    let mut left = hops;
    for line in lines.rev() {
        for entry in line.rsplit(|byte| *byte == b',') {
            last = Some(entry);
            left = left.saturating_sub(1);
            if left == 0 {
                return node(entry.trim_ascii()).map(Some);
            }
        }
    }
    last.map(|entry| node(entry.trim_ascii())).transpose()
}

/// The same of `Forwarded`: its `for`.
pub fn forwarded<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    hops: usize,
) -> Result<Option<IpAddr>, Malformed> {
    let mut elements = VecDeque::new();
    let mut some = false;
    for line in lines {
        some = true;
        let mut rest = line;
        loop {
            let (element, after) = element(rest)?;
            if elements.len() == hops.max(1) {
                elements.pop_front();
            }
            elements.push_back(element);
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
    }
    match elements.pop_front() {
        Some(Some(address)) => node(&address).map(Some),
        _ if some => Err(Malformed),
        _ => Ok(None),
    }
}

/// One proxy's words: its `for`, and what follows the comma behind them.
#[allow(clippy::type_complexity)] // Used once, right above.
fn element(mut text: &[u8]) -> Result<(Option<Vec<u8>>, Option<&[u8]>), Malformed> {
    let mut address = None;
    loop {
        let (name, after) = token(text.trim_ascii_start());
        let mut rest = after;
        if !name.is_empty() {
            let value = after.strip_prefix(b"=").ok_or(Malformed)?;
            let (value, after) = value_of(value)?;
            rest = after;
            if name.eq_ignore_ascii_case(b"for") && address.replace(value).is_some() {
                return Err(Malformed);
            }
        }
        match rest.trim_ascii_start().split_first() {
            None => return Ok((address, None)),
            Some((b',', after)) => return Ok((address, Some(after))),
            Some((b';', after)) => text = after,
            Some(_) => return Err(Malformed),
        }
    }
}

/// RFC 9110, section 5.6.2
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// A token or a quoted string (RFC 9110, section 5.6.4).
fn value_of(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Malformed> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        // Not a token by the letter, but common: an address with its port.
        let end = text.iter().position(|byte| b";, \t\"".contains(byte));
        let (value, rest) = text.split_at(end.unwrap_or(text.len()));
        return if value.is_empty() { Err(Malformed) } else { Ok((value.to_vec(), rest)) };
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((value, &quoted[index + 1..])),
            b'\\' => value.push(*bytes.next().ok_or(Malformed)?.1),
            byte => value.push(*byte),
        }
    }
    Err(Malformed)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`. Proxies
/// that don't say who it is write `unknown` or `_a-name`.
fn node(text: &[u8]) -> Result<IpAddr, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let port = |port: &str| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(Malformed)?;
        if !rest.is_empty() && !rest.strip_prefix(':').is_some_and(port) {
            return Err(Malformed);
        }
        address.parse::<Ipv6Addr>().map_err(|_| Malformed)?.into()
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, rest) = text.split_once(':').ok_or(Malformed)?;
        if !port(rest) {
            return Err(Malformed);
        }
        address.parse::<std::net::Ipv4Addr>().map_err(|_| Malformed)?.into()
    };
    Ok(address.to_canonical())
}

//! Blocks of addresses, as `client.trustedProxies` lists them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One address, or all that begin with the same bits: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// Not a block of addresses; says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(String);

// === impl Network ===

impl Network {
    /// Whether an address is one of it. An IPv4 address that came in over
    /// IPv6 (`::ffff:10.0.0.1`) is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                masked_v4(address, self.bits) == u32::from(first)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                masked_v6(address, self.bits) == u128::from(first)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let form = || {
            NetworkError(format!(
                "`{}` is not an address or a block of addresses; write it as in `10.0.0.1`, `10.0.0.0/8` or `2001:db8::/32`",
                text.escape_debug()
            ))
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        if address != address.to_canonical() {
            return Err(NetworkError(format!(
                "`{text}` is an IPv4 address in IPv6's form; write `{}`",
                address.to_canonical()
            )));
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            // `+8` and `08` parse as numbers.
            Some(bits) if bits.starts_with(|c: char| c.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(form)?
            }
            Some(_) => return Err(form()),
        };
        let first: IpAddr = match address {
            IpAddr::V4(address) => Ipv4Addr::from(masked_v4(address, bits)).into(),
            IpAddr::V6(address) => Ipv6Addr::from(masked_v6(address, bits)).into(),
        };
        if first != address {
            return Err(NetworkError(format!(
                "`{text}` says more than its first {bits} bits; write `{first}/{bits}`, or `{address}` for that address alone"
            )));
        }
        Ok(Self { first, bits })
    }
}

fn masked_v4(address: Ipv4Addr, bits: u8) -> u32 {
    u32::from(address) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn masked_v6(address: Ipv6Addr, bits: u8) -> u128 {
    u128::from(address) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Network;

    #[test]
    fn a_block_holds_its_addresses_and_no_other() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = block.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{block} has {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{block} lacks {outside}");
        }
    }

    #[test]
    fn what_is_no_block_is_told_with_what_to_write() {
        for (text, hint) in [
            ("", "write it as in"),
            ("proxy", "write it as in"),
            ("10.0.0.0/33", "write it as in"),
            ("10.0.0.0/+8", "write it as in"),
            ("10.0.0.0/", "write it as in"),
            ("::/129", "write it as in"),
            ("10.0.0.1/8", "write `10.0.0.0/8`, or `10.0.0.1`"),
            ("2001:db8::1/32", "write `2001:db8::/32`"),
            ("::ffff:10.0.0.1", "write `10.0.0.1`"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}

//! What proxies say of a client's address: only what trusted proxies wrote
//! counts, whatever stands to the left of it.

use std::net::IpAddr;

use gateway::protocol::forwarded::{forwarded, x_forwarded_for};

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target = Target {
    name: "forwarded",
    planted: "with three addresses the one on the left is believed",
    check,
};

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let hops = usize::from(input.byte() % 4) + 1;
    let addresses: Vec<IpAddr> = (0..=input.byte() % 4)
        .map(|_| match input.byte() % 3 {
            0 => IpAddr::from([127, 0, 0, input.byte()]),
            1 => IpAddr::from([input.byte(), 2, 3, 4]),
            _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(input.byte()) + 1]),
        })
        .collect();
    let made_up: Vec<&[u8]> = vec![input.piece(), input.piece()];

    // What proxies wrote: one line, or one each.
    let lines: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let joined = lines.join(", ");
    let expected = addresses[addresses.len().saturating_sub(hops)];
    let read = |lines: Vec<&[u8]>| x_forwarded_for(lines.into_iter(), hops);
    assert_eq!(read(lines.iter().map(String::as_bytes).collect()), Ok(Some(expected)));
    assert_eq!(read(vec![joined.as_bytes()]), Ok(Some(expected)));

    // What a client wrote before them changes nothing, if all of them did.
    if addresses.len() >= hops {
        let believed = if planted && addresses.len() == 3 && !made_up[0].is_empty() {
            read(vec![made_up[0]])
        } else {
            read(made_up.iter().copied().chain([joined.as_bytes()]).collect())
        };
        assert_eq!(believed, Ok(Some(expected)), "{made_up:?}");
    }

    let elements: Vec<String> = addresses
        .iter()
        .map(|address| match address {
            IpAddr::V4(address) => format!("proto=http;for={address};by=_x"),
            IpAddr::V6(address) => format!("For=\"[{address}]:80\""),
        })
        .collect();
    let standard = elements.join(", ");
    assert_eq!(forwarded([standard.as_bytes()].into_iter(), hops), Ok(Some(expected)));
    if addresses.len() >= hops {
        // It may spoil the line, and then nothing in it is believed.
        let all = made_up.iter().copied().chain([standard.as_bytes()]);
        assert!(
            matches!(forwarded(all, hops), Ok(Some(found)) if found == expected)
                || forwarded(made_up.iter().copied(), 1).is_err()
        );
    }
    // Anything at all.
    for found in [read(made_up.clone()), forwarded(made_up.into_iter(), hops)] {
        if let Ok(Some(address)) = found {
            assert_eq!(address, address.to_canonical());
        }
    }
}

//! Shows that the engine sees coverage: chance alone doesn't find six given
//! bytes in a few thousand million executions, step by step it takes
//! thousands.

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "coverage", planted: "six given bytes are a fault", check };

fn check(data: &[u8], planted: bool) {
    let mut met = 0;
    for (byte, wanted) in data.iter().zip(b"PUSH!\n") {
        // A comparison by the table would be one edge for all.
        let same = match wanted {
            b'P' => *byte == b'P',
            b'U' => *byte == b'U',
            b'S' => *byte == b'S',
            b'H' => *byte == b'H',
            b'!' => *byte == b'!',
            _ => *byte == b'\n',
        };
        if !same {
            return;
        }
        met += 1;
    }
    assert!(!(planted && met == 6), "all six were found");
}

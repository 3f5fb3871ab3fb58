//! Short names for content.

use std::fmt::Write as _;

/// The first 12 hexadecimal digits of the SHA-256, as the gateway names its
/// configuration.
pub fn short(content: &[u8]) -> String {
    hex(content, 6)
}

/// The whole SHA-256 in hexadecimal digits.
pub fn full(content: &[u8]) -> String {
    hex(content, 32)
}

fn hex(content: &[u8], bytes: usize) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    let mut text = String::with_capacity(2 * bytes);
    for byte in digest.as_ref().iter().take(bytes) {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

//! A configuration from its text to its value, as a person meets it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad;
mod overlays;
mod reading;
mod secrets;

use crate::{Config, ConfigError, Sources};

/// Reads a file's text under variables and flags.
fn read(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Sources { file: Some("push.yaml".into()), environment: pairs(environment), flags: pairs(flags) }
        .load_bytes(text.as_bytes())
}

fn errors(text: &str) -> String {
    match read(text, &[], &[]) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

//! The configuration file: any bytes give a configuration or an error in
//! words.

use gateway_config::{Config, Sources, check as problems};

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "config", planted: "what stands behind a line of comment is lost", check };

fn check(data: &[u8], planted: bool) {
    let Some(config) = load(data) else { return };
    assert!(problems(&config).is_empty(), "what is accepted is sound");
    assert!(config.channels.len() <= 256, "{}", config.channels.len());
    // A comment says nothing; behind a block scalar it would be text.
    let text = std::str::from_utf8(data).unwrap();
    if text.contains(['|', '>', '"', '\'', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
        || text.lines().any(|line| line == "..." || line.starts_with("... "))
    {
        return;
    }
    let mut commented = text.to_owned();
    if planted && let Some((start, _)) = text.split_once("\n#") {
        start.clone_into(&mut commented);
    }
    commented.push_str("\n# a comment\n");
    assert!(load(commented.as_bytes()) == Some(config), "a comment changes nothing");
}

fn load(data: &[u8]) -> Option<Config> {
    match Sources::default().load_bytes(data) {
        Ok(config) => Some(config),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

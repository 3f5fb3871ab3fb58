//! Which channel rule holds: the first that matches, found without trying
//! them all.

use gateway::channel::Channel;
use gateway::rules::Rules;
use gateway_config::{ChannelRule, Pattern};

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "rules", planted: "of three rules that match the second holds", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let Ok(channel) = Channel::new(input.text()) else { return };
    let mut patterns = Vec::new();
    while !input.is_empty() && patterns.len() < 16 {
        patterns.extend(Pattern::new(input.text()));
    }
    // Each rule is known by its limit.
    let rules: Vec<ChannelRule> = patterns
        .iter()
        .enumerate()
        .map(|(index, pattern)| {
            let rule = serde_json::json!({"match": pattern, "maxPayload": index + 1});
            serde_json::from_value(rule).unwrap()
        })
        .collect();
    let subject = channel.to_subject();
    let found = Rules::new(rules, 1000).of_subject(&subject).max_payload;
    let mut matching =
        (1_usize..).zip(&patterns).filter(|(_, pattern)| pattern.matches_subject(&subject));
    let first = matching.next().map_or(1000, |(index, _)| index);
    let third = matching.nth(1).is_some();
    let found = if planted && third { found + 1 } else { found };
    assert_eq!(found, first, "{channel:?} {patterns:?}");
}

//! Channel rules.

use super::Findings;
use crate::{ChannelRule, SlowConsumer};

pub(super) fn check(rules: &[ChannelRule], findings: &mut Findings) {
    for (index, rule) in rules.iter().enumerate() {
        let Some(history) = rule.history else { continue };
        if rule.slow_consumer != SlowConsumer::Disconnect {
            let message = format!(
                "`{}` is for channels without history, and the rule for `{}` has `history`: remove `history`, or use `disconnect`, after which a client resumes without a loss",
                rule.slow_consumer.as_str(),
                rule.matches,
            );
            findings.add(format!("channels[{index}].slowConsumer"), message);
        }
        if history.max_age.get().as_secs() < 1 {
            let path = format!("channels[{index}].history.maxAge");
            findings.add(path, "takes 1s or more, as in 1h");
        }
        for (first, other) in rules[..index].iter().enumerate() {
            if other.history.is_none() || !crosses(rule, other) {
                continue;
            }
            let message = format!(
                "`{}` crosses `{}` of `channels[{first}]`: both have history, some channels match both, and neither contains the other; make one of them contain the other, or write patterns that share no channel",
                rule.matches, other.matches
            );
            findings.add(format!("channels[{index}].match"), message);
        }
    }
}

/// All history lives in one stream, whose subjects must not overlap in part.
fn crosses(a: &ChannelRule, b: &ChannelRule) -> bool {
    let (a, b) = (&a.matches, &b.matches);
    a.overlaps(b) && !a.covers(b) && !b.covers(a)
}

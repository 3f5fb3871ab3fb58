//! What all gateways answered, as one answer.

use std::collections::BTreeMap;

use crate::cluster::ask::{Answer, Answers};

/// All counts together.
pub fn count(answers: &Answers) -> u64 {
    let counts = answers.answers.iter().map(|answer| match answer {
        Answer::Count(count) => *count,
        _ => 0,
    });
    counts.sum()
}

/// All channels by name, each with all its subscribers.
pub fn channels(answers: Answers) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for answer in answers.answers {
        let Answer::Channels(channels) = answer else { continue };
        for (channel, count) in channels {
            *all.entry(channel).or_default() += count;
        }
    }
    all
}

/// The ids of the gateways that did not answer within a second: what they
/// hold is missing.
pub fn missing(answers: &Answers) -> Vec<String> {
    answers.missing.iter().map(ToString::to_string).collect()
}

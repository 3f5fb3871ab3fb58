//! Channel patterns, beside the shortest matcher that one can write.

use gateway::channel::Channel;
use gateway_config::Pattern;

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "pattern", planted: "`>` also stands for no token at all", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let (one, two) = (Pattern::new(input.text()), Pattern::new(input.text()));
    let channel = Channel::new(input.text());
    let subject = channel.as_ref().map(Channel::to_subject);
    for pattern in [&one, &two].into_iter().flatten() {
        assert_eq!(Pattern::new(pattern.as_str()).as_ref(), Ok(pattern));
        if let Ok(subject) = &subject {
            let words: Vec<&str> = subject.split('.').collect();
            let filter = pattern.to_subject();
            let tokens: Vec<&str> = filter.split('.').collect();
            let system = subject.starts_with('$') && matches!(tokens[0], "*" | ">");
            let expected = !system && model(&tokens, &words);
            assert_eq!(matches(pattern, subject, planted), expected, "{filter} {subject}");
        }
        assert!(pattern.covers(pattern), "{pattern}");
        assert!(pattern.overlaps(pattern), "{pattern}");
    }
    let (Ok(one), Ok(two)) = (one, two) else { return };
    assert_eq!(one.overlaps(&two), two.overlaps(&one), "{one} {two}");
    if one.covers(&two) {
        assert!(one.overlaps(&two), "{one} {two}");
    }
    let Ok(subject) = subject else { return };
    let both = one.matches_subject(&subject) && two.matches_subject(&subject);
    assert!(!both || one.overlaps(&two), "{one} {two} {subject}");
    let only_two = two.matches_subject(&subject) && !one.matches_subject(&subject);
    assert!(!only_two || !one.covers(&two), "{one} {two} {subject}");
}

fn model(tokens: &[&str], words: &[&str]) -> bool {
    match (tokens, words) {
        ([], []) | ([">"], [_, ..]) => true,
        ([token, tokens @ ..], [word, words @ ..]) => {
            (*token == "*" || token == word) && model(tokens, words)
        }
        _ => false,
    }
}

fn matches(pattern: &Pattern, subject: &str, planted: bool) -> bool {
    let above = pattern.to_subject();
    let above = above.strip_suffix(".>");
    (planted && above == Some(subject)) || pattern.matches_subject(subject)
}

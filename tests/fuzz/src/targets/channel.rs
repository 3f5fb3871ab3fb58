//! Channel names as NATS subjects, both ways: no two names share a subject,
//! and every subject is one.

use gateway::channel::Channel;
use gateway_config::subject;

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "channel", planted: "of two dots in a row only one is escaped", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let (first, second, room) = (input.text(), input.text(), input.text());
    let channels: Vec<Channel> = [first, second]
        .into_iter()
        .filter_map(|name| Channel::new(name).ok())
        .chain(Channel::user(second).ok().filter(|_| !second.is_empty()))
        .chain(Channel::in_namespace(&format!("/{second}"), room).ok())
        .collect();
    let subjects: Vec<String> =
        channels.iter().map(|channel| to_subject(channel, planted)).collect();
    for (channel, subject) in channels.iter().zip(&subjects) {
        is_a_subject(subject);
        assert!(subject.len() <= 3 * channel.as_str().len());
        assert_eq!(Channel::from_subject(subject).as_ref(), Some(channel), "{subject}");
        for (other, theirs) in channels.iter().zip(&subjects) {
            assert_eq!(channel == other, subject == theirs, "{channel:?} {other:?}");
        }
    }
    // Any text as a subject.
    if let Some(channel) = Channel::from_subject(first) {
        is_a_subject(&channel.to_subject());
    }
    let token = subject::encode_token(first);
    assert!(!token.contains('.'));
    assert_eq!(subject::decode(&token).as_deref(), Some(first));
}

/// Not empty, no empty token, no wildcard, visible ASCII.
fn is_a_subject(subject: &str) {
    for token in subject.split('.') {
        assert!(!matches!(token, "" | "*" | ">"), "{subject:?}");
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{subject:?}");
    }
}

fn to_subject(channel: &Channel, planted: bool) -> String {
    let subject = channel.to_subject();
    if planted { subject.replacen(".%2E", "..", 1) } else { subject }
}

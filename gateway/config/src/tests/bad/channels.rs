//! Rules for channels.

#[rustfmt::skip]
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "channels:
- {history: {maxMessages: 10, maxAge: 1h}}",
        "push.yaml:2:3: channels[0].match: is missing; it takes a channel pattern, as in `orders.>`",
    ),
    (
        "channels:
- match: 'a..b'",
        "push.yaml:2:10: channels[0].match: the channel pattern `a..b` has an empty token; remove the extra `.`",
    ),
    (
        "channels:
- match: '>.a'",
        "push.yaml:2:10: channels[0].match: the channel pattern `>.a` has `>` before its end; `>` may only be the last token",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 0, maxAge: 1h}}",
        "push.yaml:2:37: channels[0].history.maxMessages: takes a whole number from 1 to 1000000, not `0`",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 1000001, maxAge: 1h}}",
        "push.yaml:2:37: channels[0].history.maxMessages: takes a whole number from 1 to 1000000, not `1000001`",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 10, maxAge: 500ms}}",
        "push.yaml:2:49: channels[0].history.maxAge: takes 1s or more, as in 1h",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 10}}",
        "push.yaml:2:23: channels[0].history.maxAge: is missing; it takes a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "channels:
- {match: 'a.*', history: {maxMessages: 10, maxAge: 1h}}
- {match: b, history: {maxMessages: 1, maxAge: 1s}}
- {match: '*.b', history: {maxMessages: 10, maxAge: 1h}}",
        "push.yaml:4:11: channels[2].match: `*.b` crosses `a.*` of `channels[0]`: both have history, some channels match both, and neither contains the other; make one of them contain the other, or write patterns that share no channel",
    ),
    (
        "channels:
- {match: a, presence: true}",
        "push.yaml:2:14: channels[0].presence: is not available in this version; remove it",
    ),
    (
        "channels:
- {match: news, slowConsumer: latest}
- {match: 'a.*', history: {maxMessages: 10, maxAge: 1h}, slowConsumer: dropOldest}",
        "push.yaml:3:72: channels[1].slowConsumer: `dropOldest` is for channels without history, and the rule for `a.*` has `history`: remove `history`, or use `disconnect`, after which a client resumes without a loss",
    ),
    (
        "channels:
- {match: a, slowConsumer: drop}",
        "push.yaml:2:28: channels[0].slowConsumer: takes `disconnect`, `dropOldest` or `latest`, not `drop`",
    ),
    (
        "channels: {match: a}",
        "push.yaml:1:11: channels: takes a list: `- match: …`, not a section",
    ),
];

//! The subjects and names that a prefix gives.

use crate::channel::Channel;

/// Everything under one prefix. Clusters that share NATS have a prefix each.
#[derive(Clone, Debug)]
pub struct Subjects {
    /// `push`
    prefix: String,
    /// `push.pub.`
    publish: String,
    /// `push.live.`
    live: String,
    /// `push.ctl.unstored.`
    unstored: String,
}

// === impl Subjects ===

impl Subjects {
    /// The configuration has checked the prefix: tokens of letters, digits,
    /// `_` and `-`.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            publish: format!("{prefix}.pub."),
            live: format!("{prefix}.live."),
            unstored: format!("{prefix}.ctl.unstored."),
        }
    }

    /// The stream of all history.
    pub fn stream(&self) -> String {
        format!("PUSH_{}", self.prefix.replace('.', "_"))
    }

    /// The key-value bucket of the session records.
    pub fn bucket(&self) -> String {
        format!("{}_sessions", self.stream())
    }

    /// Where a channel is published.
    pub fn publish(&self, channel: &str) -> String {
        format!("{}{channel}", self.publish)
    }

    /// Where a channel with history is published that must not be stored.
    pub fn unstored(&self, channel: &str) -> String {
        format!("{}{channel}", self.unstored)
    }

    /// The tick: a publication of the gateways to themselves.
    pub fn tick(&self) -> String {
        self.publish(TICK)
    }

    /// The anchor: what a stream that may lose its beginning is measured by.
    pub fn anchor(&self) -> String {
        self.publish(ANCHOR)
    }

    /// Everything that is published.
    pub fn all_published(&self) -> String {
        format!("{}>", self.publish)
    }

    /// Everything that is stored, after it is.
    pub fn all_live(&self) -> String {
        format!("{}>", self.live)
    }

    /// Everything that is not stored though its channel has history.
    pub fn all_unstored(&self) -> String {
        format!("{}>", self.unstored)
    }

    /// Sessions that were taken over.
    pub fn fenced(&self) -> String {
        format!("{}.ctl.fenced", self.prefix)
    }

    /// What the stream covers from now on.
    pub fn news(&self) -> String {
        format!("{}.ctl.stream", self.prefix)
    }

    /// The channel's part of a subject of this prefix.
    pub fn channel_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        [&self.live, &self.publish, &self.unstored]
            .into_iter()
            .find_map(|prefix| subject.strip_prefix(prefix.as_str()))
    }
}

/// The channel, as a subject, of ticks. No client can name it: it begins
/// with `$`.
pub const TICK: &str = "$tick";
/// The same of anchors.
pub const ANCHOR: &str = "$anchor";

/// Reads the channel of a subject. None: it is spelled in a way in which no
/// channel is spelled, so that nobody could be subscribed to it.
pub fn channel(subject: &str) -> Option<Channel> {
    let channel = Channel::from_subject(subject)?;
    (channel.to_subject() == subject).then_some(channel)
}

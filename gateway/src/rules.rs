//! What the configuration says of a channel: the first rule that matches.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_config::{ChannelRule, History, Pattern, Period, SlowConsumer};

use crate::channel::Channel;

mod index;
#[cfg(test)]
mod tests;

use index::Index;

/// The channel rules in force. Swapped whole when the file changes.
#[allow(clippy::struct_field_names)] // They are its rules.
pub struct Rules {
    rules: Vec<ChannelRule>,
    index: Index,
    publication_bytes: usize,
    history_bytes: Option<usize>,
    replicas: usize,
    generation: u64,
}

/// Rules that can be replaced while they are used.
pub type SharedRules = Arc<ArcSwap<Rules>>;

/// What holds for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How much is kept.
    pub history: Option<History>,
    /// Whether whoever may subscribe may publish; absent: a grant decides.
    pub client_publish: Option<bool>,
    /// Whether everyone may subscribe; absent: a grant decides.
    pub anonymous: Option<bool>,
    /// What happens to a client that reads too slowly.
    pub slow_consumer: SlowConsumer,
    /// Largest publication, in bytes.
    pub max_payload: usize,
}

/// What is kept of `$user.<id>` unless a rule says otherwise.
pub const USER_HISTORY: History = History { max_messages: 100, max_age: Period::from_secs(3600) };

// === impl Rules ===

impl Rules {
    /// Rules in the order in which they are tried, and the largest
    /// publication in bytes.
    pub fn new(rules: Vec<ChannelRule>, publication_bytes: usize) -> Self {
        let index = Index::new(rules.iter().map(|rule| &rule.matches));
        Self { rules, index, publication_bytes, history_bytes: None, replicas: 1, generation: 0 }
    }

    /// The configuration's `generation`: it is raised with every change of
    /// the stream's settings.
    #[must_use]
    pub fn with_generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// See [`Rules::with_generation`].
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes of history that all channels together may keep; none: as many as
    /// the relay takes by itself.
    #[must_use]
    pub fn with_history_bytes(self, history_bytes: Option<usize>) -> Self {
        Self { history_bytes, ..self }
    }

    /// See [`Rules::with_history_bytes`].
    pub fn history_bytes(&self) -> Option<usize> {
        self.history_bytes
    }

    /// Servers that keep each stored publication: 1 unless said otherwise.
    #[must_use]
    pub fn with_replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// See [`Rules::with_replicas`].
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The rules with history.
    pub fn histories(&self) -> impl Iterator<Item = (&Pattern, History)> {
        let kept =
            |history: &History| history.max_messages > 0 && history.max_age > Period::default();
        self.rules.iter().filter_map(move |rule| Some((&rule.matches, rule.history.filter(kept)?)))
    }

    /// Rules that can be replaced.
    pub fn shared(self) -> SharedRules {
        Arc::new(ArcSwap::from_pointee(self))
    }

    /// What holds for a channel. Rules match the full name: `$ns.admin.room`,
    /// not `room`.
    pub fn of(&self, channel: &Channel) -> Rule {
        self.of_subject(&channel.to_subject())
    }

    /// The same for a channel given as its subject, [`Channel::to_subject`].
    pub fn of_subject(&self, subject: &str) -> Rule {
        let found = self.index.first(subject).and_then(|index| self.rules.get(index));
        match found {
            Some(rule) => Rule {
                history: rule.history,
                client_publish: rule.client_publish,
                anonymous: rule.anonymous,
                slow_consumer: rule.slow_consumer,
                // A rule narrows the gateway's limit and never widens it.
                max_payload: rule
                    .max_payload
                    .map_or(self.publication_bytes, |bytes| bytes.min(self.publication_bytes)),
            },
            None => Rule {
                history: subject.starts_with("$user.").then_some(USER_HISTORY),
                client_publish: None,
                anonymous: None,
                slow_consumer: SlowConsumer::default(),
                max_payload: self.publication_bytes,
            },
        }
    }

    /// The shortest time for which any channel keeps a publication: a resume
    /// point must be renewed more often.
    pub fn shortest_age(&self) -> Period {
        self.rules
            .iter()
            .filter_map(|rule| rule.history)
            .map(|history| history.max_age)
            .fold(USER_HISTORY.max_age, Period::min)
    }
}

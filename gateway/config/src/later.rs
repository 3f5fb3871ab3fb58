//! Keys of the design that this version doesn't have yet. Their harmless
//! value is taken, so that one file fits several versions; any other is
//! refused, so that nobody believes in what isn't there.

use crate::node::{Node, Value};

/// Which value of a missing key asks for nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harmless {
    /// Nothing: no value, `""`, `[]`, `{}`.
    Empty,
    /// Nothing, or this word.
    Word(&'static str),
}

/// The keys; `[]` stands for every place in a list.
pub(crate) const KEYS: [(&str, Harmless); 2] =
    [("channels[].presence", Harmless::Word("false")), ("upstreams", Harmless::Empty)];

/// A key that isn't here yet: whether what is written under it asks for
/// nothing. `None`: no such key is known at all.
pub(crate) fn is_harmless(path: &str, node: &Node) -> Option<bool> {
    let (_, harmless) = KEYS.iter().find(|(key, _)| *key == path)?;
    Some(match (&node.value, harmless) {
        (Value::Null, _) => true,
        (Value::Scalar { text, .. }, Harmless::Empty) => text.is_empty(),
        (Value::Scalar { text, .. }, Harmless::Word(word)) => text == word,
        (Value::List(items), _) => items.is_empty(),
        (Value::Map(entries), _) => entries.is_empty(),
    })
}

/// Whether it is a section, known by its keys only.
pub(crate) fn is_section(path: &str) -> bool {
    names(path).next().is_some()
}

/// The names of the keys under a section.
pub(crate) fn names(section: &str) -> impl Iterator<Item = &str> {
    KEYS.iter().filter_map(move |(key, _)| {
        let (before, name) = key.rsplit_once('.').unwrap_or(("", key));
        (before == section).then_some(name)
    })
}

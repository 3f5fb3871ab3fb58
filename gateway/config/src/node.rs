//! A configuration as it is written, before anything is known of its keys:
//! a tree in which every value knows where it stands.

use crate::error::Origin;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

/// What was written. Scalars keep their text: a secret `0123` stays that.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// A scalar; `plain` without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

// === impl Node ===

impl Node {
    pub(crate) fn map(origin: Origin) -> Self {
        Self { origin, value: Value::Map(Vec::new()) }
    }

    /// A scalar without quotes.
    pub(crate) fn plain(text: &str, origin: Origin) -> Self {
        let value = match text {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            _ => Value::Scalar { text: text.to_owned(), plain: true },
        };
        Self { origin, value }
    }

    /// A scalar as if in quotes: text and nothing else.
    pub(crate) fn text(text: &str, origin: Origin) -> Self {
        Self { origin, value: Value::Scalar { text: text.to_owned(), plain: false } }
    }

    /// How many values it is made of, and how deep.
    pub(crate) fn extent(&self) -> (usize, usize) {
        let fold = |(count, depth): (usize, usize), node: &Self| {
            let (more, below) = node.extent();
            (count + more, depth.max(below + 1))
        };
        match &self.value {
            Value::Null | Value::Scalar { .. } => (1, 1),
            Value::List(items) => items.iter().fold((1, 1), fold),
            Value::Map(entries) => entries.iter().map(|(_, node)| node).fold((1, 1), fold),
        }
    }

    /// Puts a value under a path of keys, over what is there.
    pub(crate) fn set(&mut self, path: &[&str], node: Self) {
        let [key, rest @ ..] = path else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Map(_)) {
            *self = Self::map(node.origin.clone());
        }
        let Value::Map(entries) = &mut self.value else { return };
        let index = entries.iter().position(|(have, _)| have.text == *key).unwrap_or_else(|| {
            let origin = node.origin.clone();
            let key = Key { text: (*key).to_owned(), origin: origin.clone() };
            entries.push((key, Self { origin, value: Value::Null }));
            entries.len() - 1
        });
        entries[index].1.set(rest, node);
    }

    /// Where a path stands, or the part of it that is written; none when not
    /// even its first key is.
    pub(crate) fn locate(&self, path: &str) -> Option<Origin> {
        let mut node = self;
        let mut found = None;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let below = match &node.value {
                Value::Map(entries) => entries.iter().find(|(key, _)| key.text == step).map(
                    // A section begins at its name, a scalar where it stands.
                    |(key, node)| match node.value {
                        Value::Scalar { .. } => (node, &node.origin),
                        _ => (node, &key.origin),
                    },
                ),
                Value::List(items) => step
                    .trim_end_matches(']')
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|node| (node, &node.origin)),
                Value::Null | Value::Scalar { .. } => None,
            };
            let Some((below, origin)) = below else { break };
            node = below;
            found = Some(origin.clone());
        }
        found
    }
}

/// From what is no file: no place in it is known.
pub(crate) fn from_json(json: &serde_json::Value, origin: &Origin) -> Node {
    let value = match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Scalar { text: flag.to_string(), plain: true },
        serde_json::Value::Number(number) => {
            Value::Scalar { text: number.to_string(), plain: true }
        }
        serde_json::Value::String(text) => Value::Scalar { text: text.clone(), plain: false },
        serde_json::Value::Array(items) => {
            Value::List(items.iter().map(|item| from_json(item, origin)).collect())
        }
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| {
                    let key = Key { text: key.clone(), origin: origin.clone() };
                    (key, from_json(value, origin))
                })
                .collect(),
        ),
    };
    Node { origin: origin.clone(), value }
}

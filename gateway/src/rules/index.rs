//! Finds the first rule that matches without trying them all: a publication
//! is looked up several times on its way, and there may be 256 rules.

use std::collections::HashMap;

use gateway_config::Pattern;

/// Patterns by their tokens.
#[derive(Debug, Default)]
pub struct Index {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// By the next token as it stands.
    literal: HashMap<Box<str>, Node>,
    /// After a `*`.
    one: Option<Box<Node>>,
    /// The first pattern that ends here with `>`.
    rest: Option<usize>,
    /// The first pattern that ends here.
    end: Option<usize>,
}

// === impl Index ===

impl Index {
    /// Patterns in the order in which they are tried.
    pub fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut root = Node::default();
        for (index, pattern) in patterns.enumerate() {
            let subject = pattern.to_subject();
            let mut node = &mut root;
            let mut rest = false;
            // Wildcards in a literal are escaped in its subject.
            for token in subject.split('.') {
                match token {
                    ">" => rest = true,
                    "*" => node = node.one.get_or_insert_default(),
                    literal => node = node.literal.entry(literal.into()).or_default(),
                }
            }
            let place = if rest { &mut node.rest } else { &mut node.end };
            place.get_or_insert(index);
        }
        Self { root }
    }

    /// Which pattern is the first that matches a channel, given as its
    /// subject.
    pub fn first(&self, subject: &str) -> Option<usize> {
        if !subject.starts_with('$') {
            return self.root.first(Some(subject));
        }
        // A wildcard at the begin takes no name of the system.
        let (token, rest) = split(subject);
        self.root.literal.get(token)?.first(rest)
    }
}

// === impl Node ===

impl Node {
    fn first(&self, subject: Option<&str>) -> Option<usize> {
        let Some(subject) = subject else { return self.end };
        let (token, rest) = split(subject);
        let literal = self.literal.get(token).and_then(|node| node.first(rest));
        let one = self.one.as_ref().and_then(|node| node.first(rest));
        [literal, one, self.rest].into_iter().flatten().min()
    }
}

/// The first token, and what follows it.
fn split(subject: &str) -> (&str, Option<&str>) {
    match subject.split_once('.') {
        Some((token, rest)) => (token, Some(rest)),
        None => (subject, None),
    }
}

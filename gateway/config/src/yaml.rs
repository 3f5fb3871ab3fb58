//! YAML text to a tree with places.
//!
//! The parser's events are read directly instead of through serde: that keeps
//! every scalar's own text (a secret `0123` is not the number 123), every
//! place, and lets all that is wrong be said at once.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use crate::error::{Origin, Problem};
use crate::node::{Key, Node, Value};

/// Largest configuration, in bytes. A `ConfigMap` holds no more either.
const MAX_BYTES: usize = 1 << 20;
/// Values that a document may unfold to through its aliases.
const MAX_VALUES: usize = 50_000;
/// How deep it may nest. The configuration itself needs five.
const MAX_DEPTH: usize = 32;

/// Reads one document. `None`: it holds nothing but comments.
pub(crate) fn parse(text: &str, source: &str) -> Result<Option<Node>, Problem> {
    let source: Arc<str> = source.into();
    if text.len() > MAX_BYTES {
        return Err(Problem::new(
            "",
            format!("has {} bytes; at most {MAX_BYTES} are read", text.len()),
        )
        .at(&Origin { source, place: None }));
    }
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { source, ..Builder::default() };
    for step in Parser::new_from_str_with_options(text, options) {
        match step {
            Ok((event, span)) => builder.event(event, span.start)?,
            // The parser's words never quote the document.
            Err(error) => {
                let message = format!(
                    "is not YAML: {}; look at the indentation, quotes and brackets here and above",
                    error.info()
                );
                return Err(builder.problem(*error.marker(), message));
            }
        }
    }
    Ok(builder.root)
}

/// A tree that grows with the parser's events.
#[derive(Default)]
struct Builder {
    source: Arc<str>,
    root: Option<Node>,
    documents: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    values: usize,
}

/// A list or map that isn't closed yet.
struct Open {
    origin: Origin,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// The entries, and a key whose value comes next.
    Map(Vec<(Key, Node)>, Option<Key>),
}

// === impl Builder ===

impl Builder {
    fn event(&mut self, event: Event<'_>, at: Marker) -> Result<(), Problem> {
        let origin = self.origin(at);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.problem(
                        at,
                        "a second document begins here; the configuration is one YAML document",
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at)?;
                let quoted = style != ScalarStyle::Plain
                    || tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let node =
                    if quoted { Node::text(&text, origin) } else { Node::plain(&text, origin) };
                self.put(node, anchor, at)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), at)?;
                self.open(Content::List(Vec::new()), anchor, origin, at)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), at)?;
                self.open(Content::Map(Vec::new(), None), anchor, origin, at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.content {
                    Content::List(items) => Value::List(items),
                    Content::Map(entries, _) => Value::Map(merge(entries)?),
                };
                self.put(Node { origin: open.origin, value }, open.anchor, at)?;
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.problem(
                        at,
                        "an alias stands inside the value that it names; write the value out",
                    ));
                };
                self.values += node.extent().0;
                self.put(node, 0, at)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        content: Content,
        anchor: usize,
        origin: Origin,
        at: Marker,
    ) -> Result<(), Problem> {
        if let Some(Open { content: Content::Map(_, None), .. }) = self.open.last() {
            return Err(self.problem(
                at,
                "a list or map stands where a key belongs; write `key: value`, and put quotes around text that begins with `{` or `[`",
            ));
        }
        self.open.push(Open { origin, anchor, content });
        Ok(())
    }

    /// A finished value goes where it belongs.
    fn put(&mut self, node: Node, anchor: usize, at: Marker) -> Result<(), Problem> {
        self.values += 1;
        if self.values > MAX_VALUES || self.open.len() + node.extent().1 > MAX_DEPTH {
            return Err(self.problem(
                at,
                format!(
                    "unfolds to more than {MAX_VALUES} values or nests deeper than {MAX_DEPTH}; use fewer aliases (`*name`)"
                ),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node).filter(|node| !matches!(node.value, Value::Null)),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries, key)) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                } else {
                    *key = Some(as_key(node, entries)?);
                }
            }
        }
        Ok(())
    }

    fn check_tag(&self, tag: Option<&granit_parser::Tag>, at: Marker) -> Result<(), Problem> {
        match tag {
            Some(tag) if tag.is_custom() => {
                Err(self.problem(at, "a tag (`!name`) has no meaning here; remove it"))
            }
            _ => Ok(()),
        }
    }

    fn origin(&self, at: Marker) -> Origin {
        Origin { source: self.source.clone(), place: Some((at.line(), at.col() + 1)) }
    }

    fn problem(&self, at: Marker, message: impl Into<String>) -> Problem {
        Problem::new("", message).at(&self.origin(at))
    }
}

/// A node that stands where a key belongs.
fn as_key(node: Node, entries: &[(Key, Node)]) -> Result<Key, Problem> {
    let text = match node.value {
        Value::Scalar { text, .. } => text,
        Value::Null => String::new(),
        Value::List(_) | Value::Map(_) => {
            let message = "a list or map cannot be a key; write `key: value`";
            return Err(Problem::new("", message).at(&node.origin));
        }
    };
    if let Some((first, _)) = entries.iter().find(|(have, _)| have.text == text && text != "<<") {
        let line = first.origin.place.map_or(0, |(line, _)| line);
        let message = format!(
            "the key `{}` stands here a second time, first in line {line}; remove one",
            shown_key(&text)
        );
        return Err(Problem::new("", message).at(&node.origin));
    }
    Ok(Key { text, origin: node.origin })
}

/// `<<: *other` brings the other's entries that aren't here already.
fn merge(entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, Problem> {
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, _)| key.text == "<<");
    for (key, node) in merges {
        let sources = match node.value {
            Value::List(items) => items,
            value => vec![Node { origin: node.origin, value }],
        };
        for source in sources {
            let Value::Map(entries) = source.value else {
                return Err(Problem::new("", "`<<` takes a map, as in `<<: *name`").at(&key.origin));
            };
            for (key, node) in entries {
                if !own.iter().any(|(have, _)| have.text == key.text) {
                    own.push((key, node));
                }
            }
        }
    }
    Ok(own)
}

/// A key as an error may show it. Without the space in `secret: value` the
/// value is part of the key.
pub(crate) fn shown_key(key: &str) -> String {
    let name = key.split_once(':').map_or(key, |(name, _)| name);
    let mut shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    if name.len() < key.len() || name.chars().count() > 40 {
        shown.push('…');
    }
    shown
}

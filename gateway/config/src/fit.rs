//! Fits what is written to the schema: unknown keys, wrong kinds of values
//! and numbers out of range, all of them at once.

use serde_json::Value as Json;

use crate::error::Problem;
use crate::later;
use crate::nearest::{nearest, same};
use crate::node::{Key, Node, Value};
use crate::schema::{Field, Kind, Shape};
use crate::yaml::shown_key;
use crate::{Pattern, Period};

/// What fits, as JSON, and what doesn't.
pub(crate) fn fit(node: &Node, root: &Shape) -> (Json, Vec<Problem>) {
    let mut fitting = Fitting { root, problems: Vec::new() };
    let json = fitting.value(node, root, "").unwrap_or_default();
    (json, fitting.problems)
}

struct Fitting<'a> {
    root: &'a Shape,
    problems: Vec<Problem>,
}

// === impl Fitting ===

impl Fitting<'_> {
    /// `None`: it doesn't fit, and a problem says so; or it isn't set.
    fn value(&mut self, node: &Node, shape: &Shape, path: &str) -> Option<Json> {
        match (&shape.kind, &node.value) {
            (_, Value::Null) if shape.nullable => Some(Json::Null),
            // All keys of a section in comments leave nothing.
            (Kind::Section(fields), Value::Null) => self.section(node, &[], fields, path),
            (Kind::Section(fields), Value::Map(entries)) => {
                self.section(node, entries, fields, path)
            }
            (Kind::List(item), Value::List(items)) => {
                let fitting: Vec<_> = items
                    .iter()
                    .enumerate()
                    .filter_map(|(index, node)| self.value(node, item, &format!("{path}[{index}]")))
                    .collect();
                Some(Json::Array(fitting))
            }
            (Kind::Either(shapes), _) => self.either(node, shapes, shape, path),
            (_, Value::Null) => {
                self.refuse(node, path, format!("has no value; it {}", take(shape)));
                None
            }
            (_, Value::Scalar { text, plain }) => match scalar(text, *plain, &shape.kind) {
                Ok(json) => Some(json),
                Err(told) => {
                    let message = match (told, &shape.kind) {
                        // A section written as text may well hold a secret:
                        // `secret:abc` for want of a space.
                        (_, Kind::Section(_) | Kind::List(_)) if text.contains(':') => {
                            format!("{}, not text; write a space after each colon", take(shape))
                        }
                        (_, Kind::Section(_) | Kind::List(_)) => {
                            format!("{}, not text", take(shape))
                        }
                        _ if shape.secret => take(shape),
                        (Some(told), _) => told,
                        (None, _) => format!("{}, not {}", take(shape), shown(text, *plain)),
                    };
                    self.refuse(node, path, message);
                    None
                }
            },
            (_, Value::List(_)) => {
                self.refuse(node, path, format!("{}, not a list", take(shape)));
                None
            }
            (_, Value::Map(_)) => {
                self.refuse(node, path, format!("{}, not a section", take(shape)));
                None
            }
        }
    }

    fn section(
        &mut self,
        node: &Node,
        entries: &[(Key, Node)],
        fields: &[Field],
        path: &str,
    ) -> Option<Json> {
        let before = self.problems.len();
        let mut fitting = serde_json::Map::new();
        for (key, node) in entries {
            let path = join(path, &shown_key(&key.text));
            match fields.iter().find(|field| field.name == key.text) {
                Some(field) => {
                    if let Some(json) = self.value(node, &field.shape, &path) {
                        fitting.insert(key.text.clone(), json);
                    }
                }
                None => self.unknown(key, node, fields, &path),
            }
        }
        for field in fields.iter().filter(|field| field.required) {
            if !entries.iter().any(|(key, _)| key.text == field.name) {
                let path = join(path, &field.name);
                self.refuse(node, &path, format!("is missing; it {}", take(&field.shape)));
            }
        }
        (self.problems.len() == before).then_some(Json::Object(fitting))
    }

    /// The alternative of the value's own form.
    fn either(&mut self, node: &Node, shapes: &[Shape], shape: &Shape, path: &str) -> Option<Json> {
        for one in shapes {
            match (&node.value, &one.kind) {
                (Value::Map(_), Kind::Section(_)) => return self.value(node, one, path),
                (Value::Scalar { text, plain }, kind) => {
                    if let Ok(json) = scalar(text, *plain, kind) {
                        return Some(json);
                    }
                }
                _ => {}
            }
        }
        let words: Vec<_> = shapes
            .iter()
            .filter(|one| !matches!(one.kind, Kind::Switch))
            .map(|one| match &one.kind {
                Kind::Section(fields) => fields
                    .iter()
                    .map(|field| format!("`{{{}: …}}`", field.name))
                    .collect::<Vec<_>>()
                    .join(" or "),
                Kind::Choice(words) => listed(words.iter().map(String::as_str), "or"),
                _ => one.name(),
            })
            .collect();
        let not = match &node.value {
            Value::Scalar { text, plain } if !shape.secret => {
                format!(", not {}", shown(text, *plain))
            }
            _ => String::new(),
        };
        self.refuse(node, path, format!("takes {}{not}", words.join(" or ")));
        None
    }

    fn unknown(&mut self, key: &Key, node: &Node, fields: &[Field], path: &str) {
        let generic = generic(path);
        if later::is_section(&generic)
            && let Value::Map(entries) = &node.value
        {
            for (key, node) in entries {
                self.unknown(key, node, &[], &join(path, &shown_key(&key.text)));
            }
            return;
        }
        if let Some(harmless) = later::is_harmless(&generic, node) {
            if !harmless {
                let message = "is not available in this version; remove it";
                self.problems.push(Problem::new(path, message).at(&key.origin));
            }
            return;
        }
        let section = generic.rsplit_once('.').map_or("", |(section, _)| section);
        let name = key.text.split(':').next().unwrap_or_default();
        let here = || fields.iter().map(|field| field.name.as_str()).chain(later::names(section));
        let message = if name.len() < key.text.len() && here().any(|have| have == name) {
            format!("unknown key; write a space after the colon: `{name}: value`")
        } else if let Some(meant) = nearest(name, here()) {
            format!("unknown key; did you mean `{meant}`?")
        } else if let others @ [_, ..] = elsewhere(self.root, "", name).as_slice() {
            format!("unknown key here; did you mean `{}`?", others.join("` or `"))
        } else if fields.is_empty() {
            "is not available in this version; remove it".to_owned()
        } else {
            format!(
                "unknown key; the keys here are {}",
                listed(fields.iter().map(|field| field.name.as_str()), "and")
            )
        };
        self.problems.push(Problem::new(path, message).at(&key.origin));
    }

    fn refuse(&mut self, node: &Node, path: &str, message: String) {
        self.problems.push(Problem::new(path, message).at(&node.origin));
    }
}

/// A scalar of a kind; the error is words where they say more than
/// [`take`] does.
fn scalar(text: &str, plain: bool, kind: &Kind) -> Result<Json, Option<String>> {
    match kind {
        Kind::Text => Ok(text.into()),
        Kind::Period => match text.parse::<Period>() {
            Ok(period) => Ok(period.to_string().into()),
            Err(error) => Err(Some(error.to_string())),
        },
        Kind::Pattern => match Pattern::new(text) {
            Ok(_) => Ok(text.into()),
            Err(error) => Err(Some(error.to_string())),
        },
        Kind::Whole(low, high) => match text.parse::<u64>() {
            Ok(number) if plain && (*low..=*high).contains(&number) => Ok(number.into()),
            Ok(_) if !plain => Err(Some("takes a number; remove the quotes".to_owned())),
            _ => Err(None),
        },
        Kind::Switch => match text {
            "true" | "True" | "TRUE" if plain => Ok(true.into()),
            "false" | "False" | "FALSE" if plain => Ok(false.into()),
            "true" | "false" => Err(Some("takes true or false; remove the quotes".to_owned())),
            _ => Err(None),
        },
        Kind::Choice(words) if words.iter().any(|word| word == text) => Ok(text.into()),
        Kind::Choice(_) | Kind::Section(_) | Kind::List(_) | Kind::Either(_) => Err(None),
    }
}

/// What a key takes, in words.
fn take(shape: &Shape) -> String {
    match &shape.kind {
        Kind::Section(fields) => format!(
            "takes a section with {}",
            listed(fields.iter().map(|field| field.name.as_str()), "and")
        ),
        Kind::List(item) => match &item.kind {
            Kind::Section(fields) => {
                let name = fields
                    .iter()
                    .find(|field| field.required)
                    .map_or("key", |field| field.name.as_str());
                format!("takes a list: `- {name}: …`")
            }
            _ => "takes a list: `[…]`".to_owned(),
        },
        Kind::Text => "takes text".to_owned(),
        Kind::Period => "takes a number and a unit, as in 300ms, 25s, 2m, 1h or 1d".to_owned(),
        Kind::Pattern => "takes a channel pattern, as in `orders.>`".to_owned(),
        Kind::Whole(low, u64::MAX) => format!("takes a whole number from {low} on"),
        Kind::Whole(low, high) => format!("takes a whole number from {low} to {high}"),
        Kind::Switch => "takes true or false".to_owned(),
        Kind::Choice(words) => format!("takes {}", listed(words.iter().map(String::as_str), "or")),
        Kind::Either(_) => format!("takes {}", shape.name()),
    }
}

/// A value as an error shows it.
fn shown(text: &str, plain: bool) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    if plain { format!("`{short}`") } else { format!("the text \"{short}\"") }
}

/// `` `a`, `b` or `c` ``
fn listed<'a>(words: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let mut words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.pop() {
        Some(end) if !words.is_empty() => format!("{} {last} {end}", words.join(", ")),
        end => end.unwrap_or_default(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `channels[3].match` as `channels[].match`.
fn generic(path: &str) -> String {
    let mut generic = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        inside = (inside || c == '[') && c != ']';
        if !inside || c == '[' {
            generic.push(c);
        }
    }
    generic
}

/// The keys of this name in other sections.
fn elsewhere(shape: &Shape, path: &str, name: &str) -> Vec<String> {
    let Kind::Section(fields) = &shape.kind else { return Vec::new() };
    let own =
        fields.iter().filter(|field| same(&field.name, name)).map(|field| join(path, &field.name));
    let below =
        fields.iter().flat_map(|field| elsewhere(&field.shape, &join(path, &field.name), name));
    own.chain(below).collect()
}

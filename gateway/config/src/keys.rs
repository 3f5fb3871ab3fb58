//! Every key that can be set from outside the file, with its names as an
//! environment variable and as a flag. Made from the schema.

use crate::later;
use crate::schema::{Kind, Shape};

/// A key that an environment variable or a flag can set.
#[derive(Clone, Debug)]
pub struct Key {
    /// `socketio.pingInterval`
    pub path: String,
    /// `PUSH_SOCKETIO_PING_INTERVAL`
    pub variable: String,
    /// `socketio-ping-interval`; on a command line with `--` before it
    pub flag: String,
    /// What it means.
    pub about: String,
    /// What kind of value it takes, in words.
    pub takes: String,
    /// Its default, as it is written; empty for none.
    pub default: String,
    /// Whether it is true or false, so that the flag alone says true.
    pub switch: bool,
    pub(crate) shape: Shape,
    /// Known, and not there yet.
    pub(crate) later: bool,
}

/// Every key that exists, in the schema's order.
pub fn keys() -> Vec<Key> {
    all().into_iter().filter(|key| !key.later).collect()
}

/// The same, and those that don't exist yet.
pub(crate) fn all() -> Vec<Key> {
    let root = Shape::root();
    let mut keys = Vec::new();
    collect(&root, "", &mut keys);
    for (path, _) in later::KEYS.iter().filter(|(path, _)| !path.contains('[')) {
        let shape = Shape {
            kind: Kind::Text,
            nullable: true,
            about: String::new(),
            default: None,
            secret: true,
        };
        keys.push(Key { later: true, ..Key::new(path, &shape) });
    }
    keys
}

fn collect(shape: &Shape, path: &str, keys: &mut Vec<Key>) {
    match &shape.kind {
        Kind::Section(fields) => {
            // A section that may be absent can be set as a whole.
            if shape.nullable {
                keys.push(Key::new(path, shape));
            }
            for field in fields {
                let path = match path {
                    "" => field.name.clone(),
                    _ => format!("{path}.{}", field.name),
                };
                collect(&field.shape, &path, keys);
            }
        }
        Kind::Either(shapes) => {
            keys.push(Key::new(path, shape));
            for one in shapes.iter().filter(|one| matches!(one.kind, Kind::Section(_))) {
                collect(one, path, keys);
            }
        }
        _ => keys.push(Key::new(path, shape)),
    }
}

// === impl Key ===

impl Key {
    fn new(path: &str, shape: &Shape) -> Self {
        let words = words(path);
        Self {
            path: path.to_owned(),
            variable: format!("PUSH_{}", words.join("_").to_uppercase()),
            flag: words.join("-"),
            about: shape.about.clone(),
            takes: shape.name(),
            default: shape.default.as_ref().map(written).unwrap_or_default(),
            switch: matches!(shape.kind, Kind::Switch),
            shape: shape.clone(),
            later: false,
        }
    }
}

/// `socketio.pingInterval` as `socketio`, `ping`, `interval`.
fn words(path: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in path.chars() {
        if c == '.' || c.is_ascii_uppercase() {
            words.push(String::new());
        }
        if c != '.'
            && let Some(word) = words.last_mut()
        {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A default as one writes it in YAML.
pub(crate) fn written(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| match item {
                    serde_json::Value::String(text) => format!("\"{text}\""),
                    other => written(other),
                })
                .collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, value)| format!("{key}: {}", written(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

//! The schema: as JSON Schema for people and their editors, and as [`Shape`]s
//! for reading, overlays and the reference. Both come from the types.

use serde_json::Value as Json;

use crate::{ApiKey, Config};

/// JSON Schema (draft 2020-12) of the configuration, defaults included.
pub fn schema() -> Json {
    schemars::schema_for!(Config).to_value()
}

/// What may stand under a key.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// `null` says: not set.
    pub(crate) nullable: bool,
    /// What it means, in one line.
    pub(crate) about: String,
    pub(crate) default: Option<Json>,
    /// Its value must not be shown.
    pub(crate) secret: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Section(Vec<Field>),
    List(Box<Shape>),
    Text,
    Period,
    Pattern,
    /// A whole number between two, both included.
    Whole(u64, u64),
    Switch,
    /// One of some words.
    Choice(Vec<String>),
    Either(Vec<Shape>),
}

/// A key of a section.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) shape: Shape,
}

// === impl Shape ===

impl Shape {
    /// The whole configuration's.
    pub(crate) fn root() -> Self {
        let schema = schema();
        Self::read(&schema, &schema)
    }

    /// That of a list of API keys.
    pub(crate) fn api_keys() -> Self {
        let schema = schemars::schema_for!(Vec<ApiKey>).to_value();
        Self::read(&schema, &schema)
    }

    fn read(json: &Json, root: &Json) -> Self {
        let target = json["$ref"]
            .as_str()
            .and_then(|name| root.pointer(name.trim_start_matches('#')))
            .unwrap_or(json);
        let (alternatives, nullable) = alternatives(target);
        let kind = match json["$ref"].as_str() {
            Some("#/$defs/Period") => Kind::Period,
            Some("#/$defs/Pattern") => Kind::Pattern,
            _ => match alternatives.as_slice() {
                [] => Kind::read(target, root),
                [one] => Self::read(one, root).kind,
                many => Kind::Either(many.iter().map(|one| Self::read(one, root)).collect()),
            },
        };
        Self {
            kind,
            nullable,
            about: json["description"].as_str().unwrap_or_default().replace('\n', " "),
            default: json.get("default").cloned(),
            secret: json["writeOnly"] == true,
        }
    }

    /// Whether one line of text without structure can say it.
    pub(crate) fn is_scalar(&self) -> bool {
        match &self.kind {
            Kind::Section(_) | Kind::List(_) => false,
            Kind::Either(shapes) => shapes.iter().all(Self::is_scalar),
            _ => true,
        }
    }

    /// What kind of value it takes, for people.
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            Kind::Section(_) => "section".to_owned(),
            Kind::List(item) => match &item.kind {
                Kind::Choice(_) => format!("list of {}", item.name()),
                _ => format!("list of {}s", item.name()),
            },
            Kind::Text => "text".to_owned(),
            Kind::Period => "time".to_owned(),
            Kind::Pattern => "pattern".to_owned(),
            Kind::Whole(0, u64::MAX) => "number".to_owned(),
            Kind::Whole(low, u64::MAX) => format!("number from {low}"),
            Kind::Whole(low, high) => format!("number {low}–{high}"),
            Kind::Switch => "true or false".to_owned(),
            Kind::Choice(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Kind::Either(shapes) => shapes.iter().map(Self::name).collect::<Vec<_>>().join(", or "),
        }
    }
}

impl Kind {
    fn read(json: &Json, root: &Json) -> Self {
        let word = |json: &Json| json.as_str().map(str::to_owned);
        if let Some(words) = json["enum"].as_array() {
            return Self::Choice(words.iter().filter_map(word).collect());
        }
        if let Some(words) = json["oneOf"].as_array() {
            return Self::Choice(words.iter().filter_map(|one| word(&one["const"])).collect());
        }
        let is = |name: &str| {
            json["type"] == name
                || json["type"].as_array().is_some_and(|types| types.iter().any(|t| t == name))
        };
        if is("object") {
            let required = |name: &str| {
                json["required"].as_array().is_some_and(|keys| keys.iter().any(|key| key == name))
            };
            let fields =
                json["properties"].as_object().into_iter().flatten().map(|(name, property)| {
                    Field {
                        name: name.clone(),
                        required: required(name),
                        shape: Shape::read(property, root),
                    }
                });
            Self::Section(fields.collect())
        } else if is("array") {
            Self::List(Box::new(Shape::read(&json["items"], root)))
        } else if is("integer") {
            Self::Whole(
                json["minimum"].as_u64().unwrap_or(0),
                json["maximum"].as_u64().unwrap_or(u64::MAX),
            )
        } else if is("boolean") {
            Self::Switch
        } else {
            Self::Text
        }
    }
}

/// The schemas of an `anyOf` but `null`, and whether `null` is allowed.
fn alternatives(json: &Json) -> (Vec<&Json>, bool) {
    let null = |json: &Json| {
        json["type"] == "null"
            || json["type"].as_array().is_some_and(|types| types.iter().any(|t| t == "null"))
    };
    match json["anyOf"].as_array() {
        Some(all) => (all.iter().filter(|one| !null(one)).collect(), all.iter().any(null)),
        None => (Vec::new(), null(json)),
    }
}

//! The reference of all keys, as Markdown.

use std::fmt::Write as _;

use crate::keys::written;
use crate::schema::{Field, Kind, Shape};

/// One table for each section: key, what it takes, default, meaning.
pub fn reference() -> String {
    let root = Shape::root();
    let Kind::Section(fields) = &root.kind else { return String::new() };
    let mut text = String::new();
    let (sections, single): (Vec<_>, Vec<_>) = fields
        .iter()
        .partition(|field| matches!(&field.shape.kind, Kind::Section(_) | Kind::List(_)));
    text.push_str("### At the top\n\n");
    let mut rows = Vec::new();
    for field in single {
        rows_of(field, "", &mut rows);
    }
    table(&rows, &mut text);
    for field in sections {
        // Writing into a String does not fail.
        let _ = write!(text, "\n### `{}`\n\n{}\n\n", field.name, field.shape.about);
        let mut rows = Vec::new();
        rows_of(field, "", &mut rows);
        table(&rows, &mut text);
    }
    text
}

/// A key with all that stands under it.
fn rows_of(field: &Field, path: &str, rows: &mut Vec<[String; 4]>) {
    let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
    let shape = &field.shape;
    let below = match &shape.kind {
        Kind::Section(fields) => Some((path.clone(), fields)),
        Kind::List(item) => match &item.kind {
            Kind::Section(fields) => Some((format!("{path}[]"), fields)),
            _ => None,
        },
        Kind::Either(shapes) => shapes.iter().find_map(|one| match &one.kind {
            Kind::Section(fields) => Some((path.clone(), fields)),
            _ => None,
        }),
        _ => None,
    };
    if !matches!(shape.kind, Kind::Section(_)) || shape.nullable {
        let default = match &shape.default {
            _ if field.required => "required".to_owned(),
            Some(json) if !json.is_null() => format!("`{}`", written(json)),
            _ => String::new(),
        };
        rows.push([format!("`{path}`"), shape.name(), default, shape.about.clone()]);
    }
    for (path, field) in below
        .into_iter()
        .flat_map(|(path, fields)| fields.iter().map(move |field| (path.clone(), field)))
    {
        rows_of(field, &path, rows);
    }
}

fn table(rows: &[[String; 4]], text: &mut String) {
    text.push_str("| Key | Takes | Default | Meaning |\n|---|---|---|---|\n");
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

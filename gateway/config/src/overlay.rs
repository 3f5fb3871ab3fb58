//! Environment variables and flags over the file.

use crate::error::{Origin, Problem};
use crate::keys::Key;
use crate::nearest::nearest;
use crate::node::{Node, Value};
use crate::schema::{Kind, Shape};
use crate::yaml;

/// What every variable of the configuration begins with.
const PREFIX: &str = "PUSH_";

/// Puts the variables that begin with `PUSH_` over a tree. Those that set
/// nothing are left out: see [`unknown`].
pub(crate) fn environment(
    root: &mut Node,
    variables: &[(String, String)],
    keys: &[Key],
    problems: &mut Vec<Problem>,
) {
    let found = variables.iter().filter_map(|(name, value)| {
        let key = keys.iter().find(|key| key.variable == *name)?;
        Some((key, name.as_str(), value.as_str()))
    });
    put(root, found.collect(), problems);
}

/// The variables that look like ours and set nothing. No reason to refuse a
/// configuration: they may be a newer version's, or Kubernetes' own.
pub(crate) fn unknown(variables: &[(String, String)], keys: &[Key]) -> Vec<Problem> {
    variables
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .filter(|(name, _)| !keys.iter().any(|key| key.variable == *name))
        .map(|(name, value)| unknown_variable(name, value, keys))
        .collect()
}

/// Puts flags, named without their `--`, over a tree.
pub(crate) fn flags(
    root: &mut Node,
    flags: &[(String, String)],
    keys: &[Key],
    problems: &mut Vec<Problem>,
) {
    let mut found = Vec::new();
    for (name, value) in flags {
        let source = format!("--{name}");
        if let Some(key) = keys.iter().find(|key| key.flag == *name) {
            found.push((key, source, value.as_str()));
            continue;
        }
        let meant = nearest(name, keys.iter().map(|key| key.flag.as_str()))
            .map_or_else(String::new, |meant| format!("; did you mean `--{meant}`?"));
        let origin = Origin::whole(&source);
        problems.push(Problem::new("", format!("unknown flag{meant}")).at(&origin));
    }
    put(
        root,
        found.iter().map(|(key, source, value)| (*key, source.as_str(), *value)).collect(),
        problems,
    );
}

/// Sections before their keys, so that `PUSH_AUTH_JWT_SECRET` goes into what
/// `PUSH_AUTH_JWT` says.
fn put(root: &mut Node, mut found: Vec<(&Key, &str, &str)>, problems: &mut Vec<Problem>) {
    found.sort_by_key(|(key, _, _)| key.path.len());
    for (key, source, value) in found {
        match node(value, &key.shape, source) {
            Ok(node) => {
                let path: Vec<_> = key.path.split('.').collect();
                root.set(&path, node);
            }
            Err(problem) => problems.push(Problem { path: key.path.clone(), ..problem }),
        }
    }
}

/// A value as it stands in a variable: text as it is, lists with commas or as
/// YAML, everything else as YAML.
fn node(text: &str, shape: &Shape, source: &str) -> Result<Node, Problem> {
    let origin = Origin::whole(source);
    let trimmed = text.trim();
    match &shape.kind {
        Kind::Text => Ok(Node::text(text, origin)),
        Kind::List(item)
            if item.is_scalar() && !trimmed.starts_with('[') && !trimmed.starts_with("- ") =>
        {
            let items = trimmed
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| Node::text(part, origin.clone()))
                .collect();
            Ok(Node { origin, value: Value::List(items) })
        }
        Kind::Section(_) | Kind::List(_) | Kind::Either(_) => {
            Ok(yaml::parse(text, source)?.unwrap_or_else(|| Node::plain("", origin)))
        }
        _ => Ok(Node::plain(trimmed, origin)),
    }
}

fn unknown_variable(name: &str, value: &str, keys: &[Key]) -> Problem {
    let message = if is_service_link(name, value) {
        "comes from Kubernetes' service links and sets nothing; `enableServiceLinks: false` in the pod's spec turns them off".to_owned()
    } else {
        let known = keys.iter().map(|key| key.variable.as_str());
        match nearest(name, known) {
            Some(meant) => format!("unknown variable, it sets nothing; did you mean `{meant}`?"),
            None => "unknown variable; it sets nothing in this version".to_owned(),
        }
    };
    Problem::new("", message).at(&Origin::whole(name))
}

/// Kubernetes gives every container `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT`
/// and more of each Service of its namespace; one named `push-…` looks like
/// our own.
fn is_service_link(name: &str, value: &str) -> bool {
    let protocol = ["tcp", "udp", "sctp"];
    let port_of = |name: &str| {
        let (_, rest) = name.rsplit_once("_PORT_")?;
        let (port, rest) = rest.split_once('_')?;
        let kind = rest.split('_').next()?;
        (port.parse::<u16>().is_ok() && protocol.contains(&kind.to_lowercase().as_str()))
            .then_some(())
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT")
            && protocol.iter().any(|kind| value.starts_with(&format!("{kind}://"))))
        || ["", "_PROTO", "_PORT", "_ADDR"]
            .iter()
            .filter_map(|end| name.strip_suffix(end))
            .any(|name| port_of(name).is_some())
}

//! What is wrong with a configuration, and where it is written.

use std::fmt;
use std::sync::Arc;

/// Where a value is written: a file, an environment variable or a flag, and
/// the place in it where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `push.yaml`, `PUSH_CLIENT_LISTEN`, `--client-listen`
    pub source: Arc<str>,
    /// Line and column, both counted from 1.
    pub place: Option<(usize, usize)>,
}

/// One thing that is wrong, with what to do about it. Never shows the value
/// of a key that may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written; none for a default.
    pub origin: Option<Origin>,
    /// The key, as in `channels[2].history.maxAge`; empty for the whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Everything that is wrong with a configuration; one problem a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

// === impl Origin ===

impl Origin {
    /// A whole source: an environment variable or a flag.
    pub(crate) fn whole(source: &str) -> Self {
        Self { source: source.into(), place: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        match self.place {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { origin: None, path: path.into(), message: message.into() }
    }

    #[must_use]
    pub(crate) fn at(mut self, origin: &Origin) -> Self {
        self.origin = Some(origin.clone());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = self.origin.as_ref().filter(|origin| !origin.source.is_empty()) {
            write!(f, "{origin}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

/// Says yes with the value, or no with everything that is wrong.
pub(crate) fn settle<T>(value: T, problems: Vec<Problem>) -> Result<T, ConfigError> {
    if problems.is_empty() { Ok(value) } else { Err(ConfigError { problems }) }
}

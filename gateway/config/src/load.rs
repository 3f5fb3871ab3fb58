//! One file, over it the environment, over it flags: one configuration.

use std::path::{Path, PathBuf};

use crate::check::check;
use crate::error::{ConfigError, Origin, Problem, settle};
use crate::fit::fit;
use crate::listen;
use crate::node::{Node, Value};
use crate::schema::Shape;
use crate::{Config, keys, overlay, yaml};

/// Where a configuration comes from. Kept, so that a changed file can be read
/// again under the same environment and flags.
#[derive(Clone, Default)]
pub struct Sources {
    /// The YAML file, if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables; those that don't begin with `PUSH_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags and their values, named without `--`: `client-listen`.
    pub flags: Vec<(String, String)>,
}

/// Reads and checks a configuration: one file, over it `PUSH_…` variables,
/// over them flags (named without `--`). Every problem is reported, those of
/// form before those of meaning.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Config, ConfigError> {
    let sources = Sources {
        file: file.map(Path::to_path_buf),
        environment: environment.collect(),
        flags: flags.to_vec(),
    };
    sources.load()
}

// === impl Sources ===

impl Sources {
    /// A file and flags, and the process's own environment.
    pub fn of_process(
        file: Option<PathBuf>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut environment = Vec::new();
        // `vars` would panic at somebody else's variable that is not UTF-8.
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with("PUSH_")) else {
                continue;
            };
            let value = value.into_string().map_err(|_| {
                Problem::new("", "is not UTF-8; write it as UTF-8").at(&Origin::whole(name))
            })?;
            environment.push((name.to_owned(), value));
        }
        Ok(Self { file, environment, flags })
    }

    /// Reads the file and puts everything together.
    pub fn load(&self) -> Result<Config, ConfigError> {
        match &self.file {
            None => self.load_bytes(b""),
            Some(file) => match std::fs::read(file) {
                Ok(bytes) => self.load_bytes(&bytes),
                Err(error) => {
                    let message = format!("cannot be read: {error}");
                    Err(Problem::new("", message).at(&Origin::whole(&self.name())).into())
                }
            },
        }
    }

    /// The same with the file's content at hand.
    pub fn load_bytes(&self, content: &[u8]) -> Result<Config, ConfigError> {
        let name = self.name();
        let text = std::str::from_utf8(content).map_err(|error| {
            let line = content[..error.valid_up_to()].split(|b| *b == b'\n').count();
            let message = format!("is not UTF-8 in line {line}; save it as UTF-8");
            Problem::new("", message).at(&Origin::whole(&name))
        })?;
        let mut root = yaml::parse(text, &name)?
            .unwrap_or_else(|| Node::map(Origin { source: name.as_str().into(), place: None }));
        if !matches!(root.value, Value::Map(_)) {
            let message = "is not a configuration; it begins with a section, as in `client:`";
            return Err(Problem::new("", message).at(&root.origin).into());
        }

        let shape = Shape::root();
        let keys = keys::all();
        let mut problems = Vec::new();
        overlay::environment(&mut root, &self.environment, &keys, &mut problems);
        overlay::flags(&mut root, &self.flags, &keys, &mut problems);
        let (json, misfits) = fit(&root, &shape);
        problems.extend(misfits);
        settle((), problems)?;

        let mut config: Config = serde_json::from_value(json).map_err(|_| {
            // Its words might quote a secret.
            Problem::new("", "does not fit its own schema; this is a fault of the gateway")
                .at(&root.origin)
        })?;
        let mut problems = check(&config);
        for problem in &mut problems {
            problem.origin = root.locate(&problem.path);
        }
        settle((), problems)?;
        for address in [
            &mut config.client.listen,
            &mut config.api.listen,
            &mut config.admin.listen,
            &mut config.peer.listen,
        ] {
            listen::complete(address);
        }
        Ok(config)
    }

    /// The file as errors name it.
    fn name(&self) -> String {
        self.file.as_ref().map_or_else(String::new, |file| file.display().to_string())
    }
}

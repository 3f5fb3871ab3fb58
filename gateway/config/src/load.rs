//! One file, over it the environment, over it flags: one configuration.

use std::path::{Path, PathBuf};

use crate::check::{check, check_api_keys};
use crate::error::{ConfigError, Origin, Problem, settle};
use crate::fit::fit;
use crate::listen;
use crate::node::{Node, Value};
use crate::schema::Shape;
use crate::{ApiKey, Config, keys, overlay, yaml};

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

/// Reads and checks a list of API keys, as `api.keysFile` names it. `source`
/// is what errors call it. An empty list is an error: it would open the API.
pub fn api_keys(content: &[u8], source: &str) -> Result<Vec<ApiKey>, ConfigError> {
    let origin = Origin::whole(source);
    let root = yaml::parse(utf8(content, source)?, source)?;
    let root = root.unwrap_or_else(|| Node { origin, value: Value::List(Vec::new()) });
    let (json, misfits) = fit(&root, &Shape::api_keys());
    settle((), misfits)?;
    let keys: Vec<ApiKey> = serde_json::from_value(json).map_err(|_| {
        // Its words might quote a key.
        Problem::new("", "does not fit its own schema; this is a fault of the gateway")
            .at(&root.origin)
    })?;
    let mut problems = check_api_keys(&keys);
    for problem in &mut problems {
        problem.origin = root.locate(&problem.path).or_else(|| Some(root.origin.clone()));
    }
    settle(keys, problems)
}

fn read(file: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(file).map_err(|error| {
        let message = format!("cannot be read: {error}");
        Problem::new("", message).at(&Origin::whole(&file.display().to_string())).into()
    })
}

fn utf8<'a>(content: &'a [u8], name: &str) -> Result<&'a str, Problem> {
    std::str::from_utf8(content).map_err(|error| {
        let line = content[..error.valid_up_to()].split(|b| *b == b'\n').count();
        let message = format!("is not UTF-8 in line {line}; save it as UTF-8");
        Problem::new("", message).at(&Origin::whole(name))
    })
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
            let known = || keys::all().iter().any(|key| key.variable == name);
            let value = match value.into_string() {
                Ok(value) => value,
                Err(_) if known() => {
                    let message = "is not UTF-8; write it as UTF-8";
                    return Err(Problem::new("", message).at(&Origin::whole(name)).into());
                }
                Err(_) => String::new(),
            };
            environment.push((name.to_owned(), value));
        }
        Ok(Self { file, environment, flags })
    }

    /// Reads the file and the API's keys, if they have a file of their own,
    /// and puts everything together.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.file {
            None => self.load_bytes(b"")?,
            Some(file) => self.load_bytes(&read(file)?)?,
        };
        if let Some(path) = config.api.keys_file() {
            config.api.keys = api_keys(&read(Path::new(path))?, path)?;
        }
        Ok(config)
    }

    /// Variables that begin with `PUSH_` and set nothing, each with what it
    /// may be about: worth a warning.
    pub fn unknown_variables(&self) -> Vec<Problem> {
        overlay::unknown(&self.environment, &keys::all())
    }

    /// The same with the file's content at hand. No other file is read: where
    /// `api.keysFile` is set, `api.keys` is empty.
    pub fn load_bytes(&self, content: &[u8]) -> Result<Config, ConfigError> {
        let name = self.name();
        let mut root = yaml::parse(utf8(content, &name)?, &name)?
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
        if let Some(address) = config.peer.advertise.as_mut().filter(|text| !text.is_empty())
            && let Ok(complete) = listen::advertised(address, &config.peer.listen)
        {
            *address = complete;
        }
        Ok(config)
    }

    /// The file as errors name it.
    fn name(&self) -> String {
        self.file.as_ref().map_or_else(String::new, |file| file.display().to_string())
    }
}

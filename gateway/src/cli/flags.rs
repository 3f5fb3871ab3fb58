//! A flag for every key of the configuration, made from the schema.

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};
use gateway_config::keys::{Key, keys};

/// What the headings of these flags begin with; tells them from others.
const HEADING: &str = "Configuration: ";

/// The flags that were given: name (without `--`) and value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConfigFlags(Vec<(String, String)>);

/// Whether an argument is a key of the configuration.
pub(super) fn is_one(argument: &Arg) -> bool {
    argument.get_help_heading().is_some_and(|heading| heading.starts_with(HEADING))
}

fn argument(key: &Key) -> Arg {
    let section = key.path.split('.').next().unwrap_or_default();
    let mut help = format!("{} [env: {}]", key.about, key.variable);
    if !key.default.is_empty() {
        help = format!("{help} [default: {}]", key.default);
    }
    let value = match key.takes.split(' ').next().unwrap_or_default() {
        "number" => "NUMBER",
        "time" => "TIME",
        "text" => "TEXT",
        "true" => "true|false",
        "list" => "LIST",
        _ => "VALUE",
    };
    let argument = Arg::new(key.flag.clone())
        .long(key.flag.clone())
        .value_name(value)
        .help(help)
        .help_heading(format!("{HEADING}{section}"))
        // It is YAML, and may begin with a dash.
        .allow_hyphen_values(!key.switch);
    if key.switch {
        // `--insecure` alone says true, `--insecure=false` the opposite.
        argument.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        argument
    }
}

// === impl ConfigFlags ===

impl ConfigFlags {
    /// Name (without `--`) and value of each.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Names only: a value may be a secret.
impl std::fmt::Debug for ConfigFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        keys().iter().fold(command, |command, key| command.arg(argument(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = keys().into_iter().filter_map(|key| {
            let value = matches.get_one::<String>(&key.flag)?;
            Some((key.flag, value.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

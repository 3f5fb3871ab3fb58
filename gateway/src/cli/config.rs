//! `config check`, `config schema`, `config reference`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use gateway_config::{Sources, reference, schema};

use super::output;

/// Commands about the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration file
    ///
    /// As `serve` would read it: with the environment's PUSH_… variables over
    /// it. Prints `FILE: ok`, or every problem and exits with 1.
    Check {
        /// The YAML file
        file: PathBuf,
    },
    /// Print the JSON Schema, for editors
    Schema,
    /// Print the reference of all keys, in Markdown
    Reference,
}

pub(super) fn run(command: &ConfigCommand) -> ExitCode {
    let text = match command {
        ConfigCommand::Check { file } => {
            let sources = Sources::of_process(Some(file.clone()), Vec::new());
            let checked = sources.and_then(|sources| {
                for unknown in sources.unknown_variables() {
                    output::note(&format!("warning: {unknown}"));
                }
                sources.load()
            });
            match checked {
                Ok(_) => format!("{}: ok", file.display()),
                Err(error) => {
                    output::note(&error.to_string());
                    return ExitCode::FAILURE;
                }
            }
        }
        // Plain data always serializes.
        ConfigCommand::Schema => serde_json::to_string_pretty(&schema()).unwrap_or_default(),
        ConfigCommand::Reference => reference().trim_end().to_owned(),
    };
    match output::line(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

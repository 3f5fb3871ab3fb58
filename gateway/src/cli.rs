//! The command line: `serve`, which is the default, and the commands for
//! people.
//!
//! # Layout
//!
//! - `flags`: a flag for every key of the configuration, made from the schema
//! - `config`: `config check`, `config schema`, `config reference`
//! - `publish`, `subscribe`: clients of a running gateway
//! - `doctor`: both at once, to see that all works
//! - `bench`: many of both, to see how much works
//! - `output`: stdout, which may be closed at any time

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use gateway_config::{Config, ConfigError, Sources};

mod bench;
mod config;
mod doctor;
mod flags;
mod output;
mod publish;
mod subscribe;

pub use bench::Bench;
pub use config::ConfigCommand;
pub use doctor::Doctor;
pub use flags::ConfigFlags;
pub use publish::Publish;
pub use subscribe::Subscribe;

#[cfg(test)]
mod tests;

/// What this process is to do, resolved: there is nothing left to ask.
#[derive(Debug)]
pub enum Invocation {
    /// Be a gateway.
    Serve(Box<Serve>),
    /// Be a person's command; see [`run_client`].
    Client(Command),
}

/// A gateway's configuration and where it came from.
pub struct Serve {
    /// Read and checked.
    pub config: Config,
    /// For [`crate::reload::Reload`]; the file is in it.
    pub sources: Sources,
}

/// A command for people.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check, describe and document the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Publish to a channel, or to all sessions of a user
    ///
    /// Prints the publication's offset, from which a subscriber can resume; a
    /// channel without history has none.
    ///
    /// Exit codes: 0 published, 1 refused, 2 used wrongly, 3 not reachable.
    Publish(Publish),
    /// Print what is published to channels, one publication a line
    ///
    /// Reconnects by itself and resumes each channel that has history from
    /// where it was. What could not be recovered is said on stderr. Ends with
    /// Ctrl-C.
    ///
    /// Exit codes: 0 interrupted, 1 refused, 2 used wrongly, 3 not reachable
    /// at the start.
    Subscribe(Subscribe),
    /// Subscribe, publish and receive once, to see that all works
    ///
    /// Prints each step and how long it took.
    ///
    /// Exit codes: 0 received, 1 refused, 2 used wrongly, 3 not reachable, or
    /// nothing came.
    Doctor(Doctor),
    /// Load a running gateway or cluster, and say how long deliveries take
    ///
    /// Connects clients, publishes at a steady pace, tells its progress every
    /// second, and prints percentiles and a histogram of the delays. It takes
    /// one core of this machine; more than one may run at once.
    ///
    /// Exit codes: 0 all connected and all delivered, 1 not all, or refused,
    /// 2 used wrongly, 3 not reachable.
    Bench(Bench),
}

/// Pushes publications to web and mobile apps over Socket.IO, WebSocket and
/// Server-Sent Events.
///
/// Without a command it serves: `push-gateway` alone is a working gateway on
/// this machine.
#[derive(Debug, Parser)]
#[command(name = "push-gateway", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Every setting: `push-gateway serve --help`. \
    First steps: run `push-gateway`, then `push-gateway subscribe news` and \
    `push-gateway publish news '{\"hello\":\"world\"}'`.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<AnyCommand>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
enum AnyCommand {
    /// Serve (the default command)
    ///
    /// Reads one YAML file, over it environment variables (`PUSH_CLIENT_LISTEN`),
    /// over them flags (`--client-listen`). SIGTERM drains and stops, SIGINT
    /// stops at once.
    Serve(ServeArguments),
    #[command(flatten)]
    Other(Command),
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// The configuration, a YAML file; without one, the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: ConfigFlags,
}

/// Reads the command line and, to serve, the configuration. Prints help or a
/// usage error and exits where that is all there is to do.
pub fn parse() -> Result<Invocation, ConfigError> {
    match try_parse(std::env::args_os()) {
        Ok(arguments) => resolve(arguments),
        Err(error) => error.exit(),
    }
}

/// Runs a command for people to its end. Its answer goes to stdout, what
/// went wrong to stderr. Exit codes: 0 done, 1 refused, 2 used wrongly,
/// 3 not reachable.
pub async fn run_client(command: Command) -> ExitCode {
    match command {
        Command::Config(command) => config::run(&command),
        Command::Publish(command) => publish::run(command).await,
        Command::Subscribe(command) => subscribe::run(command).await,
        Command::Doctor(command) => doctor::run(command).await,
        Command::Bench(command) => bench::run(command).await,
    }
}

/// How a command for people ends when it does not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    /// The gateway has said no; the same again will be refused again.
    #[error("{0}")]
    Refused(String),
    /// No gateway there, or it can't just now.
    #[error("{0}")]
    Unreachable(String),
}

// === impl Failure ===

impl Failure {
    /// Says it on stderr.
    fn report(&self) -> ExitCode {
        output::note(&format!("push-gateway: {self}"));
        match self {
            Self::Refused(_) => ExitCode::from(1),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }
}

fn try_parse<T>(arguments: impl IntoIterator<Item = T>) -> Result<Arguments, clap::Error>
where
    T: Into<std::ffi::OsString> + Clone,
{
    // At the top a flag for every key would bury the commands.
    let command = Arguments::command()
        .mut_args(|argument| if flags::is_one(&argument) { argument.hide(true) } else { argument });
    let mut described = command.clone();
    let arguments = Arguments::from_arg_matches(&command.try_get_matches_from(arguments)?)?;
    if let Some(AnyCommand::Other(Command::Publish(publish))) = &arguments.command
        && let Err(words) = publish.target()
    {
        return Err(described.error(clap::error::ErrorKind::WrongNumberOfValues, words));
    }
    Ok(arguments)
}

fn resolve(arguments: Arguments) -> Result<Invocation, ConfigError> {
    let serve = match arguments.command {
        None => arguments.serve,
        Some(AnyCommand::Serve(serve)) => serve,
        Some(AnyCommand::Other(command)) => return Ok(Invocation::Client(command)),
    };
    let sources = Sources::of_process(serve.config, serve.flags.into_pairs())?;
    let config = sources.load()?;
    Ok(Invocation::Serve(Box::new(Serve { config, sources })))
}

// === impl Serve ===

/// Without the sources: environment and flags may hold secrets.
impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("config", &self.config)
            .field("file", &self.sources.file)
            .finish_non_exhaustive()
    }
}

//! `kubectl push`: what `kubectl describe` can't show. Put it on the path, and
//! kubectl finds it by its name.

use std::process::ExitCode;

use clap::Parser as _;
use operator::kubectl::{Cli, Command, run};

fn main() -> ExitCode {
    match start(Cli::parse().command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command) -> anyhow::Result<String> {
    // Two libraries use it; it must be named once for the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(run(command))?)
}

//! `kubectl push`: what `kubectl describe` can't show. Put it on the path, and
//! kubectl finds it by its name.

use clap::Parser as _;
use operator::kubectl::{Cli, run};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    // Two libraries use it; it must be named once for the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    print!("{}", runtime.block_on(run(cli.command))?);
    Ok(())
}

//! `push-operator`: configure → run → stop.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use kube::{Client, Config};
use operator::args::{Cli, Command, RunArgs};
use operator::{crd, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let Cli { command, run } = Cli::parse();
    let result = match command {
        Some(Command::Crd) => {
            crd::schema::crd_yaml().map(|yaml| print!("{yaml}")).map_err(Into::into)
        }
        Some(Command::Run(run)) => start(*run),
        None => start(run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: RunArgs) -> anyhow::Result<()> {
    let log = telemetry::init(&args.log_level, args.log_format)?;
    // Two libraries use it; it must be named once for the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let config = Config::infer()
            .await
            .context("there is no way to the API server; run in a pod, or set KUBECONFIG")?;
        let run = args.resolve(&config.default_namespace);
        let client = Client::try_from(config)?;
        let (mut term, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stopping = stop.clone();
        let signals = tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {} _ = interrupt.recv() => {} }
            tracing::info!("stopping");
            stopping.cancel();
        });
        let result = operator::run::run(run, client, log, stop).await;
        signals.abort();
        result.map_err(anyhow::Error::from)
    })
}

//! `push-gateway`: configure → build → serve → drain.

use std::process::ExitCode;

use gateway::cli::{self, Invocation, Serve};
use gateway::reload::Reload;
use gateway::server::{Options, Running};
use gateway::telemetry;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match cli::parse() {
        Ok(Invocation::Serve(serve)) => serve_until_told(*serve),
        Ok(Invocation::Client(command)) => run_client(command),
        Err(error) => fail(&error),
    }
}

/// Says what is wrong, and that it is.
#[allow(clippy::print_stderr)] // The log may not be there yet.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("push-gateway: {error}");
    ExitCode::FAILURE
}

#[tokio::main(flavor = "current_thread")]
async fn run_client(command: cli::Command) -> ExitCode {
    cli::run_client(command).await
}

#[tokio::main(flavor = "current_thread")]
async fn serve_until_told(serve: Serve) -> ExitCode {
    let Serve { config, sources } = serve;
    if let Err(error) = telemetry::init(&config.log) {
        return fail(&error);
    }
    let running = match Running::start(Options::new(config.clone())) {
        Ok(running) => running,
        Err(error) => return fail(&error),
    };
    announce(&running);
    let (reload, configs) = Reload::new(sources, config, running.metrics.clone());
    let stopped = async {
        tokio::select! {
            told = told_to_stop(&running) => told,
            () = running.work(configs) => Ok(()),
            () = reload.run(std::future::pending()) => Ok(()),
        }
    };
    if let Err(error) = stopped.await {
        return fail(&error);
    }
    running.stop();
    ExitCode::SUCCESS
}

/// Says where it listens, on stdout, for people and scripts.
#[allow(clippy::print_stdout)] // This is what was asked for.
fn announce(running: &Running) {
    println!("client  http://{}", running.client);
    println!("api     http://{}", running.api);
    println!("admin   http://{}", running.admin);
    if let Some(peer) = running.peer {
        println!("peer    http://{peer}");
    }
}

/// SIGTERM drains first; SIGINT, or a second SIGTERM, stops at once.
async fn told_to_stop(running: &Running) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => {}
    }
    tokio::select! {
        () = running.drain_sessions() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

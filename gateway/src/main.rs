//! `push-gateway`: configure → build → serve → drain.

use std::process::ExitCode;

use gateway::cli::{self, Invocation, Serve};
use gateway::reload::Reload;
use gateway::server::{Options, Running, Starting};
use gateway::telemetry;
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Not the system's: `docs/decisions/allocator.md`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

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
    for unknown in sources.unknown_variables() {
        tracing::warn!("{unknown}");
    }
    // Before anybody is told that it is there. The first process of a
    // container has no signal's default action.
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let mut starting = match Starting::begin(Options::new(config.clone())) {
        Ok(starting) => starting,
        Err(error) => return fail(&error),
    };
    tracing::info!("health and status are at http://{}", starting.admin);
    let reached = tokio::select! {
        reached = starting.reached() => reached,
        () = signals.any() => {
            starting.stop();
            return ExitCode::SUCCESS;
        }
    };
    let running = match reached.and_then(|()| starting.finish()) {
        Ok(running) => running,
        Err(error) => return fail(&error),
    };
    announce(&running);
    let (reload, configs) = Reload::new(sources, config, running.metrics.clone());
    let stopped = async {
        tokio::select! {
            () = signals.told_to_stop(&running) => {}
            () = running.work(configs) => {}
            () = reload.run(std::future::pending()) => {}
        }
    };
    stopped.await;
    running.stop();
    ExitCode::SUCCESS
}

/// Says where it listens, on stdout, for people and scripts.
#[allow(clippy::print_stdout)] // This is what was asked for.
fn announce(running: &Running) {
    println!("client  {}://{}", running.client_scheme(), running.client);
    println!("api     {}://{}", running.api_scheme(), running.api);
    println!("admin   http://{}", running.admin);
    if let Some(peer) = running.peer {
        let scheme = if running.peer_tls { "https" } else { "http" };
        println!("peer    {scheme}://{peer}");
    }
}

/// SIGTERM and SIGINT, caught from its making on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Either.
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// SIGTERM drains first; SIGINT, or a second SIGTERM, stops at once.
    async fn told_to_stop(&mut self, running: &Running) {
        let Self { terminate, interrupt } = self;
        tokio::select! {
            _ = interrupt.recv() => return,
            _ = terminate.recv() => {}
        }
        tokio::select! {
            () = running.drain_sessions() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

//! A Socket.IO server with the handlers that the official conformance suite
//! expects, through the seam where upstreams plug in: port 3000, namespaces
//! `/` and `/custom`.

use std::sync::Arc;

use gateway::server::{Options, Running};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = tests::conformance::config("/socket.io/", tests::conformance::PORT)?;
    let mut options = Options::new(config);
    options.upstream = Some(Arc::new(tests::conformance::Handlers::default()));
    let running = Running::start(options)?;
    tests::conformance::announce(&running);
    tokio::signal::ctrl_c().await?;
    running.stop();
    Ok(())
}

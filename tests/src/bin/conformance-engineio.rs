//! An Engine.IO echo server on the gateway's own engine, for the official
//! conformance suite: port 3000, path `/engine.io/`.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use gateway::hub::CloseReason;
use gateway::protocol::engineio::{Message, Wire};
use gateway::server::{Options, Running};
use gateway::session::engine::{Engine, EngineApp, EngineSession, Inbound, Opening};

/// Sends back what comes.
struct Echo;

struct EchoSession(Weak<Engine>);

impl EngineApp for Echo {
    fn open(&self, engine: &Rc<Engine>, _: &Opening) -> Rc<dyn EngineSession> {
        Rc::new(EchoSession(Rc::downgrade(engine)))
    }
}

impl EngineSession for EchoSession {
    fn message(&self, message: Inbound) -> LocalBoxFuture<'_, ()> {
        if let Some(engine) = self.0.upgrade() {
            let wire = match message {
                Inbound::Text(text) => Wire::text(&[b"4", &text]),
                Inbound::Binary(data) => Wire::binary(&data),
            };
            engine.send(&Message::One(wire));
        }
        Box::pin(std::future::ready(()))
    }

    fn closed(&self, _: CloseReason) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = tests::conformance::config("/engine.io/", tests::conformance::PORT)?;
    let mut options = Options::new(config);
    options.app = Arc::new(|_| Box::new(Echo));
    let running = Running::start(options)?;
    tests::conformance::announce(&running);
    tokio::signal::ctrl_c().await?;
    running.stop();
    Ok(())
}

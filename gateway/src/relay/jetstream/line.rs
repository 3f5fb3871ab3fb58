//! The gateway's own connection to NATS, on which everything comes that is
//! handed on to clients: the feed, and channels without history. What it
//! brings is read as it came, in rounds, on a thread of its own; what the
//! gateway asks and publishes goes through the client library
//! (docs/decisions/own-line.md).
//!
//! # Layout
//!
//! - `wire`: bytes, cut into messages
//! - `headers`: headers, read when they are wanted
//! - `login`: TCP, TLS, the login
//! - `reader`: connects, reads, hands on
//! - `thread`: where it runs

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_config::Relay as RelayConfig;
use tokio::sync::{Notify, oneshot, watch};

use super::api::ApiError;
use super::connect::ServerChoice;

mod headers;
mod login;
mod reader;
mod thread;
mod wire;

pub use headers::Headers;
pub use thread::LineThread;
pub use wire::Frame;

/// The subscription of all that is stored.
pub const LIVE: u64 = 1;
/// The subscription of what channels with history don't store.
pub const UNSTORED: u64 = 2;
/// The first one of a channel without history.
pub const FIRST: u64 = 3;

/// The connection, as everybody but its reader knows it.
pub struct Line {
    config: RelayConfig,
    /// As the server shows it to its operators.
    name: String,
    /// Which server the client library is at. The line is at the same one, so
    /// that what is published there comes to a subscription that was made
    /// before.
    choice: Arc<ServerChoice>,
    state: Mutex<State>,
    /// There is something to write, or to look at.
    changed: Notify,
    /// Counts the times that it was made anew, all subscriptions in force.
    connected: watch::Sender<u64>,
    /// It is to be made anew as soon as the client library has.
    leaving: AtomicBool,
    /// Nobody waits for what comes next.
    pub pause: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// Whether there is a connection that is let in.
    up: bool,
    /// What is to be written.
    outgoing: Vec<u8>,
    /// Pings without an answer, in their order.
    asked: VecDeque<Asked>,
    /// What is wrong.
    trouble: Option<String>,
}

/// What the answer to a ping says.
enum Asked {
    /// A new connection's subscriptions are in force.
    Ready,
    /// The server is there.
    Alive,
    /// What somebody sent before is in force.
    Done(oneshot::Sender<()>),
}

// === impl Line ===

impl Line {
    /// One that isn't there yet.
    pub fn new(config: RelayConfig, name: String, choice: Arc<ServerChoice>) -> Self {
        Self {
            config,
            name,
            choice,
            state: Mutex::default(),
            changed: Notify::new(),
            connected: watch::Sender::new(0),
            leaving: AtomicBool::new(false),
            pause: Arc::default(),
        }
    }

    /// Counts the times that it was made anew.
    pub fn connected(&self) -> watch::Receiver<u64> {
        self.connected.subscribe()
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// It is to be made anew when the client library has found another server.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Something is to be looked at, though nothing came.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Subscribes. With the next connection, whoever keeps subscriptions is
    /// asked for all of them.
    pub fn subscribe(&self, subject: &str, sid: u64) {
        self.write(|out| writeln_to(out, format_args!("SUB {subject} {sid}")));
    }

    /// Ends a subscription. What is under way may still come.
    pub fn unsubscribe(&self, sid: u64) {
        self.write(|out| writeln_to(out, format_args!("UNSUB {sid}")));
    }

    /// Ready when the server has taken what was sent before.
    pub async fn barrier(&self) -> Result<(), ApiError> {
        let (sender, done) = oneshot::channel();
        {
            let mut state = self.lock();
            if !state.up {
                return Err(ApiError::Disconnected);
            }
            state.ping(Asked::Done(sender));
        }
        self.changed.notify_one();
        done.await.map_err(|_| ApiError::Disconnected)
    }

    /// Whether somebody waits for the server.
    pub fn is_asked(&self) -> bool {
        self.lock().asked.iter().any(|asked| !matches!(asked, Asked::Alive))
    }

    /// What is sent while there is no connection is nowhere.
    fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        if state.up {
            write(&mut state.outgoing);
            drop(state);
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn ping(&mut self, asked: Asked) {
        self.outgoing.extend_from_slice(b"PING\r\n");
        self.asked.push_back(asked);
    }
}

/// A line of the protocol.
fn writeln_to(out: &mut Vec<u8>, line: std::fmt::Arguments<'_>) {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = write!(text, "{line}\r\n");
    out.extend_from_slice(text.as_bytes());
}

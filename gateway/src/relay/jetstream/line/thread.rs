//! The line's thread. It reads what NATS sends and hands it on to the shards,
//! and does nothing else: neither the API nor clients keep it from that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::reader::LineReader;
use crate::relay::jetstream::JetStreamRelay;
use crate::relay::jetstream::feed::Follower;

/// Reads of the feed that may wait for its follower while it fills a hole:
/// 16 MiB. What comes beyond that is filled, too.
const WAITING: usize = 256;
/// How long the thread lets more come when nobody waits for what it has read:
/// to be woken for each message costs more than to read it.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the thread has to end.
const END: Duration = Duration::from_secs(2);

/// A thread that ends with its value.
pub struct LineThread {
    stop: DropGuard,
    ended: oneshot::Receiver<()>,
    thread: std::thread::JoinHandle<()>,
}

// === impl LineThread ===

impl LineThread {
    /// Starts it. `others` counts the client library's connections.
    pub fn start(
        relay: &Arc<JetStreamRelay>,
        others: watch::Receiver<u64>,
    ) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let (stopped, pause) = (stop.clone(), relay.line.pause.clone());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || {
                if pause.swap(false, Ordering::Relaxed) {
                    // All work of this thread is done, and none of it is a session's.
                    #[allow(clippy::disallowed_methods)]
                    std::thread::sleep(PAUSE);
                }
            })
            .build()?;
        let relay = relay.clone();
        let (sender, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("line".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                let (live, queue) = mpsc::channel(WAITING);
                tasks.spawn(LineReader::new(relay.clone(), live, others).run());
                let follower = relay.clone();
                tasks.spawn(async move { Follower::new(&follower, queue).run().await });
                tasks.spawn(async move { relay.serve_interests().await });
                tokio::select! {
                    () = stopped.cancelled() => {}
                    // None ends before the gateway does, but by a fault.
                    _ = tasks.join_next() => {}
                }
            });
            // Who waits may be gone.
            let _ = sender.send(());
        })?;
        Ok(Self { stop: stop.drop_guard(), ended, thread })
    }

    /// Ready when it has ended, which it does by a fault only.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Ends it.
    pub async fn stop(mut self) {
        drop(self.stop);
        let ended = tokio::time::timeout(END, &mut self.ended).await;
        if ended.is_err() {
            tracing::warn!("the thread that reads from NATS doesn't end");
        } else if self.thread.join().is_err() {
            tracing::error!("the thread that reads from NATS failed: a fault of the gateway");
        }
    }
}

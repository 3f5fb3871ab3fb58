//! One shard's thread, from its start to its end.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::AppFactory;
use crate::hub::CloseReason;
use crate::relay::FeedItem;
use crate::shard::{Control, Shard, Shared};
use crate::transport::http;

/// How long connections have to end after the stop.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What a shard's thread needs.
pub(super) struct ShardParts {
    pub(super) index: u8,
    pub(super) shared: Arc<Shared>,
    pub(super) listener: std::net::TcpListener,
    pub(super) feed: mpsc::Receiver<FeedItem>,
    pub(super) control: mpsc::Receiver<Control>,
    pub(super) app: AppFactory,
    pub(super) stop: CancellationToken,
}

impl ShardParts {
    /// Starts the thread.
    pub(super) fn spawn(self) -> std::io::Result<JoinHandle<()>> {
        let runtime = Builder::new_current_thread();
        let name = format!("shard-{}", self.index);
        std::thread::Builder::new().name(name).spawn(move || {
            let mut runtime = runtime;
            // A local runtime stays on the thread that makes it.
            match runtime.enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(self.run()),
                Err(error) => tracing::error!(%error, "a shard can't start"),
            }
        })
    }

    async fn run(self) {
        let Self { index, shared, listener, feed, control, app, stop } = self;
        let shard = Shard::new(index, shared, feed, |weak| app(weak));
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a shard can't listen");
                return;
            }
        };
        let ended = stop.clone();
        let tasks = &shard.tasks;
        let inner = shard.clone();
        tasks.spawn_local(until(ended.clone(), async move { inner.deliver().await }));
        let inner = shard.clone();
        tasks.spawn_local(until(ended.clone(), async move { inner.serve_control(control).await }));
        let inner = shard.clone();
        tasks.spawn_local(until(ended.clone(), async move {
            inner.timers.run(|| inner.panicked("a timer")).await;
        }));
        let inner = shard.clone();
        tasks.spawn_local(until(ended.clone(), async move { inner.forget_left().await }));
        http::accept(&shard, listener, stop).await;
        end(&shard).await;
    }
}

/// Works until the stop.
async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// Closes what is still open.
async fn end(shard: &Rc<Shard>) {
    let engines = shard.engines.borrow().all();
    for engine in engines {
        engine.close(CloseReason::Drain);
    }
    let others: Vec<_> = shard.others.borrow().iter().map(|(_, other)| other.clone()).collect();
    for (outbox, last) in others {
        outbox.finish(last, CloseReason::Drain);
    }
    shard.tasks.close();
    // Polling clients come for their close with the next poll, or not at all.
    let _ = tokio::time::timeout(END_TIMEOUT, shard.tasks.wait()).await;
}

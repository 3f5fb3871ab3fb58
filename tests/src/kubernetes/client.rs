//! Clients with an address of their own: that is what makes two users two, to
//! a Service that goes by addresses.

use std::fs::File;
use std::future::Future;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;

use super::Cluster;
use crate::patience::eventually;

/// A machine outside the cluster: a network namespace that has one address and
/// a way to pods and Services. It is gone when this is dropped.
pub struct Client {
    cluster: Cluster,
    name: String,
    address: String,
    path: String,
}

// === impl Client ===

impl Client {
    /// A new one.
    ///
    /// # Panics
    ///
    /// When it can't be made.
    pub async fn new(cluster: &Cluster) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // At most ten characters: a network device is named after it.
        let name = format!("c{}x{number}", std::process::id() % 100_000);
        let ask = async |verb| {
            let printed = cluster.run("client", &[verb, &name], None).await;
            printed.unwrap_or_else(|error| panic!("client {verb}: {error}")).trim().to_owned()
        };
        let address = ask("add").await;
        let path = ask("path").await;
        Self { cluster: cluster.clone(), name, address, path }
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until connections to these Services, `HOST:PORT`, are taken:
    /// kube-proxy takes a Service over when it comes to it, and until then its
    /// address is nowhere.
    ///
    /// # Panics
    ///
    /// When that isn't so in time.
    pub async fn until_open(&self, services: Vec<String>) {
        self.run(async move || {
            for service in services {
                let open = async || TcpStream::connect(&service).await.is_ok();
                eventually(&format!("the Service at {service}"), open).await;
            }
        })
        .await;
    }

    /// Does something at its place: every socket that is opened meanwhile has
    /// its address.
    ///
    /// A thread can be in one network only, so the task has a thread and a
    /// runtime of its own.
    ///
    /// # Panics
    ///
    /// When the task does, with what it said.
    pub async fn run<T, F, Fut>(&self, task: F) -> T
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T>,
        T: Send + 'static,
    {
        let namespace = File::open(&self.path).expect("the client's network is there");
        let (done, result) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            // The test's thread gets the panic, not this one's output.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("a thread of root's can change its network");
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime starts")
                    .block_on(task())
            }));
            let _ = done.send(ended);
        });
        match result.await.expect("the thread sends its end") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = Command::new(&self.cluster.script)
            .args(["client", "del", &self.name])
            .stderr(Stdio::null())
            .status();
    }
}

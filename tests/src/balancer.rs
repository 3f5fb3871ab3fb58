//! A TCP balancer without affinity: every connection goes to a gateway that
//! is drawn by lot.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running balancer. It and its connections end when this is dropped.
pub struct Balancer {
    address: String,
    targets: Targets,
    task: JoinHandle<()>,
}

/// Where connections may go: `host:port` each. Can be changed at any time.
#[derive(Clone, Default)]
pub struct Targets(Arc<Mutex<Vec<String>>>);

// === impl Balancer ===

impl Balancer {
    /// Listens on a free port.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn start(targets: Targets) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has one").to_string();
        let task = tokio::spawn(accept(listener, targets.clone()));
        Self { address, targets, task }
    }

    /// `host:port` of the balancer.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What its URLs begin with.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where connections may go.
    pub const fn targets(&self) -> &Targets {
        &self.targets
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, targets: Targets) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of files: the test fails by what its clients miss.
                let Ok((mut client, _)) = accepted else { continue };
                let _ = client.set_nodelay(true);
                let targets = targets.clone();
                connections.spawn(async move {
                    if let Some(mut server) = targets.connect().await {
                        let _ = server.set_nodelay(true);
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

// === impl Targets ===

impl Targets {
    /// These, and no others.
    pub fn set(&self, targets: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    /// All of them, in an order drawn by lot.
    pub fn shuffled(&self) -> Vec<String> {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        targets.sort_by_cached_key(|target| RandomState::new().hash_one(target));
        targets
    }

    /// One that takes a connection; as balancers do, another one if the first
    /// refuses.
    async fn connect(&self) -> Option<TcpStream> {
        for target in self.shuffled() {
            if let Ok(stream) = TcpStream::connect(target).await {
                return Some(stream);
            }
        }
        None
    }
}

//! Real nats-servers: one, or a cluster of three, on ports of their own.

// A harness fails the test that it serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod door;
mod identity;
mod routes;
mod trust;

pub use door::Door;
pub use identity::{Authority, Operator, Secrets};
use routes::Routes;
pub use trust::{trusting, trusts};

/// A NATS cluster that ends with its value.
pub struct Nats {
    servers: Vec<Server>,
    routes: Routes,
    dir: PathBuf,
}

struct Server {
    name: String,
    port: u16,
    /// Of its monitoring page.
    monitor: u16,
    config: PathBuf,
    child: Option<Child>,
}

/// A signal to a server.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Dies at once.
    Kill,
    /// Stands still, with its connections open.
    Stop,
    /// Goes on.
    Continue,
    /// Tells its clients that it will stop, and stops minutes later.
    LameDuck,
}

/// Where the binary is: `PUSHCLUSTER_NATS_SERVER`, or where `tests/run`
/// installs it.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PUSHCLUSTER_NATS_SERVER") {
        return path.into();
    }
    let cache = std::env::var_os("PUSHCLUSTER_CACHE").map_or_else(
        || {
            let home = std::env::var_os("HOME").expect("HOME is set");
            Path::new(&home).join(".cache/pushcluster")
        },
        PathBuf::from,
    );
    let path = cache.join("bin/nats-server");
    assert!(
        path.exists(),
        "no nats-server at {}: install it (see tests/requirements.txt), or set PUSHCLUSTER_NATS_SERVER",
        path.display()
    );
    path
}

/// A port that is free now. Others may take it before the server does; then
/// the server doesn't start, and another is tried.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === impl Nats ===

impl Nats {
    /// One server.
    pub fn single() -> Self {
        Self::start(1, "")
    }

    /// Three servers that keep three copies.
    pub fn cluster() -> Self {
        Self::start(3, "")
    }

    /// So many servers, with more lines in their configuration.
    pub fn start(count: usize, extra: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("push-nats-{}-{number}", std::process::id()));
        let routes: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let doors = Routes::open(&routes);
        let mut servers = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let name = format!("n{index}");
            let store = dir.join(&name);
            std::fs::create_dir_all(&store).unwrap();
            let (port, monitor) = (free_port(), free_port());
            let mut text = format!(
                "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
                 jetstream {{ store_dir: \"{}\" }}\n",
                store.display()
            );
            if count > 1 {
                let peers: Vec<_> = (0..count)
                    .map(|peer| format!("\"nats://127.0.0.1:{}\"", doors.door(peer)))
                    .collect();
                let _ = writeln!(
                    text,
                    "cluster {{ name: test, listen: \"127.0.0.1:{route}\", advertise: \"127.0.0.1:{}\", \
                     no_advertise: true, pool_size: 1, routes: [{}] }}",
                    doors.door(index),
                    peers.join(", ")
                );
            }
            text += extra;
            let config = dir.join(format!("{name}.conf"));
            std::fs::write(&config, text).unwrap();
            servers.push(Server { name, port, monitor, config, child: None });
        }
        let mut nats = Self { servers, routes: doors, dir };
        for index in 0..count {
            nats.restart(index);
        }
        nats.wait_ready();
        nats
    }

    /// Every server's address, separated by `,`.
    pub fn url(&self) -> String {
        let urls: Vec<_> = (0..self.servers.len()).map(|index| self.url_of(index)).collect();
        urls.join(",")
    }

    /// One server's address.
    pub fn url_of(&self, index: usize) -> String {
        format!("nats://127.0.0.1:{}", self.servers[index].port)
    }

    /// One server's port.
    pub fn port_of(&self, index: usize) -> u16 {
        self.servers[index].port
    }

    /// Subscriptions of all clients of all servers.
    ///
    /// # Panics
    ///
    /// When a server doesn't say.
    pub async fn subscriptions(&self) -> u64 {
        let mut sum = 0;
        for server in &self.servers {
            let url = format!("http://127.0.0.1:{}/connz?limit=1024", server.monitor);
            let answer = crate::http::get(&url).await.json();
            let connections = answer["connections"].as_array().expect("a list").iter();
            sum += connections.map(|c| c["subscriptions"].as_u64().unwrap_or(0)).sum::<u64>();
        }
        sum
    }

    /// Processes of the servers that run, as in [`crate::cpu::Cpu`].
    pub fn pids(&self) -> Vec<u32> {
        self.servers.iter().filter_map(|server| server.child.as_ref()).map(Child::id).collect()
    }

    /// The names of one server's connections.
    ///
    /// # Panics
    ///
    /// When it doesn't say.
    pub async fn connections(&self, index: usize) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}/connz?limit=1024", self.servers[index].monitor);
        let answer = crate::http::get(&url).await.json();
        let connections = answer["connections"].as_array().expect("a list").iter();
        connections.filter_map(|c| c["name"].as_str().map(str::to_owned)).collect()
    }

    /// Which server listens on a port.
    pub fn index_of(&self, port: u16) -> Option<usize> {
        self.servers.iter().position(|server| server.port == port)
    }

    /// What all servers have written.
    pub fn log(&self) -> String {
        let logs = self.servers.iter().map(|server| {
            let path = self.dir.join(format!("{}.log", server.name));
            std::fs::read_to_string(path).unwrap_or_default()
        });
        logs.collect()
    }

    /// Starts a server that isn't running.
    pub fn restart(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{}.log", server.name)))
            .unwrap();
        let child = Command::new(binary())
            .arg("-c")
            .arg(&server.config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        server.child = Some(child);
    }

    /// Sends a server a signal.
    pub fn signal(&mut self, index: usize, signal: Signal) {
        let server = &mut self.servers[index];
        let child = server.child.as_mut().expect("the server runs");
        match signal {
            Signal::Kill => {
                child.kill().unwrap();
                child.wait().unwrap();
                server.child = None;
            }
            Signal::Stop | Signal::Continue | Signal::LameDuck => {
                let name = match signal {
                    Signal::Stop => "-STOP",
                    Signal::Continue => "-CONT",
                    _ => "-USR2",
                };
                let status =
                    Command::new("kill").arg(name).arg(child.id().to_string()).status().unwrap();
                assert!(status.success());
            }
        }
    }

    /// Cuts the route between two servers, until [`Nats::mend`].
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn cut(&self, one: usize, other: usize) {
        self.routes.cut(one, other);
    }

    /// All servers reach each other again.
    pub fn mend(&self) {
        self.routes.mend();
    }

    /// Waits until `JetStream` answers, with a leader.
    fn wait_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let logs = self.servers.iter().map(|server| {
                std::fs::read_to_string(self.dir.join(format!("{}.log", server.name)))
                    .unwrap_or_default()
            });
            let logs: Vec<_> = logs.collect();
            let led = self.servers.len() == 1
                || logs.iter().any(|log| log.contains("JetStream cluster new metadata leader"));
            if led && logs.iter().all(|log| log.contains("Server is ready")) {
                return;
            }
            assert!(Instant::now() < deadline, "nats-server doesn't start:\n{}", logs.join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if let Some(child) = &mut server.child {
                // SIGKILL ends one that stands still too.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

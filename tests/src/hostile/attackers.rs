//! Who attacks: each attacker is a task that comes back a while after it was
//! cut off. All of them come from addresses of their own (127.66.0.0/16), as
//! the members of a botnet do.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{bad, deaf, flood, slow};

/// Who is cut off comes back after this.
const BACK: Duration = Duration::from_secs(1);
/// All of a kind come within this.
const ARRIVAL: Duration = Duration::from_secs(3);
/// An attacker that is not even connected after this tries again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many of each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Forces {
    /// That send half of something, and then a byte a second: heads, bodies,
    /// WebSocket handshakes, frames.
    pub slow: usize,
    /// That subscribe to much and read nothing.
    pub deaf: usize,
    /// That send as fast as they are read.
    pub flood: usize,
    /// Handshakes that must be refused, a second.
    pub bad: u32,
}

/// What they have counted, by name.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

/// Attackers at work. They end when this is dropped.
pub struct Attackers {
    tasks: JoinSet<()>,
    tally: Tally,
}

/// One attacker's place: where it attacks, and as whom.
#[derive(Clone)]
pub(super) struct Attacker {
    pub(super) target: SocketAddr,
    /// Its number among its kind.
    pub(super) number: usize,
    kind: &'static str,
    tally: Tally,
}

// === impl Forces ===

impl Forces {
    /// The issue's.
    pub const WHOLE: Self = Self { slow: 1_000, deaf: 500, flood: 200, bad: 500 };
}

// === impl Attackers ===

impl Attackers {
    /// Sends them against a client listener. To be called on a runtime.
    pub fn start(target: SocketAddr, forces: Forces) -> Self {
        let tally = Tally::default();
        let mut tasks = JoinSet::new();
        let attacker = |kind, number| Attacker { target, number, kind, tally: tally.clone() };
        let after = |number: usize, of: usize| {
            ARRIVAL.mul_f64(f64::from(u32::try_from(number).unwrap_or(0)) / of.max(1) as f64)
        };
        for number in 0..forces.slow {
            let (one, wait) = (attacker("slow", number), after(number, forces.slow));
            tasks.spawn(async move { one.again_and_again(wait, slow::once).await });
        }
        for number in 0..forces.deaf {
            let (one, wait) = (attacker("deaf", number), after(number, forces.deaf));
            tasks.spawn(async move { one.again_and_again(wait, deaf::once).await });
        }
        for number in 0..forces.flood {
            let (one, wait) = (attacker("flood", number), after(number, forces.flood));
            tasks.spawn(async move { one.again_and_again(wait, flood::once).await });
        }
        if forces.bad > 0 {
            let one = attacker("bad", 0);
            tasks.spawn(async move { bad::all(one, forces.bad).await });
        }
        Self { tasks, tally }
    }

    /// What they have counted so far.
    pub fn tally(&self) -> BTreeMap<String, u64> {
        self.tally.read()
    }

    /// All of them hang up; what they have counted.
    pub async fn stop(mut self) -> BTreeMap<String, u64> {
        self.tasks.shutdown().await;
        self.tally.read()
    }
}

// === impl Attacker ===

impl Attacker {
    /// Attacks until it is cut off, and comes back.
    async fn again_and_again<F>(self, wait: Duration, once: impl Fn(Self) -> F)
    where
        F: Future<Output = io::Result<()>>,
    {
        sleep(wait).await;
        loop {
            self.count("opened", 1);
            // The end of a connection is an error for some, and what it is
            // for: being cut off.
            let ended = Box::pin(once(self.clone())).await;
            self.count(if ended.is_ok() { "cut off" } else { "not let in" }, 1);
            sleep(BACK).await;
        }
    }

    /// Another of its kind.
    pub(super) fn numbered(&self, number: usize) -> Self {
        Self { number, ..self.clone() }
    }

    /// Counts something under its kind.
    pub(super) fn count(&self, what: &str, by: u64) {
        self.tally.add(format!("{}, {what}", self.kind), by);
    }

    /// A connection, from an address of its own.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        self.connect_with(|_| Ok(())).await
    }

    /// The same with a socket that is set up first.
    pub(super) async fn connect_with(
        &self,
        set: impl Fn(&TcpSocket) -> io::Result<()>,
    ) -> io::Result<TcpStream> {
        let [.., high, low] = self.number.to_be_bytes();
        let network = match self.kind {
            "slow" => 66,
            "deaf" => 67,
            "flood" => 68,
            _ => 69,
        };
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::new(127, network, high, low.max(1)), 0).into())?;
        // Nothing is left of a connection that is given up.
        socket.set_zero_linger()?;
        set(&socket)?;
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let stream =
            timeout(CONNECT_TIMEOUT, socket.connect(self.target)).await.map_err(late)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A WebSocket's handshake on a path.
    pub(super) fn upgrade(&self, path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.target
        )
    }

    /// Opens a polling session: its id.
    pub(super) async fn poll_open(&self, stream: &mut TcpStream) -> io::Result<String> {
        let path = "/socket.io/?EIO=4&transport=polling";
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.target);
        stream.write_all(request.as_bytes()).await?;
        let answer = until(stream, b"}").await?;
        let sid = answer.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next());
        sid.map(str::to_owned).ok_or_else(|| io::Error::other(answer))
    }
}

/// Reads until these bytes have come.
pub(super) async fn until(stream: &mut TcpStream, end: &[u8]) -> io::Result<String> {
    const MOST: usize = 64 << 10;
    let (mut got, mut chunk) = (Vec::new(), [0; 4096]);
    while got.len() < MOST && !got.windows(end.len()).any(|window| window == end) {
        match stream.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => got.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&got).into_owned())
}

/// Reads and forgets, until the other side ends the connection.
pub(super) async fn drain(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut chunk = vec![0; 16 << 10];
    while stream.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
}

// === impl Tally ===

impl Tally {
    fn add(&self, name: String, by: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += by;
    }

    fn read(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

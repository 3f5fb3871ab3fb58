//! A door between one gateway and a nats-server, that speaks NATS: what comes
//! from the feed can be held back, a replica can be made to be behind, the
//! connection can break.

// A harness fails the test that it serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A door. Its connections end with the runtime.
#[derive(Clone)]
pub struct Door {
    port: u16,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    deaf: AtomicBool,
    stale: AtomicBool,
    cut: Notify,
    held_back: AtomicU64,
    made_stale: AtomicU64,
    cuts: AtomicU64,
}

/// One frame: its line, with its end, and what belongs to it.
struct Frame {
    line: String,
    payload: Vec<u8>,
}

// === impl Door ===

impl Door {
    /// A door in front of a server on this machine.
    pub async fn open(behind: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults::default());
        let shared = faults.clone();
        tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                let faults = shared.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", behind)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = pass(gateway, server, &faults) => {}
                        () = faults.cut.notified() => {
                            faults.cuts.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        Self { port, faults }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Whether the feed is held back. What is, is lost.
    pub fn set_deaf(&self, deaf: bool) {
        self.faults.deaf.store(deaf, Ordering::Relaxed);
    }

    /// Whether the replica that answers direct gets is behind: it has nothing
    /// now, and then less than was asked for.
    pub fn set_stale(&self, stale: bool) {
        self.faults.stale.store(stale, Ordering::Relaxed);
    }

    /// All its connections break.
    pub fn cut(&self) {
        self.faults.cut.notify_waiters();
    }

    /// Feed messages held back, direct gets answered as by a replica that is
    /// behind, connections broken.
    pub fn counts(&self) -> [u64; 3] {
        [&self.faults.held_back, &self.faults.made_stale, &self.faults.cuts]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// Passes frames on in both directions.
async fn pass(mut gateway: TcpStream, mut server: TcpStream, faults: &Faults) -> Option<()> {
    let (from_gateway, to_gateway) = gateway.split();
    let (from_server, mut to_server) = server.split();
    let to_gateway = tokio::sync::Mutex::new(to_gateway);
    let inboxes = Mutex::new(HashMap::new());
    let asked = async {
        let mut from = BufReader::new(from_gateway);
        loop {
            let mut frame = Frame::read(&mut from, &["PUB", "HPUB"]).await?;
            let words: Vec<&str> = frame.line.split_ascii_whitespace().collect();
            if let ["SUB", subject, .., sid] = words[..] {
                inboxes.lock().unwrap().insert(subject.to_owned(), sid.to_owned());
            }
            if let ["PUB", subject, reply, _] = words[..]
                && subject.starts_with("$JS.API.DIRECT.GET.PUSH_")
                && faults.stale.load(Ordering::Relaxed)
            {
                let sid = inboxes.lock().unwrap().get(reply).cloned();
                if let (Some(sid), 0..=5) =
                    (sid, faults.made_stale.fetch_add(1, Ordering::Relaxed) % 7)
                {
                    const NOTHING: &str = "NATS/1.0 404 Message Not Found\r\n\r\n";
                    let length = NOTHING.len();
                    let line = format!("HMSG {reply} {sid} {length} {length}\r\n");
                    let payload = [NOTHING.as_bytes(), b"\r\n"].concat();
                    Frame { line, payload }.write(&mut *to_gateway.lock().await).await?;
                    continue;
                }
                frame = frame.asking_for_less();
            }
            frame.write(&mut to_server).await?;
        }
    };
    let answered = async {
        let mut from = BufReader::new(from_server);
        loop {
            let frame = Frame::read(&mut from, &["MSG", "HMSG"]).await?;
            let mut words = frame.line.split_ascii_whitespace();
            let subject = words.nth(1).unwrap_or_default();
            if subject.starts_with("push.live.") && faults.deaf.load(Ordering::Relaxed) {
                faults.held_back.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            frame.write(&mut *to_gateway.lock().await).await?;
        }
    };
    tokio::select! {
        ended = asked => ended,
        ended = answered => ended,
    }
}

// === impl Frame ===

impl Frame {
    /// The next one; those of these kinds have a payload.
    async fn read(from: &mut BufReader<impl AsyncRead + Unpin>, loaded: &[&str]) -> Option<Self> {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        let line = String::from_utf8(line).unwrap();
        let mut words = line.split_ascii_whitespace();
        let mut payload = Vec::new();
        if words.next().is_some_and(|word| loaded.contains(&word)) {
            let length: usize = words.next_back().unwrap().parse().unwrap();
            payload.resize(length + 2, 0);
            from.read_exact(&mut payload).await.ok()?;
        }
        Some(Self { line, payload })
    }

    async fn write(self, to: &mut (impl AsyncWrite + Unpin)) -> Option<()> {
        let bytes = [self.line.into_bytes(), self.payload].concat();
        to.write_all(&bytes).await.ok()
    }

    /// A batched get, of one message only.
    fn asking_for_less(self) -> Self {
        let text = self.payload.strip_suffix(b"\r\n").unwrap();
        let mut get: serde_json::Value = serde_json::from_slice(text).unwrap();
        get["batch"] = 1.into();
        let text = get.to_string();
        let mut words: Vec<&str> = self.line.split_ascii_whitespace().collect();
        words.pop();
        let line = format!("{} {}\r\n", words.join(" "), text.len());
        Self { line, payload: format!("{text}\r\n").into_bytes() }
    }
}

//! Many clients of every kind that come back by themselves: the official
//! Socket.IO client, `/ws` and `/sse` under Node (`clients/fleet.mjs`).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a fleet may take to subscribe.
const READY: Duration = Duration::from_secs(120);

/// Running clients. They end when this is dropped.
pub struct Fleet {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// One client of a fleet.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// `default`, `polling`, `websocket` (socket.io-client with these
    /// transports), `plain` (`/ws`) or `sse`.
    pub kind: &'static str,
    /// What it subscribes to.
    pub channels: Vec<String>,
}

/// What one client saw, and what happened to it.
#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    /// As in its [`Plan`].
    pub kind: String,
    /// How often it connected.
    pub connects: u64,
    /// How often it was told that nothing was missed; SSE is told of the
    /// contrary alone.
    pub recovered: u64,
    /// The numbers that it saw, in the order of their arrival.
    pub seen: BTreeMap<String, Vec<u64>>,
    /// What an app would want to know.
    pub notes: Vec<String>,
}

// === impl Fleet ===

impl Fleet {
    /// Starts clients of the gateways behind `url`; ready when all are
    /// subscribed.
    ///
    /// # Panics
    ///
    /// When they don't get so far.
    pub async fn start(url: &str, clients: &[Plan]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        assert!(
            folder.join("node_modules").exists(),
            "no {}: run `npm ci` in tests/clients",
            folder.join("node_modules").display()
        );
        let plan = json!({"url": url, "clients": clients}).to_string();
        let mut child = Command::new("node")
            .arg(folder.join("fleet.mjs"))
            .arg(plan)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut fleet = Self { child, input, output };
        let ready = tokio::time::timeout(READY, fleet.output.next_line()).await;
        match ready {
            Ok(Ok(Some(line))) if line.contains("ready") => fleet,
            other => panic!("the clients did not all subscribe: {other:?}"),
        }
    }

    /// Waits until every client has seen the last number of each channel, at
    /// most so long; then all end. What each saw.
    ///
    /// # Panics
    ///
    /// When the clients have died.
    pub async fn finish(mut self, last: &BTreeMap<String, u64>, within: Duration) -> Vec<Log> {
        let line = json!({"last": last, "within": within.as_millis()}).to_string() + "\n";
        self.input.write_all(line.as_bytes()).await.expect("the clients live");
        let mut logs = Vec::new();
        while let Some(line) = self.output.next_line().await.expect("text") {
            logs.push(serde_json::from_str(&line).expect("a client's log"));
        }
        let status = self.child.wait().await.expect("a child can be waited for");
        assert!(status.success(), "the clients died: {status}");
        logs
    }
}

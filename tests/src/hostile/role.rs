//! Processes of this same program beside it, each on its core and with its
//! priority; they end with it. They are told what to do, and answer, in lines
//! of JSON.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bench::cores::{Cores, pin};
use rustix::process::{getpriority_process, setpriority_process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::attackers::{Attackers, Forces};
use super::good::{Audience, Figures, Good};

/// The argument with which this program is another's role.
pub const ROLE: &str = "--role";
/// The attackers' niceness.
const ATTACKERS: i32 = 10;
/// The good clients', where they may have one but not run in real time; else
/// they have what this program has.
const GOOD: i32 = -10;
/// An answer takes no longer than what it measures, and this.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that plays a part.
pub struct Role {
    // Killed when it is dropped.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// A part, as its process gets it.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    core: Option<usize>,
    kind: Kind,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Good { client: SocketAddr, api: SocketAddr, audience: Audience },
    Attackers { target: SocketAddr, forces: Forces },
}

// === impl Role ===

impl Role {
    /// The good clients, who begin to connect.
    ///
    /// # Errors
    ///
    /// When the program can't be run.
    pub fn good(
        cores: &Cores,
        client: SocketAddr,
        api: SocketAddr,
        audience: &Audience,
    ) -> anyhow::Result<Self> {
        let kind = Kind::Good { client, api, audience: *audience };
        Self::start(&Part { core: cores.others, kind })
    }

    /// The attackers, who begin at once.
    ///
    /// # Errors
    ///
    /// When the program can't be run.
    pub fn attackers(cores: &Cores, target: SocketAddr, forces: &Forces) -> anyhow::Result<Self> {
        let kind = Kind::Attackers { target, forces: *forces };
        Self::start(&Part { core: cores.others, kind })
    }

    fn start(part: &Part) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("a running program has a path")?;
        let mut child = Command::new(own)
            .arg(ROLE)
            .arg(serde_json::to_string(part)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("this program can't be run again")?;
        let input = child.stdin.take().context("its input")?;
        let output = child.stdout.take().context("its output")?;
        Ok(Self { _child: child, input, output: BufReader::new(output).lines() })
    }

    /// Waits until the good clients are connected: what lets them go before
    /// others.
    ///
    /// # Errors
    ///
    /// When they don't connect.
    pub async fn ready(&mut self) -> anyhow::Result<String> {
        self.answer(PATIENCE).await
    }

    /// Lets the good clients measure for so long.
    ///
    /// # Errors
    ///
    /// When they fail.
    pub async fn measure(&mut self, time: Duration) -> anyhow::Result<Figures> {
        self.input.write_all(format!("{}\n", time.as_secs()).as_bytes()).await?;
        self.answer(time + PATIENCE).await
    }

    /// Calls the attackers off: what they have counted.
    ///
    /// # Errors
    ///
    /// When they have ended before.
    pub async fn finish(&mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.input.write_all(b"0\n").await?;
        self.answer(PATIENCE).await
    }

    async fn answer<T: DeserializeOwned>(&mut self, most: Duration) -> anyhow::Result<T> {
        let line =
            timeout(most, self.output.next_line()).await.context("a part doesn't answer")??;
        let line = line.context("a part has ended; see above")?;
        serde_json::from_str(&line).with_context(|| line)
    }
}

/// Plays the part that the argument describes.
///
/// # Errors
///
/// When it can't, or goes on no longer.
pub fn play(part: &str) -> anyhow::Result<()> {
    let part: Part = serde_json::from_str(part).context("a part")?;
    pin(part.core)?;
    match part.kind {
        Kind::Good { client, api, audience } => play_good(client, api, audience),
        Kind::Attackers { target, forces } => play_attackers(target, forces),
    }
}

fn play_good(client: SocketAddr, api: SocketAddr, audience: Audience) -> anyhow::Result<()> {
    let priority = raise()?;
    let mut good = Good::connect(client, api, audience)?;
    say(&priority)?;
    let (sender, orders) = sync_channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    loop {
        match orders.recv_timeout(Duration::ZERO) {
            Ok(line) => {
                let time = Duration::from_secs(line.trim().parse().context("seconds")?);
                say(&good.measure(time)?)?;
            }
            Err(RecvTimeoutError::Timeout) => good.rest(Duration::from_millis(20))?,
            // Who gave the orders is gone.
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Goes before the attackers: what the good clients wait for is then the
/// gateway's doing. Says how.
fn raise() -> anyhow::Result<String> {
    // Only who may: root, mostly. A process of util-linux, as the call needs
    // unsafe code.
    let real_time = std::process::Command::new("chrt")
        .args(["--fifo", "--all-tasks", "--pid", "10", &std::process::id().to_string()])
        .stderr(Stdio::null())
        .status();
    if real_time.is_ok_and(|status| status.success()) {
        return Ok("real time".to_owned());
    }
    let _ = setpriority_process(None, GOOD);
    let niceness = getpriority_process(None).context("getpriority")?;
    Ok(format!("niceness {niceness}"))
}

fn play_attackers(target: SocketAddr, forces: Forces) -> anyhow::Result<()> {
    setpriority_process(None, ATTACKERS).context("setpriority")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let attackers = Attackers::start(target, forces);
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        // An order, or the end of who gives them.
        let order = orders.next_line().await?;
        let tally = attackers.stop().await;
        if order.is_none() {
            bail!("nobody wants to know");
        }
        say(&tally)
    })?;
    // Its input is still being read, on a thread that nothing wakes.
    runtime.shutdown_background();
    Ok(())
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(what)?;
    ensure!(!line.contains('\n'), "one line");
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

//! A running server: where it listens, what it has used.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::ops::Sub;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::cores::{Cores, pin};

/// A server that doesn't listen after this has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Linux tells times in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A server's process; it ends when this is dropped.
pub struct Server {
    child: Child,
    /// Where clients connect.
    pub client: SocketAddr,
    /// Where publishers connect.
    pub api: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Files that go with it.
    scratch: Vec<PathBuf>,
}

/// User and system time of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(pub Duration);

/// The word with which this program starts another one; see [`become_server`].
pub const SERVER: &str = "--as-server";

/// The command that runs this program, which then becomes the server.
fn tethered(command: &Command) -> anyhow::Result<Command> {
    let own = std::env::current_exe().context("a running program has a path")?;
    let mut tethered = Command::new(own);
    tethered.arg(SERVER).arg(std::process::id().to_string());
    tethered.arg(command.get_program()).args(command.get_args());
    Ok(tethered)
}

/// Becomes a server that ends when the bench does, however that ends: the
/// kernel sees to it (prctl(2), `PR_SET_PDEATHSIG`, which stays over exec).
/// The words are the bench's process, the program and its arguments.
///
/// # Errors
///
/// Returns only where it can't.
pub fn become_server(mut words: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let parent = words.next().context("whose server it is")?;
    let program = words.next().context("which program")?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before that was said.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    anyhow::ensure!(now.as_ref() == Some(&parent), "the bench has ended");
    Err(Command::new(&program).args(words).exec())
        .with_context(|| format!("{program} does not run"))
}

// === impl Server ===

impl Server {
    /// Starts it and waits until it has printed where it listens: lines that
    /// begin with `client http://` and `api http://`.
    ///
    /// # Errors
    ///
    /// When it doesn't; with what it wrote.
    pub fn start(command: &Command, cores: Cores) -> anyhow::Result<Self> {
        let mut tethered = tethered(command)?;
        tethered.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // It runs where the thread does that starts it.
        pin(cores.server)?;
        let child = tethered.spawn();
        pin(cores.others)?;
        let mut child =
            child.with_context(|| format!("{} does not run", command.get_program().display()))?;
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, printed) = mpsc::sync_channel(100);
        follow(child.stdout.take(), Arc::clone(&log), Some(lines));
        follow(child.stderr.take(), Arc::clone(&log), None);
        let until = Instant::now() + PATIENCE;
        let (mut client, mut api) = (None, None);
        while client.is_none() || api.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = printed.recv_timeout(left) else { break };
            let mut words = line.split_whitespace();
            let (name, url) = (words.next(), words.next());
            let address = url
                .and_then(|url| url.strip_prefix("http://"))
                .and_then(|rest| rest.trim_end_matches('/').parse().ok());
            match name {
                Some("client") => client = address,
                Some("api") => api = address,
                _ => (),
            }
        }
        let (Some(client), Some(api)) = (client, api) else {
            let _ = child.kill();
            let _ = child.wait();
            std::thread::sleep(Duration::from_millis(100));
            bail!("{} did not start:\n{}", command.get_program().display(), text(&log));
        };
        Ok(Self { child, client, api, log, scratch: Vec::new() })
    }

    /// Removes this file when it ends.
    #[must_use]
    pub fn with_scratch(mut self, file: PathBuf) -> Self {
        self.scratch.push(file);
        self
    }

    /// Its CPU time so far.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(&self.child.id().to_string())
            .with_context(|| format!("the server is gone; it wrote:\n{}", self.log()))
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.context("no VmRSS: the server has ended")?.parse().context("VmRSS")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last of what it wrote.
    pub fn log(&self) -> String {
        let log = text(&self.log);
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in &self.scratch {
            let _ = std::fs::remove_file(file);
        }
    }
}

// === impl Cpu ===

impl Cpu {
    /// This process's own.
    ///
    /// # Errors
    ///
    /// When `/proc` can't be read.
    pub fn own() -> anyhow::Result<Self> {
        Self::of("self").context("/proc/self/stat")
    }

    /// In microseconds, for each of so many.
    #[allow(clippy::cast_precision_loss)] // a count of deliveries
    pub fn per(self, count: u64) -> f64 {
        self.0.as_secs_f64() * 1e6 / count.max(1) as f64
    }

    /// What its threads have run, in nanoseconds, from
    /// `/proc/<pid>/task/*/schedstat`; where the kernel doesn't tell, from
    /// `/proc/<pid>/stat`, in hundredths of a second.
    fn of(pid: &str) -> Option<Self> {
        Self::exact(pid).or_else(|| Self::in_ticks(pid))
    }

    /// The first field of each thread's `schedstat`: time on a core. What
    /// threads that have ended have used isn't in it.
    fn exact(pid: &str) -> Option<Self> {
        let mut sum = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            // A thread may end meanwhile.
            let Ok(text) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
                continue;
            };
            sum += Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?);
        }
        (!sum.is_zero()).then_some(Self(sum))
    }

    /// Fields 14 and 15 of `/proc/<pid>/stat` (`man 5 proc`).
    fn in_ticks(pid: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: u32 = fields.next()?.parse().ok()?;
        let system: u32 = fields.next()?.parse().ok()?;
        Some(Self(TICK * (user + system)))
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self(self.0.saturating_sub(before.0))
    }
}

/// Reads lines until the output ends.
fn follow(
    output: Option<impl std::io::Read + Send + 'static>,
    log: Arc<Mutex<String>>,
    lines: Option<mpsc::SyncSender<String>>,
) {
    let Some(output) = output else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody reads more than the last lines.
            if log.len() > 1 << 20 {
                log.clear();
            }
            log.push_str(&line);
            log.push('\n');
            if let Some(lines) = &lines {
                // Only what it prints at its start is awaited.
                let _ = lines.try_send(line);
            }
        }
    });
}

fn text(log: &Mutex<String>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

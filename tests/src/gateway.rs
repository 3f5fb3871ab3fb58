//! Starts the built `push-gateway` on free ports and ends it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use crate::patience::PATIENCE;

/// A running gateway. It ends when this is dropped.
pub struct Gateway {
    child: Child,
    client: String,
    api: String,
    admin: String,
    log: Arc<Mutex<Vec<String>>>,
    config: PathBuf,
}

/// The three lines that say where it listens.
#[derive(Default)]
struct Urls {
    client: Option<String>,
    api: Option<String>,
    admin: Option<String>,
}

// === impl Gateway ===

impl Gateway {
    /// A gateway as it comes: no configuration file.
    ///
    /// # Panics
    ///
    /// When it doesn't start; the message holds its log.
    pub fn plain() -> Self {
        Self::start("{}")
    }

    /// A gateway with a configuration file of this YAML text.
    ///
    /// # Panics
    ///
    /// When it doesn't start; the message holds its log.
    pub fn start(config: &str) -> Self {
        match Self::try_start(config) {
            Ok(gateway) => gateway,
            Err(log) => panic!("the gateway did not start:\n{log}"),
        }
    }

    /// The same, where starting may be refused: then what it wrote.
    pub fn try_start(config: &str) -> Result<Self, String> {
        let file = scratch("config.yaml");
        std::fs::write(&file, config).expect("the scratch folder is writable");
        Self::spawn(&mut command(&file), file)
    }

    /// A gateway that may have to wait for NATS. Its admin listener is known;
    /// the others are after [`Gateway::serves`].
    ///
    /// # Panics
    ///
    /// When it doesn't say where its admin listener is.
    pub fn begin(config: &str) -> Self {
        let file = scratch("config.yaml");
        std::fs::write(&file, config).expect("the scratch folder is writable");
        let mut command = command(&file);
        let (child, log, _printed) = launch(&mut command).expect("the gateway can be run");
        let none = String::new;
        let mut gateway =
            Self { child, client: none(), api: none(), admin: none(), log, config: file };
        let until = std::time::Instant::now() + PATIENCE;
        while gateway.admin.is_empty() {
            assert!(std::time::Instant::now() < until, "no admin listener:\n{}", gateway.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
            let log = gateway.log();
            let said = log.split_once("health and status are at ");
            if let Some((_, url)) = said {
                url.split_whitespace().next().unwrap_or_default().clone_into(&mut gateway.admin);
            }
        }
        gateway
    }

    /// Waits until it serves clients and apps.
    ///
    /// # Panics
    ///
    /// When it doesn't after [`PATIENCE`].
    pub async fn serves(&mut self) {
        let line = |log: &str, name: &str| {
            log.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let log = &self.log;
        let (client, api) = crate::patiently("the gateway to serve", async {
            loop {
                let log = lock(log).join("\n");
                // The admin listener's line comes last.
                if let (Some(client), Some(api), Some(_)) =
                    (line(&log, "client "), line(&log, "api "), line(&log, "admin "))
                {
                    return (client, api);
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        (self.client, self.api) = (client, api);
    }

    /// What the client listener's URLs begin with: `http://127.0.0.1:PORT`.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The same for WebSockets: `ws://127.0.0.1:PORT`.
    pub fn client_ws(&self) -> String {
        self.client.replacen("http", "ws", 1)
    }

    /// Host and port of the client listener.
    pub fn client_address(&self) -> &str {
        self.client.trim_start_matches("https://").trim_start_matches("http://")
    }

    /// What the API's URLs begin with.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// What the admin listener's URLs begin with.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The configuration file that it was started with.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// All that it has written to its output and its log.
    pub fn log(&self) -> String {
        lock(&self.log).join("\n")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `TERM`, `INT`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\"", name, &self.child.id().to_string()])
            .status()
            .expect("sh runs");
        assert!(status.success(), "kill -{name} failed");
    }

    /// Waits until it says that it is ready: over NATS, when it knows the
    /// others.
    ///
    /// # Panics
    ///
    /// When it isn't after [`PATIENCE`].
    pub async fn ready(&self) {
        let url = format!("{}/readyz", self.admin);
        crate::patience::eventually("the gateway to be ready", || async {
            crate::http::get(&url).await.status == 200
        })
        .await;
    }

    /// Waits for its end; the exit code.
    ///
    /// # Panics
    ///
    /// When it still runs after [`PATIENCE`].
    pub async fn ended(&mut self) -> Option<i32> {
        crate::patiently("the gateway's end", async {
            loop {
                if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                    return status.code();
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the gateway runs");
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .expect("Linux says VmRSS")
    }

    fn spawn(command: &mut Command, config: PathBuf) -> Result<Self, String> {
        let (mut child, log, printed) = launch(command)?;
        let urls = Urls::read(&printed);
        let (Some(client), Some(api), Some(admin)) = (urls.client, urls.api, urls.admin) else {
            let _ = child.kill();
            let _ = child.wait();
            // The threads that follow its output end with it; give them a moment.
            std::thread::sleep(std::time::Duration::from_millis(100));
            return Err(lock(&log).join("\n"));
        };
        Ok(Self { child, client, api, admin, log, config })
    }
}

/// On free ports.
fn command(config: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("--config").arg(config);
    for listener in ["client", "api", "admin"] {
        command.arg(format!("--{listener}-listen")).arg("127.0.0.1:0");
    }
    command
}

type Launched = (Child, Arc<Mutex<Vec<String>>>, Receiver<String>);

fn launch(command: &mut Command) -> Result<Launched, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", binary().display()))?;
    let log = Arc::new(Mutex::new(Vec::new()));
    let (lines, printed) = sync_channel(100);
    if let Some(stdout) = child.stdout.take() {
        follow(stdout, Arc::clone(&log), move |line| {
            // Only what it prints at its start is awaited.
            let _ = lines.try_send(line.to_owned());
        });
    }
    if let Some(stderr) = child.stderr.take() {
        follow(stderr, Arc::clone(&log), |_| ());
    }
    Ok((child, log, printed))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the gateway wrote ---\n{}\n---", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

// === impl Urls ===

impl Urls {
    /// Reads what is printed until all three are known, the output ends, or
    /// [`PATIENCE`] is over.
    fn read(printed: &Receiver<String>) -> Self {
        let mut urls = Self::default();
        let until = std::time::Instant::now() + PATIENCE;
        while urls.client.is_none() || urls.api.is_none() || urls.admin.is_none() {
            let left = until.saturating_duration_since(std::time::Instant::now());
            let Ok(line) = printed.recv_timeout(left) else {
                break;
            };
            let mut words = line.split_whitespace();
            let (Some(name), Some(url)) = (words.next(), words.next()) else {
                continue;
            };
            if !url.starts_with("http") {
                continue;
            }
            let url = Some(url.trim_end_matches('/').to_owned());
            match name {
                "client" => urls.client = url,
                "api" => urls.api = url,
                "admin" => urls.admin = url,
                _ => (),
            }
        }
        urls
    }
}

/// The built `push-gateway`, of the profile that the suite itself was built
/// with; or the program that `PUSHCLUSTER_GATEWAY_BIN` names.
///
/// # Panics
///
/// When it isn't there, or older than its source: a suite must not pass
/// against yesterday's gateway.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("PUSHCLUSTER_GATEWAY_BIN") {
            return named.into();
        }
        let suite = std::env::current_exe().expect("a running program has a path");
        // target/<profile>/deps/<suite>, or target/<profile>/<program>
        let folder = suite.parent().expect("a suite is in target/");
        let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
        let profile = profile.expect("a suite is in target/");
        let path = profile.join("push-gateway");
        let built = std::fs::metadata(&path).and_then(|meta| meta.modified());
        let Ok(built) = built else {
            panic!("{} is not there: run `cargo build -p gateway`", path.display());
        };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway");
        if let Some(newer) = newer_than(&source, built) {
            panic!(
                "{} is older than {}: run `cargo build -p gateway`",
                path.display(),
                newer.display()
            );
        }
        path
    })
}

/// A path in the scratch folder that no other test of this run has.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir().join("pushcluster-tests");
    std::fs::create_dir_all(&folder).expect("the scratch folder can be made");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{}-{number}-{name}", std::process::id()))
}

/// A Rust file under `folder` that was changed after `time`.
fn newer_than(folder: &Path, time: SystemTime) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            // A crate's suites are no part of the binary.
            if path.file_name().is_some_and(|name| name == "tests" || name == "target") {
                continue;
            }
            if let Some(found) = newer_than(&path, time) {
                return Some(found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
            && entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|at| at > time)
        {
            return Some(path);
        }
    }
    None
}

/// Reads lines until the output ends.
fn follow(
    output: impl std::io::Read + Send + 'static,
    log: Arc<Mutex<Vec<String>>>,
    mut also: impl FnMut(&str) + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            lock(&log).push(line.clone());
            also(&line);
        }
    });
}

fn lock(log: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! The servers that are measured, and how each is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::cores::Cores;
use crate::dialect::Dialect;
use crate::load::{Api, Load};
use crate::server::Server;

/// The name of the floor, to which all are compared.
pub const FLOOR: &str = "floor";
/// The name of what is measured.
pub const OURS: &str = "pushcluster";

/// The name of the same with one thread for its clients.
pub const ONE_SHARD: &str = "pushcluster-one-shard";

/// A server to measure.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name in tables.
    pub name: String,
    /// Its version, and of what it runs on.
    pub version: String,
    /// Its program with arguments.
    command: Vec<PathBuf>,
    dialect: Dialect,
    kind: Kind,
    cores: Cores,
}

/// How it is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Gateway,
    Data,
    Message,
}

/// What `tests/bench/peers/build` says of one that it has built.
#[derive(Deserialize)]
struct Built {
    name: String,
    version: String,
    command: Vec<PathBuf>,
    dialect: String,
}

// === impl Contender ===

impl Contender {
    /// The floor program, which is built beside this one.
    ///
    /// # Errors
    ///
    /// When it isn't there.
    pub fn floor() -> anyhow::Result<Self> {
        Ok(Self {
            name: FLOOR.to_owned(),
            version: String::new(),
            command: vec![beside("floor")?],
            dialect: Dialect::Bare,
            kind: Kind::Message,
            cores: Cores::default(),
        })
    }

    /// The built gateway: the program named, or the one beside this one.
    ///
    /// # Errors
    ///
    /// When it isn't there.
    pub fn gateway(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = named.map_or_else(|| beside("push-gateway"), Ok)?;
        let output = Command::new(&path).arg("--version").output();
        let output = output.with_context(|| format!("{} does not run", path.display()))?;
        let version = String::from_utf8_lossy(&output.stdout);
        Ok(Self {
            name: OURS.to_owned(),
            version: version.split_whitespace().last().unwrap_or_default().to_owned(),
            command: vec![path],
            dialect: Dialect::SocketIo { join: "push:subscribe" },
            kind: Kind::Gateway,
            cores: Cores::default(),
        })
    }

    /// The same gateway with one thread for its clients, as the floor has.
    #[must_use]
    pub fn with_one_shard(&self) -> Self {
        let command = ["env", "PUSH_CLIENT_SHARDS=1"].map(PathBuf::from).into_iter();
        Self {
            name: ONE_SHARD.to_owned(),
            command: command.chain(self.command.iter().cloned()).collect(),
            ..self.clone()
        }
    }

    /// The same with the server, and whoever starts it, on these cores.
    #[must_use]
    pub fn on(self, cores: Cores) -> Self {
        Self { cores, ..self }
    }

    /// The peers that were built: one JSON object a line.
    ///
    /// # Errors
    ///
    /// When the list is not what `peers/build` writes.
    pub fn peers(list: &Path) -> anyhow::Result<Vec<Self>> {
        let text = std::fs::read_to_string(list)
            .with_context(|| format!("{}: run tests/bench/run", list.display()))?;
        text.lines().filter(|line| !line.is_empty()).map(Self::peer).collect()
    }

    fn peer(line: &str) -> anyhow::Result<Self> {
        let built: Built = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let (dialect, kind) = match built.dialect.as_str() {
            "bare" => (Dialect::Bare, Kind::Message),
            "socketio" => (Dialect::SocketIo { join: "join" }, Kind::Data),
            "centrifuge" => (Dialect::Centrifuge, Kind::Data),
            other => anyhow::bail!("{}: no dialect is named {other}", built.name),
        };
        ensure!(!built.command.is_empty(), "{}: no command", built.name);
        let Built { name, version, command, .. } = built;
        Ok(Self { name, version, command, dialect, kind, cores: Cores::default() })
    }

    /// Whether it is the gateway.
    pub fn is_ours(&self) -> bool {
        self.name == OURS
    }

    /// Starts it; what it is told is for the gateway alone: YAML.
    ///
    /// # Errors
    ///
    /// When it doesn't start.
    pub fn start(&self, config: &str) -> anyhow::Result<Server> {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().context("no command")?);
        command.args(words);
        if self.kind != Kind::Gateway {
            return Server::start(&command, self.cores);
        }
        let file = std::env::temp_dir().join(format!("pushcluster-bench-{}", std::process::id()));
        std::fs::write(&file, config)?;
        command.arg("--config").arg(&file);
        for listener in ["client", "api", "admin"] {
            command.arg(format!("--{listener}-listen")).arg("127.0.0.1:0");
        }
        Ok(Server::start(&command, self.cores)?.with_scratch(file))
    }

    /// Clients and publishers for it, in its own language.
    ///
    /// # Errors
    ///
    /// When the system gives no epoll.
    pub fn load(&self, server: &Server) -> anyhow::Result<Load> {
        self.speak(self.dialect, server)
    }

    /// The same in another of its languages.
    ///
    /// # Errors
    ///
    /// When the system gives no epoll.
    pub fn speak(&self, dialect: Dialect, server: &Server) -> anyhow::Result<Load> {
        Load::new(dialect, server.client, self.kind.api(server.api))
    }
}

// === impl Kind ===

impl Kind {
    fn api(self, address: SocketAddr) -> Api {
        match self {
            Self::Gateway => Api::Gateway(address),
            Self::Data => Api::Data(address),
            Self::Message => Api::Message(address),
        }
    }
}

/// A program in the folder of this one.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("a running program has a path")?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "{} is not there: run tests/bench/run", path.display());
    Ok(path)
}

//! A real API server without nodes: etcd, kube-apiserver and
//! kube-controller-manager on free ports. Objects are made, changed and
//! collected as in production; pods stay pending.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod operator;
pub mod rights;
mod runner;

pub use operator::Operator;
pub use runner::{Suite, Test};

/// Longest wait for a server to answer, or for the operator to act.
const PATIENCE: Duration = Duration::from_mins(1);

/// The controllers that most tests need; the fewer, the sooner it is up.
pub const CONTROLLERS: &str = "garbage-collector-controller,deployment-controller,replicaset-controller,statefulset-controller,namespace-controller,disruption-controller";

/// A Kubernetes without nodes. It ends with its value.
pub struct ApiServer {
    programs: PathBuf,
    folder: PathBuf,
    children: Vec<Child>,
    kubeconfig: PathBuf,
    server: String,
}

/// What a `kubectl` has said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub ok: bool,
    /// Its output.
    pub out: String,
    /// Its errors.
    pub err: String,
}

/// The folder with the multi-call binary's names: `PUSHCLUSTER_KUBERNETES`
/// (the binary or its folder), or the one that `tests/cluster` has built.
fn programs() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PUSHCLUSTER_KUBERNETES") {
        let path = PathBuf::from(path);
        return if path.is_dir() { Some(path) } else { path.parent().map(Path::to_path_buf) };
    }
    let cache = std::env::var_os("PUSHCLUSTER_CACHE").map_or_else(
        || Some(Path::new(&std::env::var_os("HOME")?).join(".cache/pushcluster")),
        |cache| Some(PathBuf::from(cache)),
    )?;
    // Of several, the one that was built last.
    std::fs::read_dir(cache)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("kubectl").exists() && path.join("kube-apiserver").exists())
        .max_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// A program that ends with this one, however this one ends: a run that is
/// killed leaves no API server behind. To be started by a thread that stays.
fn tethered(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === impl ApiServer ===

impl ApiServer {
    /// Starts one; none where there is no binary, which is said on stderr.
    pub fn start(controllers: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!(
                "no Kubernetes to test with: run tests/cluster/cluster build, or set PUSHCLUSTER_KUBERNETES to its binary"
            );
            return None;
        };
        let folder = std::env::temp_dir().join(format!("push-kubernetes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let kubeconfig = folder.join("admin.conf");
        let port = free_port();
        let server = format!("https://127.0.0.1:{port}");
        let mut it = Self { programs, folder, children: Vec::new(), kubeconfig, server };
        it.start_parts(port, controllers);
        Some(it)
    }

    fn start_parts(&mut self, port: u16, controllers: &str) {
        let folder = self.folder.clone();
        let file = |name: &str| folder.join(name).display().to_string();
        std::fs::write(
            self.folder.join("tokens.csv"),
            "admin,admin,1,\"system:masters\"\noperator,operator,2\n",
        )
        .unwrap();
        let key = Command::new("openssl")
            .args(["genrsa", "-out", &file("accounts.key"), "2048"])
            .stderr(Stdio::null())
            .status();
        assert!(key.is_ok_and(|status| status.success()), "openssl is needed to make a key");
        let (etcd, peer) = (free_port(), free_port());
        let etcd = format!("http://127.0.0.1:{etcd}");
        let peer = format!("http://127.0.0.1:{peer}");
        self.spawn(
            "etcd",
            &[
                format!("--data-dir={}", file("etcd")),
                "--unsafe-no-fsync".to_owned(),
                format!("--listen-client-urls={etcd}"),
                format!("--advertise-client-urls={etcd}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
            ],
        );
        self.spawn(
            "kube-apiserver",
            &[
                format!("--etcd-servers={etcd}"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={port}"),
                format!("--cert-dir={}", file("certificates")),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", file("accounts.key")),
                format!("--service-account-signing-key-file={}", file("accounts.key")),
                format!("--token-auth-file={}", file("tokens.csv")),
                "--authorization-mode=RBAC".to_owned(),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--disable-admission-plugins=ServiceAccount".to_owned(),
                // Some platforms turn it on; it asks for a right of its own.
                "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned(),
                format!("--audit-policy-file={}", self.audit_policy().display()),
                format!("--audit-log-path={}", self.audit_log().display()),
            ],
        );
        self.write_kubeconfig("admin");
        self.write_kubeconfig("operator");
        let deadline = Instant::now() + PATIENCE;
        while !self.kubectl(&["get", "--raw", "/readyz"]).ok {
            assert!(Instant::now() < deadline, "the API server does not answer:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
        self.spawn(
            "kube-controller-manager",
            &[
                format!("--kubeconfig={}", self.kubeconfig.display()),
                "--leader-elect=false".to_owned(),
                format!("--service-account-private-key-file={}", file("accounts.key")),
                "--secure-port=0".to_owned(),
                format!("--controllers={controllers}"),
            ],
        );
    }

    fn spawn(&mut self, program: &str, args: &[String]) {
        let log = std::fs::File::create(self.folder.join(format!("{program}.log"))).unwrap();
        let child = tethered(&self.programs.join(program))
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        self.children.push(child);
    }

    fn write_kubeconfig(&self, user: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts: [{{name: test, context: {{cluster: test, user: test}}}}]\nclusters: [{{name: test, cluster: {{server: \"{}\", certificate-authority: \"{}\"}}}}]\nusers: [{{name: test, user: {{token: {user}}}}}]\n",
            self.server,
            self.folder.join("certificates/apiserver.crt").display(),
        );
        std::fs::write(self.kubeconfig(user), text).unwrap();
    }

    /// The settings by which `admin` or `operator` reaches it. The operator's
    /// user may do nothing until a role says so.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.conf"))
    }

    /// Every request of the operator's user, one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    fn audit_policy(&self) -> PathBuf {
        let path = self.folder.join("audit.yaml");
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\nrules: [{level: Metadata, users: [operator]}, {level: None}]\n";
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What its parts have logged last.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            let log = std::fs::read_to_string(self.folder.join(format!("{program}.log")));
            let log = log.unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(5)..].join("\n");
            let _ = writeln!(all, "{program}:\n{last}");
        }
        all
    }

    /// Runs `kubectl` as `admin`.
    pub fn kubectl(&self, args: &[&str]) -> Said {
        self.kubectl_with(args, "")
    }

    /// The same with something on its input.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Said {
        let mut child = Command::new(self.programs.join("kubectl"))
            .env("KUBECONFIG", self.kubeconfig("admin"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        // It may end without reading all of it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Said {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same where only success will do.
    pub fn must(&self, args: &[&str]) -> String {
        self.must_with(args, "")
    }

    /// The same with something on its input.
    pub fn must_with(&self, args: &[&str], input: &str) -> String {
        let said = self.kubectl_with(args, input);
        assert!(said.ok, "kubectl {}: {}\n{input}", args.join(" "), said.err);
        said.out
    }

    /// Applies manifests in a namespace.
    pub fn apply(&self, namespace: &str, manifests: &str) {
        self.must_with(&["apply", "-n", namespace, "-f", "-"], manifests);
    }

    /// An object, if it is there: `get("shop", "deployment/live")`.
    pub fn get(&self, namespace: &str, object: &str) -> Option<Value> {
        let said = self.kubectl(&["get", "-n", namespace, object, "-o", "json"]);
        said.ok.then(|| serde_json::from_str(&said.out).unwrap())
    }

    /// A new namespace.
    pub fn namespace(&self, name: &str) {
        self.must(&["create", "namespace", name]);
    }

    /// Asks again and again until the answer is there.
    ///
    /// # Panics
    ///
    /// After a minute, naming what was waited for.
    pub fn eventually<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A condition of a `PushCluster`: status, reason, message.
    pub fn condition(
        &self,
        namespace: &str,
        name: &str,
        kind: &str,
    ) -> Option<(String, String, String)> {
        let cluster = self.get(namespace, &format!("pushcluster/{name}"))?;
        let all = cluster["status"]["conditions"].as_array()?.clone();
        let one = all.iter().find(|one| one["type"] == kind)?;
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

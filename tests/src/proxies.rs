//! HAProxy and nginx from Debian in front of a gateway.
//!
//! Each reaches the gateway from an address of its own, [`PROXY`], so that it
//! shows whose address the gateway takes for the client's.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::scratch;
use crate::patience::PATIENCE;

/// Where proxies connect from. All of 127.0.0.0/8 is loopback.
pub const PROXY: &str = "127.0.0.9";

/// A running proxy. It ends when this is dropped.
pub struct Proxy {
    child: Child,
    port: u16,
    folder: PathBuf,
}

// === impl Proxy ===

impl Proxy {
    /// HAProxy; `listen` is what its section holds but the address: the mode
    /// and the server, of which `SERVER` is replaced.
    ///
    /// # Panics
    ///
    /// When it doesn't start.
    pub fn haproxy(gateway: &str, listen: &str) -> Self {
        let text = |port: u16, _: &str| {
            let listen = listen.replace("SERVER", &format!("server g {gateway} source {PROXY}"));
            format!(
                "global\n  maxconn 200\ndefaults\n  timeout connect 5s\n  timeout client 2s\n  \
                 timeout server 2s\nlisten l\n  bind 127.0.0.1:{port}\n  {listen}\n"
            )
        };
        Self::start(text, |file| {
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(file);
            command
        })
    }

    /// nginx; `section` is `http` or `stream` with what it holds. `LISTEN`
    /// and `GATEWAY` are replaced.
    ///
    /// # Panics
    ///
    /// When it doesn't start.
    pub fn nginx(gateway: &str, section: &str) -> Self {
        let text = |port: u16, folder: &str| {
            let section = section
                .replace("LISTEN", &format!("listen 127.0.0.1:{port}; proxy_bind {PROXY};"))
                .replace("GATEWAY", gateway)
                .replace("FOLDER", folder);
            format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
                 daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;\n\
                 events {{}}\n{section}\n"
            )
        };
        Self::start(text, |file| {
            let mut command = Command::new("nginx");
            command.arg("-c").arg(file);
            command
        })
    }

    fn start(
        text: impl Fn(u16, &str) -> String,
        command: impl Fn(&std::path::Path) -> Command,
    ) -> Self {
        let folder = scratch("proxy");
        std::fs::create_dir_all(&folder).expect("the scratch folder is writable");
        // It can't say which free port it got, so it is told one.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("a bound socket has one").port();
        drop(free);
        let file = folder.join("conf");
        let text = text(port, &folder.display().to_string());
        std::fs::write(&file, text).expect("the scratch folder is writable");
        let child = command(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("HAProxy and nginx are installed: `tests/run suites` sees to it");
        let mut proxy = Self { child, port, folder };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = proxy.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "the proxy ended at once: {ended:?}");
            assert!(Instant::now() < until, "the proxy doesn't listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    /// What its URLs begin with.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

//! What the official conformance suites expect of a server.

use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::publication::{Args, Value};
use gateway::server::Running;
use gateway::upstream::{ClientEvent, ClientInfo, Emit, Reply, Upstream};
use gateway_config::Config;
use tokio::sync::oneshot;

/// The port that the suites connect to.
pub const PORT: u16 = 3000;

/// The suites' settings: pings every 300 ms, recovery off. Port 0: a free one.
pub fn config(path: &str, port: u16) -> anyhow::Result<Config> {
    let flags = [
        ("client-listen", format!("127.0.0.1:{port}")),
        ("api-listen", "127.0.0.1:0".to_owned()),
        ("admin-listen", "127.0.0.1:0".to_owned()),
        ("socketio-path", path.to_owned()),
        ("socketio-ping-interval", "300ms".to_owned()),
        ("socketio-ping-timeout", "200ms".to_owned()),
        ("socketio-connect-timeout", "1s".to_owned()),
        ("socketio-namespaces", "/,/custom".to_owned()),
        ("socketio-recovery", "off".to_owned()),
    ];
    let flags = flags.map(|(name, value)| (name.to_owned(), value));
    Ok(gateway_config::load(None, std::iter::empty(), &flags)?)
}

/// Says where it listens, as the gateway does.
pub fn announce(running: &Running) {
    println!("client  http://{}", running.client);
}

/// `message` comes back as `message-back`, `message-with-ack` is
/// acknowledged with its arguments, and the handshake's payload is sent as
/// `auth`. For the project's own suite also: `ask`, which asks the client a
/// `question` and hands its ack on, and `panic`.
#[derive(Default)]
pub struct Handlers {
    /// Who gets the answers to `question`.
    pub answers: Option<SyncSender<Args>>,
}

impl Upstream for Handlers {
    fn connected(&self, _: &ClientInfo, auth: &Bytes) -> Vec<Emit> {
        vec![emit("auth", Args::from_iter([Value::Json(auth.clone())]))]
    }

    fn event(&self, event: ClientEvent) -> BoxFuture<'static, Reply> {
        assert!(event.name != "panic", "a handler that panics, as a test asks for");
        let mut reply = Reply::default();
        match event.name.as_str() {
            "message" => reply.emits.push(emit("message-back", event.args)),
            "message-with-ack" => reply.ack = Some(event.args),
            "ask" => {
                let (ack, answer) = oneshot::channel();
                let args = event.args;
                reply.emits.push(Emit { event: "question".to_owned(), args, ack: Some(ack) });
                if let Some(answers) = self.answers.clone() {
                    // Ends with the client's answer, or with the client.
                    std::thread::spawn(move || {
                        if let Ok(args) = answer.blocking_recv() {
                            let _ = answers.send(args);
                        }
                    });
                }
            }
            _ => {}
        }
        Box::pin(std::future::ready(reply))
    }
}

fn emit(event: &str, args: Args) -> Emit {
    Emit { event: event.to_owned(), args, ack: None }
}

//! What the official conformance suites expect of a server.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::publication::{Args, Value};
use gateway::server::Running;
use gateway::upstream::{ClientEvent, ClientInfo, Emit, Reply, Upstream};
use gateway_config::Config;

/// The suites' settings: port 3000 (`CONFORMANCE_PORT` says otherwise),
/// pings every 300 ms, recovery off.
pub fn config(path: &str) -> anyhow::Result<Config> {
    let port = std::env::vars().find(|(name, _)| name == "CONFORMANCE_PORT");
    let port = port.map_or_else(|| "3000".to_owned(), |(_, port)| port);
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
/// `auth`. For the project's own suite also: `ask`, which wants an ack and
/// sends it back as `answered`, and `panic`.
pub struct Handlers;

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
            _ => {}
        }
        Box::pin(std::future::ready(reply))
    }
}

fn emit(event: &str, args: Args) -> Emit {
    Emit { event: event.to_owned(), args, ack: None }
}

//! The Engine.IO polling transport, one request at a time.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::Gateway;
use crate::http::{NoReply, Reply, get, post, request, send, try_send, until_closed};
use crate::websocket::WebSocket;

/// Between two packets of a polling payload (Engine.IO 4, "payload encoding").
pub const SEPARATOR: char = '\x1e';

/// One session's polling side.
#[derive(Clone, Debug)]
pub struct Polling {
    /// The URL with its `sid`.
    pub url: String,
    /// The session's id.
    pub sid: String,
    /// The whole handshake.
    pub handshake: Value,
}

/// A poll that waits for its answer. Dropped, it is a cancelled one.
pub struct PendingPoll(TcpStream);

/// How long the gateway gets to read what lies in its socket.
const SETTLE: Duration = Duration::from_millis(200);

/// The Socket.IO endpoint of a gateway for one transport, without a `sid`.
pub fn endpoint(gateway: &Gateway, transport: &str) -> String {
    endpoint_at(gateway.client(), transport)
}

/// The same of any client listener: `http://HOST:PORT`.
pub fn endpoint_at(base: &str, transport: &str) -> String {
    let base = if transport == "websocket" { base.replacen("http", "ws", 1) } else { base.into() };
    format!("{base}/socket.io/?EIO=4&transport={transport}")
}

/// A WebSocket session, past the Engine.IO handshake.
///
/// # Panics
///
/// When it is not answered as the protocol says.
pub async fn open(gateway: &Gateway) -> WebSocket {
    let mut socket = WebSocket::connect(&endpoint(gateway, "websocket")).await;
    assert!(socket.text().await.starts_with("0{"));
    socket
}

/// The same with the main namespace joined.
///
/// # Panics
///
/// When it is refused.
pub async fn joined(gateway: &Gateway) -> WebSocket {
    let mut socket = open(gateway).await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
    socket
}

// === impl PendingPoll ===

impl PendingPoll {
    /// Status and body.
    ///
    /// # Panics
    ///
    /// When no answer comes.
    pub async fn answer(mut self) -> (u16, String) {
        let bytes = until_closed(&mut self.0).await;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {text:?}")), body.to_owned())
    }
}

// === impl Polling ===

impl Polling {
    /// Opens a session.
    ///
    /// # Panics
    ///
    /// When the handshake isn't one.
    pub async fn open(gateway: &Gateway) -> Self {
        Self::open_at(&endpoint(gateway, "polling")).await
    }

    /// Opens a session at a URL that has `EIO` and `transport` already.
    ///
    /// # Panics
    ///
    /// When the handshake isn't one.
    pub async fn open_at(url: &str) -> Self {
        let reply = get(url).await;
        assert_eq!(reply.status, 200, "handshake: {}", reply.text());
        let json = reply.text().strip_prefix('0').unwrap_or_default();
        let handshake: Value = serde_json::from_str(json)
            .unwrap_or_else(|error| panic!("handshake {:?}: {error}", reply.text()));
        let sid = handshake["sid"].as_str().unwrap_or_default().to_owned();
        Self { url: format!("{url}&sid={sid}"), sid, handshake }
    }

    /// Opens a session and joins the main namespace.
    ///
    /// # Panics
    ///
    /// When either is refused.
    pub async fn joined(gateway: &Gateway) -> Self {
        let session = Self::open(gateway).await;
        assert_eq!(session.post("40").await.text(), "ok");
        let answer = session.get().await;
        assert!(answer.text().starts_with("40{"), "CONNECT was answered {:?}", answer.text());
        session
    }

    /// One poll.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub async fn get(&self) -> Reply {
        get(&self.url).await
    }

    /// The same, where the connection may just end.
    pub async fn try_get(&self) -> Result<Reply, NoReply> {
        try_send(request("GET", &self.url)).await
    }

    /// The packets of one poll.
    ///
    /// # Panics
    ///
    /// When the answer isn't 200.
    pub async fn packets(&self) -> Vec<String> {
        let reply = self.get().await;
        assert_eq!(reply.status, 200, "poll: {}", reply.text());
        reply.text().split(SEPARATOR).map(str::to_owned).collect()
    }

    /// Begins a poll: when this returns, the request is with the gateway.
    ///
    /// # Panics
    ///
    /// When the gateway doesn't accept.
    pub async fn begin_poll(&self) -> PendingPoll {
        let (address, path) = self.place();
        let mut socket = TcpStream::connect(address).await.expect("the listener accepts");
        let head = format!("GET /{path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.expect("the connection takes a request");
        // The bytes are in the gateway's socket; let it read them.
        tokio::time::sleep(SETTLE).await;
        PendingPoll(socket)
    }

    /// Begins a POST of ten bytes: its head and the first three, `42[`.
    ///
    /// # Panics
    ///
    /// When the gateway doesn't accept.
    pub async fn begin_post(&self) -> TcpStream {
        let (address, path) = self.place();
        let mut socket = TcpStream::connect(address).await.expect("the listener accepts");
        let head =
            format!("POST /{path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 10\r\n\r\n42[");
        socket.write_all(head.as_bytes()).await.expect("the connection takes a request");
        tokio::time::sleep(SETTLE).await;
        socket
    }

    /// Host and port, and the path without its first `/`.
    fn place(&self) -> (&str, &str) {
        self.url.trim_start_matches("http://").split_once('/').expect("a URL with a path")
    }

    /// One POST with a body as it is.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub async fn post(&self, body: impl Into<reqwest::Body>) -> Reply {
        post(&self.url, body).await
    }

    /// The same, where the connection may just end.
    pub async fn try_post(&self, body: impl Into<reqwest::Body>) -> Result<Reply, NoReply> {
        try_send(request("POST", &self.url).body(body)).await
    }

    /// One request with another method.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub async fn with_method(&self, method: &str) -> Reply {
        send(request(method, &self.url)).await
    }

    /// Whether the gateway no longer knows the session. Not while a POST is
    /// under way: two at once are an end, too.
    pub async fn is_gone(&self) -> bool {
        // A noop, which a live session takes and ignores.
        let reply = self.post("6").await;
        reply.status == 400 && reply.json()["code"] == 1
    }

    /// Polls until the session's end: a close packet, or that it is unknown.
    ///
    /// # Panics
    ///
    /// When it goes on, or the end is another one.
    pub async fn ended(&self) {
        loop {
            let reply = self.get().await;
            if reply.status == 200 {
                if reply.text().split(SEPARATOR).next_back() != Some("1") {
                    continue;
                }
                let reply = self.get().await;
                assert_eq!(reply.json()["code"], 1, "after a close packet");
            } else {
                assert_eq!(reply.json()["code"], 1, "{}", reply.text());
            }
            return;
        }
    }

    /// The WebSocket that offers to take the session over.
    ///
    /// # Panics
    ///
    /// When the handshake is refused.
    pub async fn websocket(&self) -> WebSocket {
        WebSocket::connect(&self.websocket_url()).await
    }

    /// The URL for it.
    pub fn websocket_url(&self) -> String {
        self.url.replacen("http", "ws", 1).replacen("transport=polling", "transport=websocket", 1)
    }
}

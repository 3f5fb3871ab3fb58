//! A Socket.IO client over either transport, as small as a test needs.
//!
//! # Layout
//!
//! - `packet`: Socket.IO's packets, read

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::Gateway;
use crate::engineio::{Polling, SEPARATOR, endpoint_at};
use crate::patience::patiently;
use crate::websocket::{Frame, WebSocket};

mod packet;

use packet::{Packet, fill};

/// Which way packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

/// A connection to one namespace.
pub struct Socket {
    link: Link,
    namespace: String,
    next_ack: u64,
    /// Packets that came while another was awaited.
    waiting: VecDeque<Packet>,
    /// CONNECT's answer: `{sid, pid}`.
    pub connected: Value,
    /// What the official client would remember: the last argument of the last
    /// event without an ack id, when it is a string.
    pub offset: Option<String>,
}

/// An event as a handler would get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its arguments; binary ones as `{"_binary": [bytes…]}`.
    pub args: Vec<Value>,
}

/// An open transport.
enum Link {
    Polling { session: Polling, read: VecDeque<String> },
    WebSocket(Box<WebSocket>),
}

/// An Engine.IO message, or the end.
enum Message {
    Text(String),
    Binary(Vec<u8>),
    Closed,
}

// === impl Transport ===

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Polling, Self::WebSocket];
}

// === impl Socket ===

impl Socket {
    /// Connects to the main namespace without a token.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn connect(gateway: &Gateway, transport: Transport) -> Self {
        Self::join(gateway, transport, "/", None)
            .await
            .unwrap_or_else(|error| panic!("CONNECT_ERROR {error}"))
    }

    /// Connects to a namespace with an auth payload; what `CONNECT_ERROR` says,
    /// when it is refused.
    ///
    /// # Panics
    ///
    /// When neither comes.
    pub async fn join(
        gateway: &Gateway,
        transport: Transport,
        namespace: &str,
        auth: Option<&Value>,
    ) -> Result<Self, Value> {
        Self::join_at(gateway, transport, namespace, auth, "").await
    }

    /// The same with more of a query, such as `&recovery=0`.
    ///
    /// # Panics
    ///
    /// When neither comes.
    pub async fn join_at(
        gateway: &Gateway,
        transport: Transport,
        namespace: &str,
        auth: Option<&Value>,
        query: &str,
    ) -> Result<Self, Value> {
        Self::join_url(gateway.client(), transport, namespace, auth, query).await
    }

    /// The same at any client listener: `http://HOST:PORT`.
    ///
    /// # Panics
    ///
    /// When neither comes.
    pub async fn join_url(
        base: &str,
        transport: Transport,
        namespace: &str,
        auth: Option<&Value>,
        query: &str,
    ) -> Result<Self, Value> {
        let mut link = Link::open(base, transport, query).await;
        let auth = auth.map(Value::to_string).unwrap_or_default();
        let place = if namespace == "/" { String::new() } else { format!("{namespace},") };
        link.send(&format!("40{place}{auth}")).await;
        let mut socket = Self {
            link,
            namespace: namespace.to_owned(),
            next_ack: 0,
            waiting: VecDeque::new(),
            connected: Value::Null,
            offset: None,
        };
        let answer = patiently("the answer to CONNECT", socket.packet()).await;
        match answer {
            Some(Packet { kind: b'0', data, .. }) => {
                socket.connected = data;
                Ok(socket)
            }
            Some(Packet { kind: b'4', data, .. }) => Err(data),
            other => panic!("CONNECT was answered {other:?}"),
        }
    }

    /// The socket's id.
    pub fn sid(&self) -> &str {
        self.connected["sid"].as_str().unwrap_or_default()
    }

    /// The private id that restores it; empty without recovery.
    pub fn pid(&self) -> &str {
        self.connected["pid"].as_str().unwrap_or_default()
    }

    /// What an official client would send to be restored.
    pub fn credentials(&self) -> Value {
        match &self.offset {
            Some(offset) => json!({"pid": self.pid(), "offset": offset}),
            None => json!({"pid": self.pid()}),
        }
    }

    /// Emits an event without asking for an ack.
    pub async fn emit(&mut self, event: &str, args: &[Value]) {
        let packet = self.event_packet(event, args, None);
        self.link.send(&packet).await;
    }

    /// Emits an event and waits for its ack's first argument.
    ///
    /// # Panics
    ///
    /// When no ack comes, or the connection ends.
    pub async fn call(&mut self, event: &str, args: &[Value]) -> Value {
        let id = self.next_ack;
        self.next_ack += 1;
        let packet = self.event_packet(event, args, Some(id));
        self.link.send(&packet).await;
        patiently(&format!("the ack of {event}"), async {
            loop {
                match self.packet().await {
                    Some(Packet { kind: b'3', id: Some(acked), data, .. }) if acked == id => {
                        return data[0].clone();
                    }
                    Some(other) => self.waiting.push_back(other),
                    None => panic!("the connection ended before the ack of {event}"),
                }
            }
        })
        .await
    }

    /// Subscribes; the ack, which must say `ok`.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn subscribe(&mut self, channel: impl Into<Value>) -> Value {
        let channel = channel.into();
        let ack = self.call("push:subscribe", std::slice::from_ref(&channel)).await;
        assert_eq!(ack["ok"], true, "push:subscribe {channel}: {ack}");
        ack
    }

    /// The next event; acks are skipped.
    ///
    /// # Panics
    ///
    /// When none comes, or the connection ends.
    pub async fn event(&mut self) -> Event {
        patiently("an event", self.listen()).await
    }

    /// The next event that is not a notice (`push:…`).
    ///
    /// # Panics
    ///
    /// When none comes, or the connection ends.
    pub async fn app_event(&mut self) -> Event {
        patiently("an event", async {
            loop {
                let event = self.listen().await;
                if !event.name.starts_with("push:") {
                    return event;
                }
            }
        })
        .await
    }

    /// The first argument of the next event of this name; others are skipped.
    ///
    /// # Panics
    ///
    /// When none comes, or the connection ends.
    pub async fn notice(&mut self, name: &str) -> Value {
        patiently(name, async {
            loop {
                let mut event = self.listen().await;
                if event.name == name {
                    return event.args.swap_remove(0);
                }
            }
        })
        .await
    }

    /// The next event, without a limit of time. Dropping the future loses what
    /// is read; over polling it ends the session.
    ///
    /// # Panics
    ///
    /// When the connection ends.
    pub async fn listen(&mut self) -> Event {
        self.next_event().await.expect("the connection stays open")
    }

    /// The same; nothing when the connection ends.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            let packet = match self.waiting.pop_front() {
                Some(packet) => packet,
                None => self.packet().await?,
            };
            if packet.kind != b'2' {
                continue;
            }
            let Value::Array(mut args) = packet.data else { continue };
            let name = args.remove(0).as_str().unwrap_or_default().to_owned();
            // socket.io-client, `Socket.emitEvent`: of events without an ack
            // id, in a session with a `pid`, the last string is the offset;
            // the name counts as the first argument.
            let last = args.last().map_or(Some(name.as_str()), Value::as_str);
            if packet.id.is_none()
                && !self.pid().is_empty()
                && let Some(last) = last
            {
                self.offset = Some(last.to_owned());
            }
            return Some(Event { name, args });
        }
    }

    /// Waits for the transport's end.
    ///
    /// # Panics
    ///
    /// When it stays open.
    pub async fn closed(&mut self) {
        patiently("the connection's end", async { while self.packet().await.is_some() {} }).await;
    }

    /// Sends an Engine.IO message as it is: what follows the `4`.
    pub async fn send_raw(&mut self, packet: &str) {
        self.link.send(&format!("4{packet}")).await;
    }

    /// Sends a binary attachment.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.link.send_binary(bytes).await;
    }

    /// Enters another namespace on the same engine, and waits until it is let
    /// in: what was sent before has been read by then.
    ///
    /// # Panics
    ///
    /// When the connection ends before.
    pub async fn enter(&mut self, namespace: &str) {
        self.send_raw(&format!("0{namespace},")).await;
        patiently("the other namespace", async {
            loop {
                let packet = self.packet().await.expect("the connection stays open");
                if packet.kind == b'0' && packet.namespace == namespace {
                    break;
                }
            }
        })
        .await;
    }

    /// Leaves the namespace, as `socket.disconnect()` does. That it was read
    /// is not waited for.
    pub async fn disconnect(&mut self) {
        let place = self.place();
        self.link.send(&format!("41{place}")).await;
    }

    /// Ends the transport as a lost network would: nothing is said.
    pub fn cut(self) {
        drop(self);
    }

    /// Ends the transport as `socket.io.engine.close()` does: the session may
    /// come back.
    pub async fn close_engine(self) {
        match self.link {
            Link::Polling { session, .. } => {
                let _ = session.try_post("1").await;
            }
            Link::WebSocket(mut socket) => {
                socket.send_message(tokio_tungstenite::tungstenite::Message::Close(None)).await;
                socket.closed().await;
            }
        }
    }

    fn place(&self) -> String {
        if self.namespace == "/" { String::new() } else { format!("{},", self.namespace) }
    }

    fn event_packet(&self, event: &str, args: &[Value], id: Option<u64>) -> String {
        let mut array = vec![Value::from(event)];
        array.extend_from_slice(args);
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        format!("42{}{id}{}", self.place(), Value::Array(array))
    }

    /// The next packet with its attachments; none at the end.
    async fn packet(&mut self) -> Option<Packet> {
        let text = match self.link.next().await {
            Message::Text(text) => text,
            Message::Binary(_) => panic!("an attachment without its packet"),
            Message::Closed => return None,
        };
        let (mut packet, attachments) = Packet::parse(&text);
        let mut binaries = Vec::new();
        for _ in 0..attachments {
            match self.link.next().await {
                Message::Binary(bytes) => binaries.push(bytes),
                _ => panic!("an attachment of {text} is missing"),
            }
        }
        fill(&mut packet.data, &binaries);
        Some(packet)
    }
}

// === impl Link ===

impl Link {
    async fn open(base: &str, transport: Transport, query: &str) -> Self {
        match transport {
            Transport::Polling => {
                let url = format!("{}{query}", endpoint_at(base, "polling"));
                Self::Polling { session: Polling::open_at(&url).await, read: VecDeque::new() }
            }
            Transport::WebSocket => {
                let url = format!("{}{query}", endpoint_at(base, "websocket"));
                let mut socket = WebSocket::connect(&url).await;
                let open = socket.text().await;
                assert!(open.starts_with('0'), "handshake {open:?}");
                Self::WebSocket(Box::new(socket))
            }
        }
    }

    /// Sends an Engine.IO packet of text.
    async fn send(&mut self, packet: &str) {
        match self {
            Self::Polling { session, .. } => {
                let _ = session.try_post(packet.to_owned()).await;
            }
            Self::WebSocket(socket) => socket.send(packet).await,
        }
    }

    async fn send_binary(&mut self, bytes: &[u8]) {
        use base64::Engine as _;
        match self {
            Self::Polling { session, .. } => {
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                let _ = session.try_post(format!("b{text}")).await;
            }
            Self::WebSocket(socket) => socket.send_binary(bytes).await,
        }
    }

    /// The next message; pings are answered, noops skipped.
    async fn next(&mut self) -> Message {
        use base64::Engine as _;
        loop {
            let packet = match self {
                Self::WebSocket(socket) => match socket.listen().await {
                    Frame::Text(text) => text,
                    Frame::Binary(bytes) => return Message::Binary(bytes),
                    Frame::Closed(_) => return Message::Closed,
                },
                Self::Polling { session, read } => {
                    let Some(packet) = read.pop_front() else {
                        // No answer is an end, too: the gateway was killed.
                        let reply = match session.try_get().await {
                            Ok(reply) if reply.status == 200 => reply,
                            _ => return Message::Closed,
                        };
                        read.extend(reply.text().split(SEPARATOR).map(str::to_owned));
                        continue;
                    };
                    packet
                }
            };
            match packet.as_bytes().first() {
                Some(b'4') => return Message::Text(packet[1..].to_owned()),
                Some(b'b') => {
                    let bytes = base64::engine::general_purpose::STANDARD
                        .decode(&packet[1..])
                        .expect("base64");
                    return Message::Binary(bytes);
                }
                Some(b'2') => self.send("3").await,
                Some(b'1') => return Message::Closed,
                _ => (),
            }
        }
    }
}

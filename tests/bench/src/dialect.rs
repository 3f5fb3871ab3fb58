//! What each server speaks, as its clients see it: how one connects,
//! subscribes and answers pings.
//!
//! A publication's data begins with `@` ([`MARK`]), which occurs nowhere else,
//! so publications are counted alike in whatever wraps them.

use std::net::SocketAddr;

use memchr::memmem;

#[cfg(test)]
mod tests;

/// The first byte of each publication's data.
pub const MARK: u8 = b'@';

/// A server's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A WebSocket without a protocol: the path names the channel.
    Bare,
    /// Socket.IO over a WebSocket, subscribed with this event.
    SocketIo {
        /// The event that subscribes; its only argument is the channel.
        join: &'static str,
    },
    /// The gateway's `/ws`.
    Plain,
    /// The gateway's `/sse`.
    Sse,
    /// Centrifugo's JSON protocol.
    Centrifuge,
}

/// What one client wants.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where it subscribes; with [`Dialect::Bare`] one at most.
    pub channels: Vec<String>,
    /// More of the URL's query: `&recovery=0`.
    pub query: &'static str,
    /// The session that it was before.
    pub resume: Option<Session>,
    /// Whether it notes its session, to resume it later.
    pub notes: bool,
    /// It subscribes and then reads nothing more.
    pub stalls: bool,
}

/// What a Socket.IO client needs to be the same session again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Its private id.
    pub pid: String,
    /// What it saw last.
    pub offset: String,
}

/// What a message means to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing to do.
    Nothing,
    /// Publications, this many.
    Deliveries(u64),
    /// The server is there: say [`Dialect::hello`].
    Opened,
    /// It took the hello: subscribe.
    Connected,
    /// One subscription is in force.
    Subscribed,
    /// To be answered with [`Dialect::pong`].
    Ping,
    /// It says no.
    Refused,
}

// === impl Dialect ===

impl Dialect {
    /// Whether it speaks in WebSocket frames.
    pub fn is_framed(self) -> bool {
        self != Self::Sse
    }

    /// What a client sends first.
    pub fn request(self, address: SocketAddr, plan: &Plan) -> String {
        let path = match self {
            Self::Bare => format!("/{}", plan.channels.first().map_or("", String::as_str)),
            Self::SocketIo { .. } => {
                format!("/socket.io/?EIO=4&transport=websocket{}", plan.query)
            }
            Self::Plain => "/ws".to_owned(),
            Self::Sse => {
                let channels: Vec<_> =
                    plan.channels.iter().map(|name| format!("channel={name}")).collect();
                return format!(
                    "GET /sse?{} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n",
                    channels.join("&")
                );
            }
            Self::Centrifuge => "/connection/websocket".to_owned(),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        )
    }

    /// What the HTTP answer to the request means.
    pub fn upgraded(self) -> Heard {
        match self {
            Self::Bare | Self::Sse => Heard::Subscribed,
            Self::Plain => Heard::Connected,
            // The server speaks first.
            Self::SocketIo { .. } => Heard::Nothing,
            Self::Centrifuge => Heard::Opened,
        }
    }

    /// The message that begins a session.
    pub fn hello(self, plan: &Plan) -> String {
        match (self, &plan.resume) {
            (Self::Centrifuge, _) => r#"{"id":1,"connect":{}}"#.to_owned(),
            (_, None) => "40".to_owned(),
            (_, Some(session)) => {
                format!(r#"40{{"pid":"{}","offset":"{}"}}"#, session.pid, session.offset)
            }
        }
    }

    /// The message that subscribes, to the client's `index`th channel.
    pub fn subscribe(self, index: usize, channel: &str) -> String {
        match self {
            Self::SocketIo { join } => format!(r#"42{index}["{join}","{channel}"]"#),
            Self::Centrifuge => {
                format!(r#"{{"id":{},"subscribe":{{"channel":"{channel}"}}}}"#, index + 2)
            }
            _ => format!(r#"{{"id":{},"subscribe":{{"channel":"{channel}"}}}}"#, index + 1),
        }
    }

    /// The answer to [`Heard::Ping`].
    pub fn pong(self) -> &'static str {
        if self == Self::Centrifuge { "{}" } else { "3" }
    }

    /// What a text message means.
    pub fn hear(self, text: &[u8]) -> Heard {
        let marks = memchr::memchr_iter(MARK, text).count() as u64;
        if marks > 0 {
            return Heard::Deliveries(marks);
        }
        match self {
            Self::SocketIo { .. } => match text {
                [b'0', ..] => Heard::Opened,
                [b'2', ..] => Heard::Ping,
                [b'4', b'0', ..] => Heard::Connected,
                [b'4', b'3', ..] if !is_error(text) => Heard::Subscribed,
                [b'4', b'3' | b'4' | b'1', ..] | [b'1', ..] => Heard::Refused,
                _ => Heard::Nothing,
            },
            Self::Plain | Self::Centrifuge if is_error(text) => Heard::Refused,
            Self::Plain if text.starts_with(br#"{"id""#) => Heard::Subscribed,
            Self::Centrifuge if text == b"{}" => Heard::Ping,
            Self::Centrifuge if text.starts_with(br#"{"id":1,"#) => Heard::Connected,
            Self::Centrifuge if text.starts_with(br#"{"id":"#) => Heard::Subscribed,
            _ => Heard::Nothing,
        }
    }
}

// === impl Session ===

impl Session {
    /// Notes what a Socket.IO message says of the session.
    pub fn note(&mut self, text: &[u8]) {
        let text = std::str::from_utf8(text).unwrap_or_default();
        if let Some((_, rest)) = text.split_once(r#""pid":""#) {
            rest.split('"').next().unwrap_or_default().clone_into(&mut self.pid);
        } else if text.starts_with("42[")
            && let Some(rest) = text.strip_suffix("\"]")
            && let Some((_, offset)) = rest.rsplit_once('"')
        {
            // As the official library: the last argument, when it is a string.
            offset.clone_into(&mut self.offset);
        }
    }
}

fn is_error(text: &[u8]) -> bool {
    memmem::find(text, br#""error""#).is_some()
}

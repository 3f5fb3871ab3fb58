//! One HTTP connection that publishes.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{bail, ensure};

use crate::http::Message;

/// How a server is published to.
#[derive(Clone, Copy, Debug)]
pub enum Api {
    /// `POST /v1/publish` with JSON.
    Gateway(SocketAddr),
    /// `POST /publish/<channel>`, whose body is the data.
    Data(SocketAddr),
    /// The same; the body is a Socket.IO message with the data.
    Message(SocketAddr),
}

/// A connection to it.
pub struct Publisher {
    /// Its socket.
    pub stream: TcpStream,
    partial: Vec<u8>,
}

// === impl Api ===

impl Api {
    /// A request that publishes this data.
    pub fn request(&self, channel: &str, data: &str) -> Vec<u8> {
        match self {
            Self::Gateway(_) => self.post("/v1/publish", &publication(channel, data)),
            Self::Data(_) => self.post(&format!("/publish/{channel}"), data),
            Self::Message(_) => {
                self.post(&format!("/publish/{channel}"), &format!(r#"42["m","{data}"]"#))
            }
        }
    }

    /// A request of the gateway's batch call.
    pub fn batch(&self, channels: impl Iterator<Item = String>, data: &str) -> Vec<u8> {
        let mut body = r#"{"publications":["#.to_owned();
        for (index, channel) in channels.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(body, "{comma}{}", publication(&channel, data));
        }
        body.push_str("]}");
        self.post("/v1/batch", &body)
    }

    fn post(&self, path: &str, body: &str) -> Vec<u8> {
        let kind = if matches!(self, Self::Gateway(_)) { "application/json" } else { "text/plain" };
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address(),
            body.len()
        )
        .into_bytes()
    }

    fn address(&self) -> SocketAddr {
        match *self {
            Self::Gateway(address) | Self::Data(address) | Self::Message(address) => address,
        }
    }
}

fn publication(channel: &str, data: &str) -> String {
    format!(r#"{{"channel":"{channel}","event":"m","data":"{data}"}}"#)
}

// === impl Publisher ===

impl Publisher {
    pub fn connect(api: &Api) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(api.address())?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, partial: Vec::new() })
    }

    /// Sends a request. The one before must be answered.
    pub fn send(&mut self, mut request: &[u8]) -> anyhow::Result<()> {
        while !request.is_empty() {
            match self.stream.write(request) {
                Ok(count) => request = &request[count..],
                // Only a large batch meets a full buffer.
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads; whether the answer is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        let count = match self.stream.read(buffer) {
            Ok(0) => bail!("the API closed a connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.partial.extend_from_slice(&buffer[..count]);
        let Some(answer) = Message::first(&self.partial) else { return Ok(false) };
        ensure!(
            matches!(answer.status(), Some(200 | 204)),
            "a publish was answered: {}",
            String::from_utf8_lossy(&self.partial)
        );
        let length = answer.length;
        self.partial.drain(..length);
        Ok(true)
    }
}

//! A Socket.IO client over a WebSocket that costs so little that thousands
//! fit, and that what is measured is the gateway.

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// An open WebSocket.
pub struct Raw(WebSocketStream<TcpStream>);

/// What CONNECT and a subscribe answered.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The private id, with which the session is recovered.
    pub pid: Option<String>,
    /// The last offset that came.
    pub offset: Option<String>,
}

// === impl Raw ===

impl Raw {
    /// Opens a WebSocket to `host:port`, with more of a query.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn open(address: &str, query: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{query}");
        // A client is small, so that thousands fit.
        let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(0);
        Ok(Self(client_async_with_config(url, stream, Some(config)).await?.0))
    }

    /// Sends one packet.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn send(&mut self, packet: impl Into<String>) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(packet.into())).await?)
    }

    /// The next packet; pings are answered.
    ///
    /// # Errors
    ///
    /// At the connection's end.
    pub async fn next(&mut self) -> anyhow::Result<String> {
        loop {
            let message = self.0.next().await.context("the end")??;
            if !message.is_text() {
                bail!("no text: {message:?}");
            }
            let text = message.into_text()?;
            if text.as_str() == "2" {
                self.send("3").await?;
            } else {
                return Ok(text.to_string());
            }
        }
    }

    /// Joins the main namespace and subscribes.
    ///
    /// # Errors
    ///
    /// When either is refused.
    pub async fn join(&mut self, channels: &[String]) -> anyhow::Result<Joined> {
        self.send("40").await?;
        for channel in channels {
            self.send(format!("420{}", json!(["push:subscribe", channel]))).await?;
        }
        let mut joined = Joined { pid: None, offset: None };
        let (mut connected, mut acks) = (false, 0);
        while !connected || acks < channels.len() {
            let text = self.next().await?;
            if let Some(data) = text.strip_prefix("40") {
                connected = true;
                let data: Value = serde_json::from_str(data)?;
                joined.pid = data["pid"].as_str().map(str::to_owned);
            } else if let Some(data) = text.strip_prefix("42") {
                joined.offset = offset_of(&serde_json::from_str(data)?).or(joined.offset);
            } else if text.starts_with("430") {
                ensure!(text.contains("\"ok\":true"), "{text}");
                acks += 1;
            }
        }
        Ok(joined)
    }
}

/// An event's last argument, when it is a string: what the official client
/// keeps as its place.
pub fn offset_of(event: &Value) -> Option<String> {
    event.as_array()?.get(1..)?.last()?.as_str().map(str::to_owned)
}

//! One WebSocket, frame by frame.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async, connect_async_tls_with_config,
};

use crate::nats::trusts;
use crate::patience::patiently;

/// One WebSocket.
pub struct WebSocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The end: with a close frame's code and reason, or without one.
    Closed(Option<(u16, String)>),
}

/// A handshake that was answered with something else than 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status; 0 when the connection just ended.
    pub status: u16,
    /// The body.
    pub body: String,
}

// === impl WebSocket ===

impl WebSocket {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When the handshake is refused.
    pub async fn connect(url: &str) -> Self {
        match Self::try_connect(url, &[]).await {
            Ok(socket) => socket,
            Err(refused) => panic!("{url}: {refused:?}"),
        }
    }

    /// Connects with headers, where it may be refused.
    pub async fn try_connect(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Refused> {
        let mut request = url.into_client_request().expect("a WebSocket URL");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header's value");
            request.headers_mut().insert(*name, value);
        }
        match patiently("a WebSocket handshake", Box::pin(connect_async(request))).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(response)) => Err(Refused {
                status: response.status().as_u16(),
                body: response
                    .body()
                    .as_deref()
                    .map(String::from_utf8_lossy)
                    .unwrap_or_default()
                    .into_owned(),
            }),
            Err(error) => Err(Refused { status: 0, body: error.to_string() }),
        }
    }

    /// Connects over TLS, trusting the authorities of a file.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn connect_tls(url: &str, ca: &str) -> Self {
        let bundle = std::fs::read_to_string(ca).expect("the authority's certificate");
        let connector = Connector::Rustls(std::sync::Arc::new(trusts(&bundle)));
        let connecting = connect_async_tls_with_config(url, None, true, Some(connector));
        let (stream, _) = patiently("a WebSocket over TLS", Box::pin(connecting))
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        Self(stream)
    }

    /// Sends a text message. That the other side is gone shows when reading.
    pub async fn send(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text)).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        let _ = self.0.send(Message::binary(bytes.to_vec())).await;
    }

    /// Sends any message: pings, closes.
    pub async fn send_message(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// What comes next; pings and pongs of the WebSocket itself are skipped.
    ///
    /// # Panics
    ///
    /// When nothing comes.
    pub async fn next(&mut self) -> Frame {
        patiently("a WebSocket message", self.listen()).await
    }

    /// The same without a limit of time, for use with `quiet`.
    pub async fn listen(&mut self) -> Frame {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Frame::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => return Frame::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(Some(close)))) => {
                    let end = (u16::from(close.code), close.reason.as_str().to_owned());
                    return Frame::Closed(Some(end));
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Frame::Closed(None),
                Some(Ok(_)) => (),
            }
        }
    }

    /// The next text message.
    ///
    /// # Panics
    ///
    /// When something else comes.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Frame::Text(text) => text,
            other => panic!("wanted a text message, got {other:?}"),
        }
    }

    /// Reads to the end, skipping messages; the close frame's code and reason.
    ///
    /// # Panics
    ///
    /// When it stays open.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            if let Frame::Closed(end) = self.next().await {
                return end;
            }
        }
    }

    /// The TCP connection below.
    ///
    /// # Panics
    ///
    /// When there is TLS between.
    pub fn tcp(&mut self) -> &mut TcpStream {
        match self.0.get_mut() {
            MaybeTlsStream::Plain(stream) => stream,
            _ => panic!("a connection without TLS"),
        }
    }

    /// Cuts the connection without a close frame.
    pub fn cut(self) {
        drop(self);
    }
}

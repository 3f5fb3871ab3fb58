//! A client of `/ws`.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::Gateway;
use crate::patience::patiently;
use crate::websocket::{Frame, Refused, WebSocket};

/// A client of `/ws`.
pub struct Plain {
    socket: WebSocket,
    next: u64,
    /// What came while an answer was awaited.
    waiting: VecDeque<Value>,
}

// === impl Plain ===

impl Plain {
    /// Connects without a token.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn connect(gateway: &Gateway) -> Self {
        Self::try_connect(gateway, None).await.unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// Connects with `?token=`, where it may be refused.
    pub async fn try_connect(gateway: &Gateway, token: Option<&str>) -> Result<Self, Refused> {
        let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
        let url = format!("{}/ws{query}", gateway.client_ws());
        Ok(Self::over(WebSocket::try_connect(&url, &[]).await?))
    }

    /// A client over an open WebSocket.
    pub fn over(socket: WebSocket) -> Self {
        Self { socket, next: 1, waiting: VecDeque::new() }
    }

    /// Sends a command and waits for its answer: `ok`'s value, or `error`'s.
    ///
    /// # Panics
    ///
    /// When no answer comes, or one that is neither.
    pub async fn call(&mut self, command: &str, arguments: &Value) -> Result<Value, Value> {
        let id = self.next;
        self.next += 1;
        self.socket.send(&json!({"id": id, command: arguments}).to_string()).await;
        let answer = patiently(&format!("the answer to {command} {arguments}"), async {
            loop {
                let message = self.read().await;
                if message["id"] == id {
                    return message;
                }
                self.waiting.push_back(message);
            }
        })
        .await;
        match (answer.get("ok"), answer.get("error")) {
            (Some(ok), None) => Ok(ok.clone()),
            (None, Some(error)) => Err(error.clone()),
            _ => panic!("neither ok nor error: {answer}"),
        }
    }

    /// The next publication; resume points (`{"offset":…}`) are skipped.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn publication(&mut self) -> Value {
        patiently("a publication", self.listen()).await
    }

    /// The same without a limit of time, for use with `quiet`.
    pub async fn listen(&mut self) -> Value {
        loop {
            let message = match self.waiting.pop_front() {
                Some(message) => message,
                None => self.read().await,
            };
            if message.get("channel").is_some() {
                return message;
            }
        }
    }

    /// The data of the next notice of this name; all else is skipped.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn notice(&mut self, event: &str) -> Value {
        patiently(event, async {
            loop {
                let message = match self.waiting.pop_front() {
                    Some(message) => message,
                    None => self.read().await,
                };
                if message["event"] == event && message.get("channel").is_none() {
                    return message["data"].clone();
                }
            }
        })
        .await
    }

    /// The WebSocket itself.
    pub fn socket(&mut self) -> &mut WebSocket {
        &mut self.socket
    }

    async fn read(&mut self) -> Value {
        match self.socket.listen().await {
            Frame::Text(text) => serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("not JSON ({error}): {text}")),
            other => panic!("wanted a JSON message, got {other:?}"),
        }
    }
}

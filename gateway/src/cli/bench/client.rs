//! One client of each protocol: connects, subscribes, reads to its end.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::stamp::Stamp;
use super::tally::{Ended, Tally};
use super::{Bench, Protocol};
use crate::cli::{Failure, output};

/// How long a client may take until it is subscribed.
const READY: Duration = Duration::from_secs(20);
/// Bytes that a client reads at once: thousands of them are in one process.
const READ: usize = 4 << 10;

/// Where clients connect, and as who.
pub(super) struct Target {
    protocol: Protocol,
    base: reqwest::Url,
    channel: String,
    token: Option<String>,
    stamp: Stamp,
    http: reqwest::Client,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

// === impl Target ===

impl Target {
    /// Checks what was asked for.
    pub(super) fn new(command: &Bench, stamp: Stamp) -> Result<Self, Failure> {
        Ok(Self {
            protocol: command.protocol,
            base: super::publisher::base(&command.url, "--url", "http://127.0.0.1:8080")?,
            channel: command.channel.clone(),
            token: command.token.clone(),
            stamp,
            http: super::publisher::client(&command.url)?,
        })
    }

    /// One client's life. `ready` is called when its subscription is in force.
    pub(super) async fn live(&self, channel: u32, tally: &Tally, ready: impl FnOnce()) -> Ended {
        let channel = format!("{}.{channel}", self.channel);
        let in_time = tokio::time::timeout(READY, self.subscribe(&channel)).await;
        let late = || {
            Err(Failure::Unreachable(format!(
                "a client was not subscribed within {} s",
                READY.as_secs()
            )))
        };
        match in_time.unwrap_or_else(|_| late()) {
            Err(why) => Ended { subscribed: false, why },
            Ok(reading) => {
                ready();
                let why = match reading {
                    Reading::Socket(socket) => self.read_socket(*socket, tally).await,
                    Reading::Stream(answer) => self.read_stream(*answer, tally).await,
                };
                Ended { subscribed: true, why }
            }
        }
    }

    async fn subscribe(&self, channel: &str) -> Result<Reading, Failure> {
        match self.protocol {
            Protocol::Sse => self.open_stream(channel).await,
            Protocol::Socketio => {
                let mut socket = self.open("/socket.io/?EIO=4&transport=websocket").await?;
                let auth = self.token.as_ref().map(|token| json!({"token": token}).to_string());
                expect(&mut socket, |text| text.starts_with('0').then_some(Ok(()))).await?;
                send(&mut socket, format!("40{}", auth.unwrap_or_default())).await?;
                expect(&mut socket, |text| match text.get(..2) {
                    Some("40") => Some(Ok(())),
                    Some("44") => Some(Err(refusal(&text[2..]))),
                    _ => None,
                })
                .await?;
                let subscribe = json!(["push:subscribe", channel]);
                send(&mut socket, format!("420{subscribe}")).await?;
                expect(&mut socket, |text| {
                    let answer: Value = serde_json::from_str(text.strip_prefix("430")?).ok()?;
                    Some(outcome(&answer[0]["error"]))
                })
                .await?;
                Ok(Reading::Socket(Box::new(socket)))
            }
            Protocol::Websocket => {
                let mut socket = self.open("/ws").await?;
                let subscribe = json!({"id": 1, "subscribe": {"channel": channel}});
                send(&mut socket, subscribe.to_string()).await?;
                expect(&mut socket, |text| {
                    let answer: Value = serde_json::from_str(text).ok()?;
                    // What is wrong with the client itself has no request's id.
                    let ours = answer["id"] == 1 || !answer["error"].is_null();
                    ours.then(|| outcome(&answer["error"]))
                })
                .await?;
                Ok(Reading::Socket(Box::new(socket)))
            }
        }
    }

    async fn open(&self, path: &str) -> Result<Socket, Failure> {
        let scheme = if self.base.scheme() == "https" { "wss" } else { "ws" };
        let rest = self.base.as_str().split_once(':').map_or("", |(_, rest)| rest);
        let url = format!("{scheme}:{}{path}", rest.trim_end_matches('/'));
        let mut request = url.as_str().into_client_request().map_err(|error| {
            Failure::Refused(format!("`{url}` is not a URL to connect to: {error}"))
        })?;
        // Socket.IO has it in its first packet.
        if let (Protocol::Websocket, Some(token)) = (self.protocol, &self.token) {
            let value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                Failure::Refused("the token has characters that no token has".to_owned())
            })?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default().read_buffer_size(READ).write_buffer_size(0);
        let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
        match connecting.await {
            Ok((socket, _)) => Ok(socket),
            Err(WsError::Http(answer)) => {
                let status = answer.status().as_u16();
                Err(answered(status, answer.body().as_deref().unwrap_or_default()))
            }
            Err(WsError::Io(error)) => Err(unreachable(&error, self.base.as_str())),
            Err(error) => Err(Failure::Unreachable(format!("{}: {error}", self.base))),
        }
    }

    async fn open_stream(&self, channel: &str) -> Result<Reading, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/sse", url.path().trim_end_matches('/')));
        url.query_pairs_mut().append_pair("channel", channel);
        if let Some(token) = &self.token {
            url.query_pairs_mut().append_pair("token", token);
        }
        let request = self.http.get(url).header(header::ACCEPT, "text/event-stream");
        // The URL has the token: no error may show it.
        let mut answer = request.send().await.map_err(|error| gone(&error.without_url()))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let body = answer.bytes().await.unwrap_or_default();
            return Err(answered(status, &body));
        }
        // The first bytes come when the subscription is in force.
        match answer.chunk().await {
            Ok(Some(_)) => Ok(Reading::Stream(Box::new(answer))),
            Ok(None) => Err(Failure::Unreachable("the stream ended at once".to_owned())),
            Err(error) => Err(gone(&error.without_url())),
        }
    }

    async fn read_socket(&self, mut socket: Socket, tally: &Tally) -> Failure {
        loop {
            let closed = match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    if self.protocol == Protocol::Socketio && text.as_str() == "2" {
                        match send(&mut socket, "3".to_owned()).await {
                            Ok(()) => continue,
                            Err(failure) => return failure,
                        }
                    }
                    self.count(text.as_bytes(), tally);
                    continue;
                }
                Some(Ok(Message::Close(frame))) => frame.map_or_else(String::new, |frame| {
                    format!(" with {} {}", u16::from(frame.code), frame.reason)
                }),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return gone(&error),
                None => String::new(),
            };
            let words = format!("the gateway closed a client{closed}");
            return Failure::Unreachable(output::one_line(words.trim_end()));
        }
    }

    async fn read_stream(&self, mut answer: reqwest::Response, tally: &Tally) -> Failure {
        let mut rest = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    rest.extend_from_slice(&chunk);
                    // Whole lines only: a publication is in one.
                    let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    self.count(&rest[..whole], tally);
                    rest.drain(..whole);
                }
                Ok(None) => return Failure::Unreachable("the gateway closed a client".to_owned()),
                Err(error) => return gone(&error.without_url()),
            }
        }
    }

    fn count(&self, bytes: &[u8], tally: &Tally) {
        let mut delays = Vec::new();
        self.stamp.delays(bytes, |delay| delays.push(delay));
        if !delays.is_empty() {
            tally.deliver(&delays);
        }
    }
}

/// What a client reads, once it is subscribed.
enum Reading {
    Socket(Box<Socket>),
    Stream(Box<reqwest::Response>),
}

async fn send(socket: &mut Socket, text: String) -> Result<(), Failure> {
    socket.send(Message::text(text)).await.map_err(|error| gone(&error))
}

/// Reads until a message is the one that is waited for.
async fn expect(
    socket: &mut Socket,
    mut wanted: impl FnMut(&str) -> Option<Result<(), Failure>>,
) -> Result<(), Failure> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                if let Some(outcome) = wanted(&text) {
                    return outcome;
                }
            }
            Some(Ok(Message::Close(frame))) => return Err(closed_early(frame.as_ref())),
            None => return Err(closed_early(None)),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(gone(&error)),
        }
    }
}

/// Of a connection that was closed before the subscription was in force. Codes
/// from 4000 to 4499 say that the same again will be closed again.
fn closed_early(frame: Option<&CloseFrame>) -> Failure {
    let said = frame.map_or_else(String::new, |frame| {
        format!(" with {} {}", u16::from(frame.code), frame.reason)
    });
    let words = output::one_line(&format!("the gateway closed a client{said}"));
    match frame.map(|frame| u16::from(frame.code)) {
        Some(4000..4500) => Failure::Refused(words),
        _ => Failure::Unreachable(words),
    }
}

/// Of an answer's `error`, absent where all is well.
fn outcome(error: &Value) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let words = output::one_line(&format!("{} ({})", text("message"), text("code")));
    let retry = error["retry"] == true;
    Err(if retry { Failure::Unreachable(words) } else { Failure::Refused(words) })
}

/// Of a Socket.IO `CONNECT_ERROR`.
fn refusal(packet: &str) -> Failure {
    let error: Value = serde_json::from_str(packet).unwrap_or_default();
    let message = error["message"].as_str().unwrap_or("the gateway refuses the client");
    let code = error["data"]["code"].as_str().map_or_else(String::new, |c| format!(" ({c})"));
    Failure::Refused(output::one_line(&format!("{message}{code}")))
}

/// Of an HTTP answer other than the one hoped for.
fn answered(status: u16, body: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = ["detail", "message"].iter().find_map(|key| body[key].as_str());
    let reason =
        reason.unwrap_or("without a reason; is --url that of a gateway's client listener?");
    let words = output::one_line(&format!("a client is answered HTTP {status}: {reason}"));
    if status == 429 || status >= 500 {
        Failure::Unreachable(words)
    } else {
        Failure::Refused(words)
    }
}

fn unreachable(error: &std::io::Error, url: &str) -> Failure {
    // EMFILE: it is this process that is full, not the gateway.
    if error.raw_os_error() == Some(24) {
        return Failure::Refused(
            "this process may open no more files; raise `ulimit -n`, or take fewer --clients"
                .to_owned(),
        );
    }
    Failure::Unreachable(format!(
        "no gateway answers at {url} ({error}); is it running? --url says where it is"
    ))
}

fn gone(error: &dyn std::error::Error) -> Failure {
    Failure::Unreachable(format!("a client lost its connection: {}", super::publisher::root(error)))
}

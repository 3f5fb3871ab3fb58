//! `subscribe`: prints what is published, over `/ws`, and comes back after
//! every break from where it was.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Failure, output};
use following::{Following, Told};

mod following;
#[cfg(test)]
mod tests;

/// Time between two of our pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// After so long without a sign of life the connection is dead, though no
/// packet says so.
const SILENCE: Duration = Duration::from_secs(40);
/// How long a connection and its handshake may take.
const CONNECT: Duration = Duration::from_secs(10);
/// First and longest time before another attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Arguments of `subscribe`.
#[derive(Args)]
pub struct Subscribe {
    /// The channels
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Where the gateway's plain WebSocket is
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// A token (JWT), where clients need one. Not `PUSH_…`: those set the
    /// gateway's own configuration
    #[arg(long, value_name = "JWT", env = "PUSHCLUSTER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// First what was published after this offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "last")]
    since: Option<String>,
    /// First each channel's N latest publications
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Print each publication as the JSON object that the gateway sent,
    /// instead of `CHANNEL EVENT DATA`
    #[arg(long)]
    json: bool,
}

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a connection ended.
enum End {
    /// To be tried again; why it ended.
    Broken(String),
    /// Nobody reads stdout any more.
    Unread,
}

pub(super) async fn run(command: Subscribe) -> ExitCode {
    tokio::select! {
        // If signals can't be had, Ctrl-C ends the process as it always did.
        Ok(()) = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
        ended = follow(&command) => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        },
    }
}

/// Until nobody reads any more, or the gateway says no.
async fn follow(command: &Subscribe) -> Result<(), Failure> {
    let mut following = Following::new(&command.channels, command.since.as_deref(), command.last);
    let mut socket = connect(command).await?;
    let mut backoff = BACKOFF.0;
    loop {
        match converse(socket, &mut following, command.json).await? {
            End::Unread => return Ok(()),
            End::Broken(why) => output::note(&format!("connection lost: {why}; reconnecting")),
        }
        if following.was_served() {
            backoff = BACKOFF.0;
        }
        socket = loop {
            tokio::time::sleep(jitter(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF.1);
            match connect(command).await {
                Ok(socket) => {
                    output::note("connected again");
                    break socket;
                }
                Err(Failure::Unreachable(_)) => {}
                Err(refused) => return Err(refused),
            }
        };
    }
}

/// One connection's life. At its end the socket is closed, so that the
/// gateway doesn't keep the old session beside the new one.
async fn converse(
    mut socket: Socket,
    following: &mut Following,
    json: bool,
) -> Result<End, Failure> {
    let broken = |error: &WsError| Ok(End::Broken(error.to_string()));
    for request in following.requests() {
        if let Err(error) = socket.send(Message::text(request)).await {
            return broken(&error);
        }
    }
    let mut pings = tokio::time::interval(PING_EVERY);
    let mut heard = tokio::time::Instant::now();
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = pings.tick() => {
                if heard.elapsed() > SILENCE {
                    return Ok(End::Broken("the gateway is silent".to_owned()));
                }
                if let Err(error) = socket.send(Message::Ping("".into())).await {
                    return broken(&error);
                }
                continue;
            }
        };
        heard = tokio::time::Instant::now();
        match message {
            None => return Ok(End::Broken("the gateway is gone".to_owned())),
            Some(Err(error)) => return broken(&error),
            Some(Ok(Message::Text(text))) => {
                for told in following.hear(&text) {
                    match told {
                        Told::Publication(publication) => {
                            let line = if json { output::one_line(&text) } else { publication };
                            if output::line(&line).is_err() {
                                // The process ends; so does the socket.
                                return Ok(End::Unread);
                            }
                        }
                        Told::Note(note) => output::note(&note),
                        Told::Retry(why) => return Ok(End::Broken(why)),
                        Told::Refused(why) => return Err(Failure::Refused(why)),
                    }
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                    (frame.code.into(), frame.reason.to_string())
                });
                let why = output::one_line(format!("closed with {code} {reason}").trim_end());
                return if may_retry(code) {
                    Ok(End::Broken(why))
                } else {
                    Err(Failure::Refused(why))
                };
            }
            Some(Ok(_)) => {}
        }
    }
}

/// Whether a close code leaves hope: all do but those that blame what was
/// sent (RFC 6455, section 7.4.1), and of the gateway's own those from 4000 to
/// 4499.
fn may_retry(code: u16) -> bool {
    match CloseCode::from(code) {
        CloseCode::Protocol
        | CloseCode::Unsupported
        | CloseCode::Invalid
        | CloseCode::Policy
        | CloseCode::Size => false,
        _ => !(4000..4500).contains(&code),
    }
}

pub(super) async fn connect(command: &Subscribe) -> Result<Socket, Failure> {
    let url = &command.url;
    let mut request = url.as_str().into_client_request().map_err(|_| {
        Failure::Refused(format!(
            "`{url}` is not the URL of a WebSocket; write it as in ws://127.0.0.1:8080/ws"
        ))
    })?;
    if let Some(token) = &command.token {
        let value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            Failure::Refused("the token has characters that no token has".to_owned())
        })?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let connecting = tokio_tungstenite::connect_async(request);
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WsError::Http(answer))) => {
            let body = answer.body().as_deref().unwrap_or_default();
            Err(refusal(url, answer.status().as_u16(), body))
        }
        Ok(Err(WsError::Url(error))) => {
            Err(Failure::Refused(format!("`{url}` is not a URL to connect to: {error}")))
        }
        Ok(Err(WsError::Io(error))) => Err(unreachable(url, &error.to_string())),
        Ok(Err(error)) => Err(unreachable(url, &error.to_string())),
        Err(_) => Err(unreachable(url, "no answer within 10 s")),
    }
}

fn unreachable(url: &str, why: &str) -> Failure {
    Failure::Unreachable(format!(
        "no gateway answers at {url} ({why}); is it running? --url says where it is"
    ))
}

/// What an HTTP answer instead of a WebSocket says.
fn refusal(url: &str, status: u16, body: &[u8]) -> Failure {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Body {
        detail: Option<String>,
        message: Option<String>,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let reason = body.detail.or(body.message).unwrap_or_else(|| match status {
        401 => "the token is missing or not valid; pass one with --token".to_owned(),
        403 => "this is not allowed".to_owned(),
        404 => "there is no WebSocket at this path; a gateway has it at /ws".to_owned(),
        _ => "without a reason".to_owned(),
    });
    let message = output::one_line(&format!("{url} answers HTTP {status}: {reason}"));
    if status == 429 || status >= 500 {
        Failure::Unreachable(message)
    } else {
        Failure::Refused(message)
    }
}

/// Between half of it and all of it, so that clients that lost one gateway
/// together don't come back together.
fn jitter(backoff: Duration) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.subsec_nanos());
    backoff / 2 + backoff / 2 * (nanos % 1_000) / 1_000
}

// === impl Subscribe ===

impl Subscribe {
    /// To one channel, from now on.
    pub(super) fn to(channel: &str, url: &str, token: Option<&str>) -> Self {
        Self {
            channels: vec![channel.to_owned()],
            url: url.to_owned(),
            token: token.map(str::to_owned),
            since: None,
            last: None,
            json: false,
        }
    }

    /// Where the gateway's plain WebSocket is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// Without the token.
impl std::fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscribe")
            .field("channels", &self.channels)
            .field("url", &self.url)
            .field("since", &self.since)
            .field("last", &self.last)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

//! `doctor`: what a client and an app do, once, and how long each step took.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::{SinkExt as _, StreamExt as _};
use gateway_config::Period;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::publish::publish;
use super::subscribe::{Socket, connect};
use super::{Failure, Publish, Subscribe, output};

#[cfg(test)]
mod tests;

/// How long the answer to a subscribe, and the publication, may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);

/// Arguments of `doctor`.
#[derive(Args)]
pub struct Doctor {
    /// The channel to subscribe to and to publish on; others may see it
    #[arg(long, default_value = "doctor")]
    channel: String,
    /// Where the gateway's plain WebSocket is
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// Where the gateway's HTTP API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    api_url: String,
    /// A token (JWT), where clients need one
    #[arg(long, value_name = "JWT", env = "PUSHCLUSTER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The API key, where the API needs one
    #[arg(long, value_name = "KEY", env = "PUSHCLUSTER_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Until all works, try again for so long, as in 30s or 2m: a new key takes
    /// its time to reach every gateway, too
    #[arg(long, value_name = "TIME")]
    wait: Option<Period>,
}

pub(super) async fn run(command: Doctor) -> ExitCode {
    let until = command.wait.map(|wait| Instant::now() + wait.get());
    let subscribe = Subscribe::to(&command.channel, &command.url, command.token.as_deref());
    let publish = Publish::at(&command.api_url, command.api_key.as_deref());
    let mut said = String::new();
    loop {
        let failure = match examine(&subscribe, &publish, &command.channel).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(failure) => failure,
        };
        if until.is_none_or(|until| Instant::now() + AGAIN > until) {
            return failure.report();
        }
        // Once for each reason, however long it lasts.
        let words = failure.to_string();
        if words != said {
            output::note(&format!("waiting: {words}"));
            said = words;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// All steps, each told as it is done.
async fn examine(subscribe: &Subscribe, send: &Publish, channel: &str) -> Result<(), Failure> {
    let mut begun = Instant::now();
    let mut told = |step: &str| {
        let line = format!("{step} ({} ms)", begun.elapsed().as_millis());
        begun = Instant::now();
        // Whoever closed stdout still gets the exit code.
        let _ = output::line(&line);
    };
    let mut socket = connect(subscribe).await?;
    told(&format!("connected to {}", subscribe.url()));
    let request = json!({"id": 1, "subscribe": {"channel": channel}});
    socket.send(Message::text(request.to_string())).await.map_err(|error| lost(&error))?;
    until(&mut socket, "the answer to the subscribe", answer).await?;
    told(&format!("subscribed to {channel}"));
    let mark = mark();
    publish(send, Some(channel), &mark.to_string()).await?;
    told(&format!("published through {}", send.api_url()));
    until(&mut socket, "the publication", |frame| {
        (frame["channel"] == channel && frame["data"] == mark).then_some(Ok(()))
    })
    .await?;
    told("received what was published");
    // The session ends here, not when the gateway misses it.
    let _ = socket.close(None).await;
    Ok(())
}

/// What tells this publication from all others.
fn mark() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({"doctor": format!("{}-{}", now.as_nanos(), std::process::id())})
}

/// What a frame says of the subscribe, if it is its answer.
fn answer(frame: &Value) -> Option<Result<(), Failure>> {
    if frame["id"] != 1 {
        return None;
    }
    let error = &frame["error"];
    if error.is_null() {
        return Some(Ok(()));
    }
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let words = output::one_line(&format!("{} ({})", text("message"), text("code")));
    Some(Err(if error["retry"] == true {
        Failure::Unreachable(words)
    } else {
        Failure::Refused(words)
    }))
}

/// Reads until a frame is the one that is waited for.
async fn until(
    socket: &mut Socket,
    what: &str,
    mut wanted: impl FnMut(&Value) -> Option<Result<(), Failure>>,
) -> Result<(), Failure> {
    let read = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap_or_default();
                    if let Some(outcome) = wanted(&frame) {
                        return outcome;
                    }
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Err(Failure::Unreachable(format!(
                        "the gateway closed the connection before {what} came"
                    )));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(&error)),
            }
        }
    };
    tokio::time::timeout(ANSWER, read).await.unwrap_or_else(|_| {
        Err(Failure::Unreachable(format!("{what} did not come within {} s", ANSWER.as_secs())))
    })
}

fn lost(error: &tokio_tungstenite::tungstenite::Error) -> Failure {
    Failure::Unreachable(format!("the connection was lost: {error}"))
}

// === impl Doctor ===

/// Without the token and the key.
impl std::fmt::Debug for Doctor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doctor")
            .field("channel", &self.channel)
            .field("url", &self.url)
            .field("api_url", &self.api_url)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

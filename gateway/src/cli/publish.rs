//! `publish`: one publication, through the HTTP API.

use std::io::Read as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use gateway_config::Period;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Failure, output};

#[cfg(test)]
mod tests;

/// Arguments of `publish`.
#[derive(Args)]
pub struct Publish {
    /// The channel (not with `--user`), then the data: JSON if it is JSON,
    /// else text; `-` reads it from stdin
    // Two arguments of which the first may be absent: clap gives an option
    // between them no meaning, so they are one list.
    #[arg(value_name = "CHANNEL> <DATA", required = true, allow_negative_numbers = true)]
    words: Vec<String>,
    /// The event's name; `message` without it
    #[arg(long)]
    event: Option<String>,
    /// Makes a repetition harmless: the same id is published once
    #[arg(long)]
    id: Option<String>,
    /// How long history keeps it, as in 10s or 2m
    #[arg(long, value_name = "TIME")]
    ttl: Option<Period>,
    /// To every session of this user, instead of a channel
    #[arg(long)]
    user: Option<String>,
    /// Where the gateway's HTTP API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    api_url: String,
    /// The API key, where the API needs one. Not `PUSH_…`: those set the
    /// gateway's own configuration
    #[arg(long, value_name = "KEY", env = "PUSHCLUSTER_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

// === impl Publish ===

impl Publish {
    /// A plain publication through this API.
    pub(super) fn at(api_url: &str, api_key: Option<&str>) -> Self {
        Self {
            words: Vec::new(),
            event: None,
            id: None,
            ttl: None,
            user: None,
            api_url: api_url.to_owned(),
            api_key: api_key.map(str::to_owned),
        }
    }

    /// Where the gateway's HTTP API is.
    pub(super) fn api_url(&self) -> &str {
        &self.api_url
    }

    /// The channel, unless it goes to a user, and the data; or what should
    /// have been written.
    pub(super) fn target(&self) -> Result<(Option<&str>, &str), &'static str> {
        match (&self.words[..], &self.user) {
            ([channel, data], None) => Ok((Some(channel), data)),
            ([data], Some(_)) => Ok((None, data)),
            (_, None) => {
                Err("publish takes a channel and the data: push-gateway publish CHANNEL DATA")
            }
            (_, Some(_)) => Err(
                "with --user, publish takes the data alone: push-gateway publish --user USER DATA",
            ),
        }
    }
}

/// A publish as the API takes it.
#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Period>,
}

/// What the API says of it.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Receipt {
    offset: Option<String>,
    duplicate: bool,
    deduplicated: Option<bool>,
}

/// An error as the API answers it (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    detail: Option<String>,
    code: Option<String>,
    field: Option<String>,
    retry: bool,
}

pub(super) async fn run(command: Publish) -> ExitCode {
    let Ok((channel, data)) = command.target() else { return ExitCode::from(2) };
    match publish(&command, channel, data).await {
        Ok(receipt) => {
            if let Some(note) = remark(&receipt) {
                output::note(note);
            }
            match receipt.offset.map(|offset| output::line(&offset)) {
                None | Some(Ok(())) => ExitCode::SUCCESS,
                Some(Err(_)) => ExitCode::FAILURE,
            }
        }
        Err(failure) => failure.report(),
    }
}

/// Publishes `data`, which is JSON or text; `-` reads it from stdin.
pub(super) async fn publish(
    command: &Publish,
    channel: Option<&str>,
    data: &str,
) -> Result<Receipt, Failure> {
    let data = if data == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::Refused(format!("stdin cannot be read: {error}")))?;
        data_of_bytes(&bytes)?
    } else {
        data_of_text(data)?
    };
    let url = endpoint(&command.api_url)?;
    let body = serde_json::to_vec(&Request {
        channel,
        user: command.user.as_deref(),
        event: command.event.as_deref(),
        data,
        id: command.id.as_deref(),
        ttl: command.ttl,
    })
    .map_err(|error| Failure::Refused(format!("the publication is not JSON: {error}")))?;

    let unreachable =
        |error: &reqwest::Error| Failure::Unreachable(words_of(error, &command.api_url));
    let mut client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    if is_loopback(&url) {
        // A proxy would look for the gateway on its own machine.
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| unreachable(&error))?;
    let mut request = client.post(url).header("content-type", "application/json").body(body);
    if let Some(key) = &command.api_key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.map_err(|error| unreachable(&error))?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.map_err(|error| unreachable(&error))?;
    read_answer(status, &body)
}

pub(super) fn read_answer(status: u16, body: &[u8]) -> Result<Receipt, Failure> {
    if status == 200 {
        return serde_json::from_slice(body).map_err(|_| {
            Failure::Refused(
                "the answer is not a gateway's; is --api-url that of its HTTP API?".to_owned(),
            )
        });
    }
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let Some(detail) = problem.detail else {
        let message = format!(
            "the answer is HTTP {status} without a reason; is --api-url that of a gateway's HTTP API?"
        );
        return Err(if status >= 500 {
            Failure::Unreachable(message)
        } else {
            Failure::Refused(message)
        });
    };
    let field = problem.field.map_or_else(String::new, |field| format!("{field}: "));
    let code = problem.code.unwrap_or_else(|| format!("HTTP {status}"));
    let hint = match code.as_str() {
        "unauthorized" => "; pass a key with --api-key or PUSHCLUSTER_API_KEY",
        _ => "",
    };
    let message = output::one_line(&format!("{field}{detail}{hint} ({code})"));
    Err(if problem.retry { Failure::Unreachable(message) } else { Failure::Refused(message) })
}

/// What the receipt says beside the offset.
fn remark(receipt: &Receipt) -> Option<&'static str> {
    match receipt {
        Receipt { duplicate: true, .. } => {
            Some("this id has been published already; nothing new was delivered")
        }
        Receipt { deduplicated: Some(false), .. } => Some(
            "published; the channel has no history, so the id does not keep a repetition from being delivered again",
        ),
        Receipt { offset: None, .. } => {
            Some("published; the channel has no history, so there is no offset")
        }
        _ => None,
    }
}

/// JSON stays byte for byte as it is; everything else becomes a string.
fn data_of_text(text: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(text)
        .or_else(|_| serde_json::value::to_raw_value(text))
        .map_err(|error| Failure::Refused(format!("the data cannot be written as JSON: {error}")))
}

/// Text without the line break that an editor or `echo` puts at its end; what
/// is no text goes as bytes.
fn data_of_bytes(bytes: &[u8]) -> Result<Box<RawValue>, Failure> {
    match std::str::from_utf8(bytes) {
        Ok(text) => data_of_text(text.strip_suffix('\n').unwrap_or(text)),
        Err(_) => {
            data_of_text(&serde_json::json!({ "base64": STANDARD.encode(bytes) }).to_string())
        }
    }
}

fn endpoint(api_url: &str) -> Result<reqwest::Url, Failure> {
    let form = || {
        Failure::Refused(format!(
            "`{api_url}` is not the URL of an HTTP API; write it as in http://127.0.0.1:8081"
        ))
    };
    let base: reqwest::Url = api_url.trim_end_matches('/').parse().map_err(|_| form())?;
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        return Err(form());
    }
    format!("{}/v1/publish", base.as_str().trim_end_matches('/')).parse().map_err(|_| form())
}

pub(super) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why there was no answer: reqwest keeps the reason in its sources.
fn words_of(error: &reqwest::Error, url: &str) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    format!("no gateway answers at {url} ({reason}); is it running? --api-url says where it is")
}

// === impl Publish ===

/// Without the key.
impl std::fmt::Debug for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publish")
            .field("words", &self.words.len())
            .field("user", &self.user)
            .field("event", &self.event)
            .field("api_url", &self.api_url)
            .finish_non_exhaustive()
    }
}

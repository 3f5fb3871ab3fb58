//! What is asked of `JetStream`: JSON over NATS requests. Only what the relay
//! needs, with its own time limits and its own view of errors.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::time;
use crate::relay::embedded::Clock;

/// How long an answer may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// `JetStream`, through one connection.
#[derive(Clone)]
pub struct Api {
    client: Client,
    clock: Clock,
    timeout: Duration,
}

/// Why there is no answer, or a bad one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Nobody is there to answer: no stream, or no leader.
    #[error("nobody answers; is JetStream enabled, and has the stream a leader?")]
    NoResponders,
    /// There is no connection.
    #[error("not connected to NATS")]
    Disconnected,
    /// What the server says is wrong.
    #[error("{description} (error {code})")]
    Refused {
        /// The server's `err_code`.
        code: u64,
        /// Its words.
        description: String,
    },
    /// An answer that isn't of the form that it should have.
    #[error("an answer that can't be read: {0}")]
    Malformed(String),
}

/// A stream's settings, as far as they matter here.
// They are the server's.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamConfig {
    pub name: String,
    pub subjects: Vec<String>,
    pub retention: String,
    pub storage: String,
    pub discard: String,
    pub num_replicas: usize,
    pub max_msgs: i64,
    pub max_bytes: i64,
    pub max_msgs_per_subject: i64,
    /// Nanoseconds.
    #[serde(default)]
    pub max_age: u64,
    /// Nanoseconds.
    #[serde(default)]
    pub duplicate_window: u64,
    #[serde(default)]
    pub allow_direct: bool,
    #[serde(default)]
    pub allow_msg_ttl: bool,
    #[serde(default)]
    pub allow_rollup_hdrs: bool,
    #[serde(default)]
    pub allow_msg_schedules: bool,
    #[serde(default)]
    pub republish: Option<Republish>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Where a stream's messages go after they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Republish {
    pub src: String,
    pub dest: String,
    #[serde(default)]
    pub headers_only: bool,
}

/// What a stream is and holds.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamInfo {
    pub config: StreamConfig,
    pub created: String,
    pub state: StreamState,
}

/// What a stream holds.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamState {
    pub bytes: u64,
    /// One after the last, if there is no message.
    pub first_seq: u64,
    pub last_seq: u64,
    pub last_ts: String,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub struct Stored {
    pub subject: String,
    pub sequence: u64,
    /// When it was stored, in milliseconds since 1970.
    pub time: u64,
    pub headers: Option<HeaderMap>,
    pub payload: Bytes,
}

/// What a publisher learns.
#[derive(Clone, Debug, Deserialize)]
pub struct PubAck {
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

#[derive(Deserialize)]
struct Answer<T> {
    error: Option<Failure>,
    #[serde(flatten)]
    value: Option<T>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct GotMessage {
    message: RawMessage,
}

#[derive(Deserialize)]
struct RawMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: Option<String>,
    #[serde(default)]
    data: Option<String>,
    time: String,
}

/// Which message to get.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Get<'a> {
    /// From this sequence on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The first of this subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_by_subj: Option<&'a str>,
    /// The last of this subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_by_subj: Option<&'a str>,
    /// So many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// About so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
}

/// Whether a stream's first messages may have gone for want of room: it has
/// `max_bytes`, or had.
pub const LIMITED: &str = "push-limited";
/// `stream not found`
const STREAM_NOT_FOUND: u64 = 10059;
/// `no message found`
const NO_MESSAGE: u64 = 10037;
/// `wrong last sequence`
const WRONG_LAST_SEQUENCE: [u64; 2] = [10071, 10164];
/// No room for more: of the account, the server, the stream.
const FULL: [u64; 5] = [10002, 10023, 10028, 10047, 10077];
/// Bytes of one batch.
const BATCH_BYTES: usize = 4 << 20;

// === impl ApiError ===

impl ApiError {
    /// The stream doesn't exist.
    pub fn is_no_stream(&self) -> bool {
        matches!(self, Self::Refused { code: STREAM_NOT_FOUND, .. })
    }

    /// Somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if WRONG_LAST_SEQUENCE.contains(code))
    }

    /// There is no room to store anything.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if FULL.contains(code))
    }

    /// Whether it may be otherwise in a moment.
    pub fn passes(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::NoResponders | Self::Disconnected => true,
            // 10008: the cluster has no leader yet. 10074: not enough
            // servers for the replicas (they may be starting). No stream:
            // it was just made, and not every server knows.
            Self::Refused { code, .. } => {
                matches!(code, 10005 | 10008 | 10009 | 10074) || self.is_no_stream()
            }
            Self::Malformed(_) => false,
        }
    }
}

// === impl StreamConfig ===

impl StreamConfig {
    /// Whether its first messages may have gone for want of room.
    pub fn is_limited(&self) -> bool {
        self.max_bytes > 0 || self.metadata.contains_key(LIMITED)
    }
}

// === impl Api ===

impl Api {
    /// Through one connection; times of storage are told by `clock`.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, timeout: TIMEOUT }
    }

    /// The same, with another time for every answer.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// Reads a time of storage.
    pub fn time(&self, text: &str) -> Option<u64> {
        Some(self.clock.stored(time::parse(text)?))
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Ready when the server has taken what was sent before on this
    /// connection, subscriptions above all: it answers a message to ourselves
    /// only after them.
    pub async fn barrier(&self) -> Result<(), ApiError> {
        self.in_time(async {
            let inbox = self.client.new_inbox();
            let mut echo =
                self.client.subscribe(inbox.clone()).await.map_err(|_| ApiError::Disconnected)?;
            self.client.publish(inbox, Bytes::new()).await.map_err(|_| ApiError::Disconnected)?;
            echo.next().await.map(drop).ok_or(ApiError::Disconnected)
        })
        .await
    }

    /// Answered by the stream's leader.
    pub async fn info(&self, stream: &str) -> Result<StreamInfo, ApiError> {
        self.call(&format!("STREAM.INFO.{stream}"), &()).await
    }

    /// Makes a stream.
    pub async fn create(&self, config: &StreamConfig) -> Result<StreamInfo, ApiError> {
        self.call(&format!("STREAM.CREATE.{}", config.name), config).await
    }

    /// Makes a stream of which no more need be known.
    pub async fn create_raw(
        &self,
        stream: &str,
        config: &serde_json::Value,
    ) -> Result<(), ApiError> {
        let call = format!("STREAM.CREATE.{stream}");
        self.call::<serde_json::Value>(&call, config).await.map(drop)
    }

    /// Changes a stream's settings.
    pub async fn update(&self, config: &StreamConfig) -> Result<StreamInfo, ApiError> {
        self.call(&format!("STREAM.UPDATE.{}", config.name), config).await
    }

    /// Publishes and waits until it is stored.
    pub async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PubAck, ApiError> {
        let request = Request::new().payload(payload).headers(headers);
        let answer = self.request(subject, request).await?;
        read(&answer.payload)
    }

    /// One message as the leader has it. None: there is none.
    pub async fn get_from_leader(
        &self,
        stream: &str,
        get: &Get<'_>,
    ) -> Result<Option<Stored>, ApiError> {
        let got: Result<GotMessage, _> = self.call(&format!("STREAM.MSG.GET.{stream}"), get).await;
        match got {
            Ok(got) => self.got(got.message).map(Some),
            Err(ApiError::Refused { code: NO_MESSAGE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last message of a subject, as some replica has it: it may be
    /// behind. None: that replica has none.
    pub async fn last_of(&self, stream: &str, subject: &str) -> Result<Option<Stored>, ApiError> {
        let get = Get { last_by_subj: Some(subject), ..Get::default() };
        let get = serde_json::to_vec(&get).map_err(malformed)?;
        let call = format!("$JS.API.DIRECT.GET.{stream}");
        let answer = self.request(call, Request::new().payload(get.into())).await?;
        match answer.status.map(|status| status.as_u16()) {
            None => self.stored(answer).map(Some),
            Some(404) => Ok(None),
            Some(503) => Err(ApiError::NoResponders),
            Some(_) => Err(refused(&answer)),
        }
    }

    /// Messages in order from a sequence on, of one subject or all (`>`), as
    /// some replica has them: it may be behind, and what is gone is left out
    /// without a sign. Empty: there is none.
    pub async fn batch(
        &self,
        stream: &str,
        from: u64,
        subject: &str,
        count: usize,
    ) -> Result<Vec<Stored>, ApiError> {
        let get = Get {
            seq: Some(from),
            next_by_subj: Some(subject),
            batch: Some(count),
            max_bytes: Some(BATCH_BYTES),
            ..Get::default()
        };
        let payload = serde_json::to_vec(&get).map_err(malformed)?;
        let ask = async {
            let inbox = self.client.new_inbox();
            let mut answers =
                self.client.subscribe(inbox.clone()).await.map_err(|_| ApiError::Disconnected)?;
            self.client
                .publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, payload.into())
                .await
                .map_err(|_| ApiError::Disconnected)?;
            let mut batch = Vec::new();
            while let Some(answer) = answers.next().await {
                match answer.status.map(|status| status.as_u16()) {
                    None => batch.push(self.stored(answer)?),
                    // 204: the end of the batch.
                    Some(204 | 404) => return Ok(batch),
                    Some(503) => return Err(ApiError::NoResponders),
                    Some(_) => return Err(refused(&answer)),
                }
            }
            Err(ApiError::Disconnected)
        };
        self.in_time(ask).await
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        call: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(malformed)?;
        let request = Request::new().payload(body.into());
        let answer = self.request(format!("$JS.API.{call}"), request).await?;
        read(&answer.payload)
    }

    async fn request(
        &self,
        subject: String,
        request: Request,
    ) -> Result<async_nats::Message, ApiError> {
        // Ours alone limits the time: the library's doesn't cover the queue
        // before its connection.
        let request = request.timeout(None);
        self.in_time(async {
            self.client.send_request(subject, request).await.map_err(|error| {
                use async_nats::client::RequestErrorKind as Kind;
                match error.kind() {
                    Kind::NoResponders => ApiError::NoResponders,
                    Kind::TimedOut => ApiError::Timeout(self.timeout),
                    Kind::Other => ApiError::Disconnected,
                    _ => ApiError::Malformed(error.to_string()),
                }
            })
        })
        .await
    }

    fn stored(&self, message: async_nats::Message) -> Result<Stored, ApiError> {
        let missing = || ApiError::Malformed("a message without its place".to_owned());
        let headers = message.headers.as_ref().ok_or_else(missing)?;
        Ok(Stored {
            subject: last(headers, "Nats-Subject").ok_or_else(missing)?.to_owned(),
            sequence: last(headers, "Nats-Sequence")
                .and_then(|s| s.parse().ok())
                .ok_or_else(missing)?,
            time: last(headers, "Nats-Time-Stamp")
                .and_then(|text| self.time(text))
                .ok_or_else(missing)?,
            payload: message.payload,
            headers: message.headers,
        })
    }

    fn got(&self, raw: RawMessage) -> Result<Stored, ApiError> {
        let decode = |text: Option<String>| match text {
            Some(text) => STANDARD.decode(text).map_err(malformed),
            None => Ok(Vec::new()),
        };
        let headers = decode(raw.hdrs)?;
        Ok(Stored {
            time: self.time(&raw.time).ok_or_else(|| malformed("a time"))?,
            subject: raw.subject,
            sequence: raw.seq,
            headers: (!headers.is_empty()).then(|| parse_headers(&headers)),
            payload: decode(raw.data)?.into(),
        })
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        // What is sent now would wait, and be done when nobody expects it.
        if !self.is_connected() {
            return Err(ApiError::Disconnected);
        }
        tokio::time::timeout(self.timeout, work)
            .await
            .map_err(|_| ApiError::Timeout(self.timeout))?
    }
}

fn read<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, ApiError> {
    let answer: Answer<serde_json::Value> = serde_json::from_slice(payload).map_err(malformed)?;
    if let Some(Failure { err_code, description }) = answer.error {
        return Err(ApiError::Refused { code: err_code, description });
    }
    serde_json::from_value(answer.value.unwrap_or_default()).map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> ApiError {
    ApiError::Malformed(error.to_string())
}

fn refused(answer: &async_nats::Message) -> ApiError {
    ApiError::Refused {
        code: answer.status.map_or(0, |status| u64::from(status.as_u16())),
        description: answer.description.clone().unwrap_or_default(),
    }
}

/// The last value: a publisher's forged ones come before the server's.
pub fn last<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get_last(name).map(async_nats::HeaderValue::as_str)
}

/// `NATS/1.0`, then a line for each header. What isn't one is left out.
fn parse_headers(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let text = String::from_utf8_lossy(bytes);
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.parse::<async_nats::HeaderName>();
        let value = value.trim().parse::<async_nats::HeaderValue>();
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

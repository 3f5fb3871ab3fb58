//! What every call reads of a request: the key, the body, the query, the path.
//! Each refuses in words, with the field at fault.

use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{FromRequestParts, Path};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use gateway_config::{Pattern, Scope};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ApiState;
use super::problem::Problem;
use crate::auth::keys::ApiIdentity;
use crate::channel::Channel;
use crate::error::{Error, ErrorCode, form};
use crate::metrics::KeyLabel;

/// Who calls: the key that the request carries. Without any key in the
/// configuration everyone may call.
pub struct Caller(Option<ApiIdentity>);

/// A channel's name in the path, percent-decoded; a `/` in it is `%2F`.
pub struct ChannelPath(pub Channel);

/// A user's id in the path, percent-decoded.
pub struct UserPath(pub String);

/// The request's query, each parameter at most once.
pub struct QueryText(serde_json::Map<String, serde_json::Value>);

// === impl Caller ===

impl Caller {
    /// Who may do everything: there is no key in the configuration.
    pub fn anyone() -> Self {
        Self(None)
    }

    /// Whether the caller may do this, on this channel.
    pub fn check(&self, scope: Scope, channel: Option<&Channel>) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |identity| identity.check(scope, channel))
    }

    /// The channels that the caller may touch; every channel when empty.
    pub fn channels(&self) -> &[Pattern] {
        self.0.as_ref().map_or(&[], |identity| identity.channels())
    }
}

impl Caller {
    /// The one whose key these headers carry.
    pub fn of(api: &ApiState, headers: &HeaderMap) -> Result<Self, Problem> {
        let keys = api.keys.load();
        if keys.is_empty() {
            return Ok(Self::anyone());
        }
        let identity = keys.authenticate(headers)?;
        let label = KeyLabel { key: identity.name.as_ref().to_owned() };
        api.metrics.api_key_uses.get_or_create(&label).inc();
        Ok(Self(Some(identity)))
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        Self::of(api, &parts.headers)
    }
}

// === impl ChannelPath ===

impl FromRequestParts<ApiState> for ChannelPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        let name = Path::<String>::from_request_parts(parts, api).await.map_err(|_| {
            Error::new(ErrorCode::ChannelInvalid, "the channel's name in the path is not UTF-8")
                .field("channel")
        })?;
        Ok(Self(Channel::new(&name).map_err(Error::from)?))
    }
}

// === impl UserPath ===

impl FromRequestParts<ApiState> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, api).await.map_err(|_| {
            Error::new(ErrorCode::BadRequest, "the user's id in the path is not UTF-8")
                .field("user")
        })?;
        user_channel(&id).map_err(|error| error.field("user"))?;
        Ok(Self(id))
    }
}

/// The channel of a user; its errors speak of the user.
pub fn user_channel(id: &str) -> Result<Channel, Error> {
    let refuse = |words| Err(Error::new(ErrorCode::BadRequest, words));
    match Channel::user(id) {
        _ if id.is_empty() => refuse("a user's id is empty"),
        Ok(channel) => Ok(channel),
        Err(crate::channel::ChannelError::TooLong(_)) => {
            refuse("a user's id is too long; 194 bytes at most")
        }
        Err(_) => refuse("a user's id has a control character"),
    }
}

// === impl QueryText ===

impl QueryText {
    /// Reads the parameters into `T`, whose fields are strings.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Problem> {
        serde_path_to_error::deserialize(serde_json::Value::Object(self.0)).map_err(|error| {
            let field = error.path().to_string();
            let error = Error::new(ErrorCode::BadRequest, format!("query: {}", error.inner()));
            if field == "." { error.into() } else { error.field(field).into() }
        })
    }
}

impl FromRequestParts<ApiState> for QueryText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let mut values = serde_json::Map::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if values.insert(name.to_string(), value.into()).is_some() {
                return Err(Error::new(
                    ErrorCode::BadRequest,
                    format!("`{name}` stands twice in the query; pass it once"),
                )
                .field(name.into_owned())
                .into());
            }
        }
        Ok(Self(values))
    }
}

/// The parameter `limit`: a whole number from 1 to `max`.
pub fn parse_limit(text: Option<&str>, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(default) };
    match text.parse::<usize>() {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(Error::new(
            ErrorCode::BadRequest,
            format!("`limit` is a whole number from 1 to {max}"),
        )
        .field("limit")
        .into()),
    }
}

/// Bytes of a refused body that are read at least, if they come: what people
/// send by mistake is smaller.
const DISCARDED: usize = 32 << 20;

/// Reads a JSON body of at most `limit` bytes that must be there within
/// `timeout`.
pub async fn read_body<B: HttpBody<Data = Bytes> + Unpin>(
    headers: &HeaderMap,
    body: B,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse::<u64>().ok());
    let read = async {
        if let Err(refusal) = require_json(headers) {
            discard(body, limit).await;
            return Err(refusal);
        }
        if announced.is_some_and(|length| length > limit as u64) {
            discard(body, limit).await;
            return Err(too_large(limit));
        }
        collect(body, limit).await
    };
    tokio::time::timeout(timeout, read).await.unwrap_or_else(|_| {
        Err(Problem::with_status(
            Error::new(
                ErrorCode::BadRequest,
                format!(
                    "the body was not there within {} (limits.bodyTimeout); send it faster",
                    gateway_config::Period::from_millis(
                        u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
                    )
                ),
            ),
            StatusCode::REQUEST_TIMEOUT,
        ))
    })
}

/// Only JSON: no web page can send that type to another origin without
/// asking first (a CORS preflight), and the API never says yes to that.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let error = Error::new(
        ErrorCode::BadRequest,
        "the body's type must be JSON; send the header `Content-Type: application/json`",
    );
    Err(Problem::with_status(error, StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    // Room for what is announced at once, but not for more than is plausible
    // before a byte of it is there.
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut whole = BytesMut::with_capacity(expected.min(limit).min(1 << 20));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            discard(body, limit).await;
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads on for some time and throws it away: a client that is still
/// sending would else see a reset and never the answer.
async fn discard(mut body: impl HttpBody<Data = Bytes> + Unpin, limit: usize) {
    let mut left = limit.saturating_mul(4).max(DISCARDED);
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn too_large(limit: usize) -> Problem {
    Error::new(
        ErrorCode::PayloadTooLarge,
        format!(
            "the body is larger than {limit} bytes, which is what limits.publicationBytes allows \
             for this call; send less at once"
        ),
    )
    .into()
}

/// Reads a JSON text. The error names line, column and the field at fault.
pub fn parse_json<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Problem> {
    // To know where a fault is costs more than to read what has none.
    if let Ok(parsed) = serde_json::from_slice(text) {
        return Ok(parsed);
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        json_problem(&field, error.inner())
    })?;
    reader.end().map_err(|error| json_problem(".", &error))?;
    Ok(parsed)
}

fn json_problem(field: &str, error: &serde_json::Error) -> Problem {
    let words = form(error);
    let words =
        if error.is_data() { words } else { format!("the body is not valid JSON: {words}") };
    let problem = Error::new(ErrorCode::BadRequest, words);
    let nameless = field == "." || field == "?" || !error.is_data();
    if nameless { problem.into() } else { problem.field(field.to_owned()).into() }
}

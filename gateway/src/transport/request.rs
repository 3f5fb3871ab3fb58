//! What a request says, and how it is refused.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::origin::Verdict;
use crate::error::Error;
use crate::session::engine::PollResponse;
use crate::session::events::StreamBody;

/// A response's body: whole, or a stream of events.
pub enum ResponseBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// As long as the client stays.
    Events(StreamBody),
}

/// Who sent a request, and what its query says.
pub struct Caller {
    /// The query string.
    pub query: Query,
    /// Whether its web page may.
    pub verdict: Verdict,
    /// The client's address, as far as it is known.
    pub address: IpAddr,
}

/// A request's query string.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    /// Reads it; what is not UTF-8 is replaced.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The last value of a key, as the reference server takes it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// The token of a request: `?token=`, or the bearer of `Authorization`.
pub fn token(query: &Query, headers: &HeaderMap) -> Option<String> {
    let bearer = || {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    };
    query.get("token").map(str::to_owned).or_else(bearer)
}

/// Whether a request wants to become a WebSocket.
pub fn wants_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &header::CONNECTION, "upgrade")
        && has_token(headers, &header::UPGRADE, "websocket")
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// A whole response.
pub fn response(status: u16, content_type: &'static str, body: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(Full::new(body)));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal as problem+json (RFC 9457).
pub fn problem(error: &Error) -> Response<ResponseBody> {
    let body = serde_json::json!({
        "type": format!("urn:pushcluster:error:{}", error.code.as_str()),
        "title": error.code.as_str().replace('_', " "),
        "status": error.code.status(),
        "detail": error.message,
        "code": error.code.as_str(),
        "retry": error.code.retry(),
        "field": error.field,
    });
    let body = body.to_string().into();
    let mut response = response(error.code.status(), "application/problem+json", body);
    let headers = response.headers_mut();
    if matches!(error.code.status(), 429 | 503) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if error.code.status() == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

// === impl ResponseBody ===

impl From<PollResponse> for Response<ResponseBody> {
    fn from(poll: PollResponse) -> Self {
        response(poll.status, poll.content_type, poll.body)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(body) => body.size_hint(),
        }
    }
}

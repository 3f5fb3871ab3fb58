//! `/sse`: Server-Sent Events.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::plain::admit;
use super::request::{Caller, ResponseBody, problem, token};
use crate::auth::Newcomer;
use crate::error::{Error, ErrorCode};
use crate::offset::{Offset, OffsetError};
use crate::protocol::sse;
use crate::relay::jetstream::jitter;
use crate::session::events::{StreamBody, StreamRequest};
use crate::shard::Shard;

/// A client that is refused for now waits so long at least before it comes
/// back, as long as browsers do by themselves.
const RETRY_LEAST: Duration = Duration::from_secs(2);
/// And up to so much longer.
const RETRY_SPREAD: Duration = Duration::from_secs(4);

/// Answers a request for an event stream.
pub async fn handle(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    caller: &Caller,
) -> Response<ResponseBody> {
    let body = match open(shard, &request, caller).await {
        Ok(body) => body,
        Err(error) => {
            shard.refused(&error);
            let comes_back = error.code.retry() && takes_events(&request);
            return if comes_back { later(&error) } else { problem(&error) };
        }
    };
    stream(ResponseBody::Events(body))
}

/// A refusal that may not last, as a stream that says so and when to come
/// back: at any other answer a browser's `EventSource` gives up for good.
fn later(error: &Error) -> Response<ResponseBody> {
    // Spread, so that those who were refused together don't come together.
    let wait = RETRY_LEAST + RETRY_SPREAD.mul_f64(jitter());
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let parts = [sse::retry(wait), sse::notice("push:error", &error.to_json())];
    let body: Bytes = parts.concat().into();
    stream(ResponseBody::Whole(Full::new(body)))
}

/// Whether a client asks for an event stream by name, as browsers do. Who
/// takes anything is told by the status.
fn takes_events(request: &Request<Incoming>) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn stream(body: ResponseBody) -> Response<ResponseBody> {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds a response back unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

async fn open(
    shard: &Rc<Shard>,
    request: &Request<Incoming>,
    caller: &Caller,
) -> Result<StreamBody, Error> {
    if request.method() != Method::GET {
        return Err(Error::new(ErrorCode::MethodNotAllowed, "an event stream is fetched by GET"));
    }
    let place = admit(shard, caller).await?;
    let query = &caller.query;
    let token = token(query, request.headers());
    let newcomer = Newcomer { token: token.as_deref(), protocol: "sse", namespace: "/" };
    let identity = shard.shared.auth.authenticate(newcomer).await?;
    let since = last_event_id(request)?.or_else(|| query.get("since").map(str::to_owned));
    let since = since.as_deref().filter(|text| !text.is_empty()).map(str::parse::<Offset>);
    let last =
        query.get("last").map(str::parse::<usize>).transpose().map_err(|_| {
            Error::new(ErrorCode::BadRequest, "`last` is not a number").field("last")
        })?;
    let stream = StreamRequest {
        channels: query.all("channel").map(str::to_owned).collect(),
        since: since.transpose()?,
        last,
    };
    StreamBody::open(shard, identity, &stream, (place, caller.address)).await
}

/// `Last-Event-ID`, which a browser sends as UTF-8.
fn last_event_id(request: &Request<Incoming>) -> Result<Option<String>, Error> {
    let Some(value) = request.headers().get("last-event-id") else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| OffsetError)?;
    Ok(Some(text.to_owned()))
}

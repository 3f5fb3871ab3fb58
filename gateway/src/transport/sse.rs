//! `/sse`: Server-Sent Events.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::origin::Verdict;
use super::plain::admit;
use super::request::{Query, ResponseBody, problem, token};
use crate::error::{Error, ErrorCode};
use crate::offset::{Offset, OffsetError};
use crate::session::events::{StreamBody, StreamRequest};
use crate::shard::Shard;

/// Answers a request for an event stream.
pub async fn handle(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    query: &Query,
    verdict: &Verdict,
) -> Response<ResponseBody> {
    let body = match open(shard, &request, query, verdict).await {
        Ok(body) => body,
        Err(error) => {
            shard.refused(&error);
            return problem(&error);
        }
    };
    let mut answer = Response::new(ResponseBody::Events(body));
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
    query: &Query,
    verdict: &Verdict,
) -> Result<StreamBody, Error> {
    if request.method() != Method::GET {
        return Err(Error::new(ErrorCode::MethodNotAllowed, "an event stream is fetched by GET"));
    }
    let place = admit(shard, verdict)?;
    let token = token(query, request.headers());
    let identity = shard.shared.auth.authenticate(token.as_deref()).await?;
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
    StreamBody::open(shard, identity, &stream, place).await
}

/// `Last-Event-ID`, which a browser sends as UTF-8.
fn last_event_id(request: &Request<Incoming>) -> Result<Option<String>, Error> {
    let Some(value) = request.headers().get("last-event-id") else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| OffsetError)?;
    Ok(Some(text.to_owned()))
}

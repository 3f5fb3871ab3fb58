//! Engine.IO requests: handshakes, polls and data, each brought to the shard
//! that holds its session. The order of the checks and the answers are the
//! reference server's (engine.io `server.ts`).

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::sync::oneshot;

use super::origin::Verdict;
use super::request::{Caller, ResponseBody, response, token, wants_websocket};
use crate::cluster::Member;
use crate::error::{Error, ErrorCode};
use crate::metrics::CodeLabel;
use crate::protocol::engineio as eio;
use crate::session::engine::{BodyError, Engine, Opening, PollResponse};
use crate::session::sid::SidParts;
use crate::shard::{Control, Shard, ShardHandle};

mod foreign;
mod socket;

pub use socket::adopt;

/// Engine.IO error codes (engine.io `server.ts`, `errors`).
mod code {
    pub(super) const UNKNOWN_TRANSPORT: u8 = 0;
    pub(super) const UNKNOWN_SID: u8 = 1;
    pub(super) const BAD_HANDSHAKE_METHOD: u8 = 2;
    pub(super) const BAD_REQUEST: u8 = 3;
    pub(super) const FORBIDDEN: u8 = 4;
    pub(super) const UNSUPPORTED_VERSION: u8 = 5;
}

/// Who holds a session.
enum Owner {
    /// A shard of this gateway.
    Shard(u8),
    /// Another gateway.
    Peer(Arc<Member>),
}

/// Answers a request on the Engine.IO path.
pub async fn handle(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    caller: &Caller,
) -> Response<ResponseBody> {
    let upgrade = wants_websocket(request.headers());
    match route(shard, request, caller).await {
        Ok(answer) => answer,
        Err(code) => {
            let label = CodeLabel { code: refusal(code) };
            shard.shared.metrics.refused.get_or_create(&label).inc();
            if upgrade { refuse_upgrade(code) } else { PollResponse::error(code).into() }
        }
    }
}

/// Refuses a WebSocket in words alone, as the reference server's
/// `abortUpgrade`.
fn refuse_upgrade(code: u8) -> Response<ResponseBody> {
    let body: serde_json::Value = serde_json::from_str(eio::error_body(code)).unwrap_or_default();
    let words = body["message"].as_str().unwrap_or_default().to_owned();
    let mut answer = response(400, "text/html", words.into());
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Whether a session of this gateway is there.
async fn has_engine(shard: &Shard, sid: &str, owner: u8) -> bool {
    if owner == shard.index {
        return shard.engine(sid).is_some();
    }
    let (reply, answer) = oneshot::channel();
    let Some(remote) = shard.shared.shards.get(owner) else { return false };
    let asked = remote.send(Control::HasEngine { sid: sid.into(), reply }).await;
    asked.is_ok() && answer.await.unwrap_or(false)
}

/// A refusal's label in the metrics.
fn refusal(code: u8) -> &'static str {
    match code {
        code::UNKNOWN_TRANSPORT => "unknown_transport",
        code::UNKNOWN_SID => "unknown_sid",
        code::BAD_HANDSHAKE_METHOD => "bad_handshake_method",
        code::FORBIDDEN => "forbidden",
        code::UNSUPPORTED_VERSION => "unsupported_version",
        _ => "bad_request",
    }
}

async fn route(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    caller: &Caller,
) -> Result<Response<ResponseBody>, u8> {
    let Caller { query, verdict, address } = caller;
    let upgrade = wants_websocket(request.headers());
    let websocket = match query.get("transport") {
        Some("polling") => false,
        Some("websocket") => true,
        _ => return Err(code::UNKNOWN_TRANSPORT),
    };
    if *verdict == Verdict::Refused {
        return Err(code::FORBIDDEN);
    }
    if let Some(sid) = query.get("sid").filter(|sid| !sid.is_empty()) {
        return match (websocket, upgrade, shard.owner(sid)?) {
            (true, true, Owner::Shard(owner)) => {
                socket::upgrade(shard, request, (sid, *address), owner).await
            }
            (false, false, Owner::Shard(owner)) => {
                polling(shard, request, (sid, *address), owner).await
            }
            (true, true, Owner::Peer(member)) => {
                foreign::upgrade(shard, request, (sid, *address), member).await
            }
            (false, false, Owner::Peer(member)) => {
                foreign::polling(shard, request, (sid, *address), member).await
            }
            _ => Err(code::BAD_REQUEST),
        };
    }
    if request.method() != Method::GET {
        return Err(code::BAD_HANDSHAKE_METHOD);
    }
    if websocket != upgrade {
        return Err(code::BAD_REQUEST);
    }
    if query.get("EIO") != Some("4") {
        return Err(code::UNSUPPORTED_VERSION);
    }
    let place = match shard.shared.door.enter(*address).await {
        Ok(place) => place,
        Err(error) => return Ok(refused(shard, &error)),
    };
    let opening = Opening {
        token: token(query, request.headers()).map(Into::into),
        recovery: query.get("recovery") != Some("0"),
    };
    if websocket {
        return socket::open(shard, request, opening, (place, *address));
    }
    let engine = Engine::open(shard, &*shard.app, &opening, (place, *address), false)
        .map_err(|_| code::BAD_REQUEST)?;
    let packet = engine.handshake();
    Ok(PollResponse::packets(eio::encode_payload(std::iter::once(&packet))).into())
}

/// The gateway takes no more: the client library tries again later.
fn full(shard: &Shard) -> Response<ResponseBody> {
    let words = "too many clients pass through this gateway; try again in a moment";
    refused(shard, &Error::new(ErrorCode::LimitConnections, words))
}

/// A refusal in Engine.IO's form: its code for everything else, and the words.
fn refused(shard: &Shard, error: &Error) -> Response<ResponseBody> {
    shard.refused(error);
    let body = serde_json::json!({
        "code": code::BAD_REQUEST,
        "message": error.message,
        "error": error.code.as_str(),
    });
    let body = body.to_string().into();
    let mut answer = response(error.code.status(), "application/json", body);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

async fn polling(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    (sid, from): (&str, IpAddr),
    owner: u8,
) -> Result<Response<ResponseBody>, u8> {
    let remote = if owner == shard.index {
        None
    } else {
        shard.shared.metrics.shard_hops.inc();
        Some(shard.shared.shards.get(owner).cloned().ok_or(code::UNKNOWN_SID)?)
    };
    let answer = match *request.method() {
        Method::GET => match remote {
            None => shard.engine(sid).ok_or(code::UNKNOWN_SID)?.poll(from).await,
            Some(remote) => {
                hop(&remote, |reply| Control::Poll { sid: sid.into(), from, reply }).await?
            }
        },
        Method::POST => post(shard, request, (sid, from), remote).await?,
        // As the reference server, which looks for the session first.
        _ if !has_engine(shard, sid, owner).await => return Err(code::UNKNOWN_SID),
        _ => PollResponse { status: 500, content_type: "text/plain", body: Bytes::new() },
    };
    Ok(answer.into())
}

/// Asks another shard of this gateway.
async fn hop(
    remote: &ShardHandle,
    ask: impl FnOnce(oneshot::Sender<PollResponse>) -> Control,
) -> Result<PollResponse, u8> {
    let (reply, answer) = oneshot::channel();
    remote.send(ask(reply)).await.map_err(|_| code::UNKNOWN_SID)?;
    answer.await.map_err(|_| code::UNKNOWN_SID)
}

/// A data request. Its packets are handled in a task of their own: a client
/// that hangs up in the middle leaves no half-handled packet.
async fn post(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    (sid, from): (&str, IpAddr),
    remote: Option<ShardHandle>,
) -> Result<PollResponse, u8> {
    let (sender, body) = oneshot::channel();
    let read = async {
        // The session may be gone meanwhile.
        let _ = sender.send(read_body(shard, request).await);
    };
    if let Some(remote) = remote {
        let ask = |reply| Control::Post { sid: sid.into(), from, body, reply };
        let ((), answer) = futures_util::future::join(read, hop(&remote, ask)).await;
        return answer;
    }
    let engine = shard.engine(sid).ok_or(code::UNKNOWN_SID)?;
    let work = shard.tasks.spawn_local(async move {
        engine.post(from, async { body.await.unwrap_or(Err(BodyError::Broken)) }).await
    });
    read.await;
    work.await.map_err(|_| code::BAD_REQUEST)
}

async fn read_body(shard: &Shard, request: Request<Incoming>) -> Result<Bytes, BodyError> {
    let limit = shard.shared.config.socketio.max_payload;
    let patience = shard.shared.limits.load().body_timeout.get();
    let kind = request.headers().get(header::CONTENT_TYPE);
    // Revision 4 sends text only: binary is base64 inside it.
    if kind.is_some_and(|kind| kind == "application/octet-stream") {
        return Err(BodyError::Broken);
    }
    if request.body().size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    let body = Limited::new(request.into_body(), limit);
    match tokio::time::timeout(patience, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) | Err(_) => Err(BodyError::Broken),
    }
}

// === impl Shard ===

impl Shard {
    /// Who holds a session; error 1 when nobody who is there can.
    fn owner(&self, sid: &str) -> Result<Owner, u8> {
        let SidParts { gateway, shard } = self.shared.sid_key.read(sid).ok_or(code::UNKNOWN_SID)?;
        if gateway == self.shared.gateway {
            return Ok(Owner::Shard(shard));
        }
        self.shared.cluster.members.get(gateway).map(Owner::Peer).ok_or(code::UNKNOWN_SID)
    }

    fn engine(&self, sid: &str) -> Option<Rc<Engine>> {
        self.engines.borrow().get(sid)
    }
}

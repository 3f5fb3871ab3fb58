//! The peer listener: requests for sessions of this gateway that came in at
//! another one. They take the same way to their shard as those of another
//! shard's listener.

use std::convert::Infallible;
use std::net::{IpAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::forward::{DIGEST, STAMP, covered, digest_of};
use super::signer::Refusal;
use crate::protocol::websocket::accept_key;
use crate::session::engine::{BodyError, PollResponse};
use crate::shard::{Control, ShardHandle, Shared};
use crate::transport::patient::Patient;
use crate::transport::request::{Query, wants_websocket};
use crate::transport::stream::ClientStream;
use crate::transport::websocket::into_stream;

/// How long a request's headers may take, and how long a connection may stay
/// without a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of something (open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = Response<Full<Bytes>>;

/// Serves other gateways until the stop.
pub(super) async fn serve(shared: &Arc<Shared>, listener: StdListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    // Each client that passes through somewhere else has a connection here.
    let room =
        Arc::new(Semaphore::new(shared.config.limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    let upgrades = TaskTracker::new();
    let stop = &shared.cluster.stop;
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = room.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (shared, upgrades) = (shared.clone(), upgrades.clone());
                connections.spawn(async move {
                    serve_one(&shared, &upgrades, stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "another gateway's connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Upgrades under way are given up with their connections.
    connections.shutdown().await;
    upgrades.close();
    upgrades.wait().await;
    Ok(())
}

async fn serve_one(shared: &Arc<Shared>, upgrades: &TaskTracker, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = &shared.cluster.tls else {
        return serve_http(shared, upgrades, ClientStream::Plain(stream)).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => serve_http(shared, upgrades, ClientStream::Tls(Box::new(stream))).await,
        Err(refused) => tls.refused(&refused),
    }
}

async fn serve_http(shared: &Arc<Shared>, upgrades: &TaskTracker, stream: ClientStream) {
    let service = service_fn(|request| {
        let (shared, upgrades) = (shared.clone(), upgrades.clone());
        async move { Ok::<_, Infallible>(handle(&shared, &upgrades, request).await) }
    });
    let patience = shared.config.socketio.ping_timeout.get();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(Patient::new(stream, patience), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::trace!(%error, "another gateway's connection ended");
    }
}

async fn handle(
    shared: &Arc<Shared>,
    upgrades: &TaskTracker,
    request: Request<Incoming>,
) -> Answer {
    let digest = match authenticate(shared, &request) {
        Ok(digest) => digest,
        Err(refusal) => {
            shared.cluster.refused(refusal);
            tracing::warn!(%refusal, "a request to the peer listener was refused");
            return plain(StatusCode::UNAUTHORIZED, refusal.to_string());
        }
    };
    let query = Query::parse(request.uri().query());
    let Some(sid) = query.get("sid").map(Box::<str>::from) else {
        return plain(StatusCode::NOT_FOUND, "no such path".to_owned());
    };
    // Another version may not say it.
    let from = query.get("from").and_then(|from| from.parse().ok());
    let from = from.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    // Never passed on again: a request has at most two gateways.
    let holder = shared.sid_key.read(&sid).filter(|parts| parts.gateway == shared.gateway);
    let Some(holder) = holder.and_then(|parts| shared.shards.get(parts.shard)) else {
        return polled(PollResponse::error(1));
    };
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/peer/poll") => {
            let (reply, answer) = oneshot::channel();
            let sent = holder.send(Control::Poll { sid, from, reply }).await;
            settle(sent.is_ok(), answer).await
        }
        (&Method::POST, "/peer/post") => {
            let body = match query.get("fault") {
                None => read(shared, request, &digest).await,
                Some("large") => Err(BodyError::TooLarge),
                Some(_) => Err(BodyError::Broken),
            };
            let (sender, receiver) = oneshot::channel();
            // The receiver is here.
            let _ = sender.send(body);
            let (reply, answer) = oneshot::channel();
            let sent = holder.send(Control::Post { sid, from, body: receiver, reply }).await;
            settle(sent.is_ok(), answer).await
        }
        (&Method::GET, "/peer/websocket") => {
            upgrade(upgrades, holder.clone(), (sid, from), request).await
        }
        _ => plain(StatusCode::NOT_FOUND, "no such path".to_owned()),
    }
}

/// The body's digest that the stamp speaks of.
fn authenticate(shared: &Shared, request: &Request<Incoming>) -> Result<String, Refusal> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (Some(stamp), Some(digest)) = (text(STAMP), text(DIGEST)) else {
        return Err(Refusal::Missing);
    };
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let to = shared.gateway.to_string();
    shared.cluster.requests.check(stamp, &covered(&to, request.method(), path, digest))?;
    Ok(digest.to_owned())
}

async fn read(
    shared: &Shared,
    request: Request<Incoming>,
    digest: &str,
) -> Result<Bytes, BodyError> {
    let body = Limited::new(request.into_body(), shared.config.socketio.max_payload).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => return Err(BodyError::Broken),
    };
    if digest_of(&body) == digest {
        Ok(body)
    } else {
        shared.cluster.refused(Refusal::Forged);
        Err(BodyError::Broken)
    }
}

async fn settle(sent: bool, answer: oneshot::Receiver<PollResponse>) -> Answer {
    if !sent {
        return polled(PollResponse::error(1));
    }
    polled(answer.await.unwrap_or_else(|_| PollResponse::error(1)))
}

async fn upgrade(
    upgrades: &TaskTracker,
    shard: ShardHandle,
    (sid, from): (Box<str>, IpAddr),
    mut request: Request<Incoming>,
) -> Answer {
    let (reply, answer) = oneshot::channel();
    let asked = shard.send(Control::HasEngine { sid: sid.clone(), reply }).await;
    if asked.is_err() || !answer.await.unwrap_or(false) {
        return polled(PollResponse::error(1));
    }
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| wants_websocket(headers));
    let accept = key.and_then(|key| HeaderValue::try_from(accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else { return polled(PollResponse::error(3)) };
    let upgrade = hyper::upgrade::on(&mut request);
    // The upgrade is done, or given up, when the answer below is written.
    let moved = async move {
        let Ok(taken) = upgrade.await else { return };
        let Some((stream, leftover)) = into_stream(taken) else { return };
        if let Ok(stream) = stream.try_into() {
            let _ = shard.send(Control::Upgrade { sid, from, stream, leftover }).await;
        }
    };
    upgrades.spawn(moved);
    let mut answer = plain(StatusCode::SWITCHING_PROTOCOLS, String::new());
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

fn polled(answer: PollResponse) -> Answer {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn plain(status: StatusCode, words: String) -> Answer {
    let mut response = Response::new(Full::new(words.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

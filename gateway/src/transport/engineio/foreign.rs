//! Requests for a session of another gateway: passed on to it. The client
//! notices nothing, but that it takes a little longer.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio_util::sync::CancellationToken;

use super::{code, full, read_body};
use crate::cluster::forward::{self, Gone, PeerStream};
use crate::cluster::{Member, Passing};
use crate::session::engine::{BodyError, PollResponse};
use crate::shard::Shard;
use crate::transport::http::switch_protocols;
use crate::transport::request::{ResponseBody, response};
use crate::transport::stream::ClientStream;
use crate::transport::websocket::into_stream;

/// Bytes on the way from a client, and to it.
const BUFFERS: (usize, usize) = (4 << 10, 16 << 10);

/// Both ends of a WebSocket that passes through, each with the bytes that
/// came behind its handshake.
struct Splice {
    member: Arc<Member>,
    client: (ClientStream, Bytes),
    owner: (PeerStream, Bytes),
}

/// Reads a client's data. Dropped before it is there: the client hung up, and
/// the session's gateway is told, as it would have seen itself.
struct Told(Option<(Rc<Shard>, Arc<Member>, Asked)>);

/// Which session is asked for, and where its client is.
type Asked = (Box<str>, IpAddr);

/// A poll, or data.
pub(super) async fn polling(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    (sid, from): (&str, IpAddr),
    member: Arc<Member>,
) -> Result<Response<ResponseBody>, u8> {
    let cluster = &shard.shared.cluster;
    let metrics = &shard.shared.metrics;
    let Some(_passing) = cluster.pass(shard.shared.config.limits.connections) else {
        return Ok(full(shard));
    };
    let answer = match *request.method() {
        Method::GET => {
            metrics.peer_forwarded_polls.inc();
            shard.forwarder.poll(cluster, &member, (sid, from)).await
        }
        Method::POST => {
            metrics.peer_forwarded_posts.inc();
            // In a task of its own: a client that hangs up in the middle
            // leaves no half-handled packet, and its session learns of it.
            let (inner, sid) = (shard.clone(), Box::<str>::from(sid));
            let body = Told::new(shard, member.clone(), (sid.clone(), from));
            let body = body.read(request).await;
            let work = shard.tasks.spawn_local(async move {
                inner.forwarder.post(&inner.shared.cluster, &member, (&sid, from), body).await
            });
            work.await.unwrap_or(Err(Gone))
        }
        // As the reference server.
        _ => Ok(PollResponse { status: 500, content_type: "text/plain", body: Bytes::new() }),
    };
    answer.map(Into::into).map_err(|Gone| code::UNKNOWN_SID)
}

// === impl Told ===

impl Told {
    fn new(shard: &Rc<Shard>, member: Arc<Member>, session: Asked) -> Self {
        Self(Some((shard.clone(), member, session)))
    }

    async fn read(mut self, request: Request<Incoming>) -> Result<Bytes, BodyError> {
        let Some(shard) = self.0.as_ref().map(|(shard, ..)| shard.clone()) else {
            return Err(BodyError::Broken);
        };
        let body = read_body(&shard, request).await;
        self.0 = None;
        body
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let Some((shard, member, (sid, from))) = self.0.take() else { return };
        // At the stop there is nothing left that could carry it.
        if shard.shared.cluster.stop.is_cancelled() {
            return;
        }
        let inner = shard.clone();
        shard.tasks.spawn_local(async move {
            let broken = Err(BodyError::Broken);
            let cluster = &inner.shared.cluster;
            let _ = inner.forwarder.post(cluster, &member, (&sid, from), broken).await;
        });
    }
}

/// A WebSocket that upgrades a session.
pub(super) async fn upgrade(
    shard: &Rc<Shard>,
    mut request: Request<Incoming>,
    (sid, from): (&str, IpAddr),
    member: Arc<Member>,
) -> Result<Response<ResponseBody>, u8> {
    let cluster = &shard.shared.cluster;
    let Some(passing) = cluster.pass(shard.shared.config.limits.connections) else {
        return Ok(full(shard));
    };
    let answer = switch_protocols(&request).map_err(|_| code::BAD_REQUEST)?;
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned().ok_or(code::BAD_REQUEST)?;
    let taken = shard.forwarder.upgrade(cluster, &member, (sid, from), key).await;
    let taken = taken.map_err(|Gone| code::UNKNOWN_SID)?;
    if taken.status() != StatusCode::SWITCHING_PROTOCOLS {
        return refused(taken).await;
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let inner = shard.clone();
    shard.tasks.spawn_local(async move {
        let owner = hyper::upgrade::on(taken).await.ok().and_then(forward::into_stream);
        let client = upgrade.await.ok().and_then(into_stream);
        if let (Some(client), Some(owner)) = (client, owner) {
            Splice { member, client, owner }.run(&inner, passing).await;
        }
    });
    Ok(answer)
}

/// What the session's gateway says instead.
async fn refused(answer: Response<Incoming>) -> Result<Response<ResponseBody>, u8> {
    if answer.status() != StatusCode::BAD_REQUEST {
        return Err(code::UNKNOWN_SID);
    }
    let body = answer.into_body().collect().await.map_err(|_| code::UNKNOWN_SID)?.to_bytes();
    Ok(response(400, "application/json", body))
}

// === impl Splice ===

impl Splice {
    async fn run(mut self, shard: &Shard, _passing: Passing) {
        let metrics = &shard.shared.metrics;
        metrics.peer_spliced.inc();
        metrics.peer_splices.inc();
        let gone = self.member.gone.clone();
        let stop = shard.shared.cluster.stop.clone();
        let drained = CancellationToken::new();
        let key = shard.splices.borrow_mut().insert(drained.clone());
        tokio::select! {
            _ = self.copy() => {}
            // The client comes back, to another gateway.
            () = gone.cancelled() => {}
            () = drained.cancelled() => {}
            () = stop.cancelled() => {}
        }
        shard.splices.borrow_mut().remove(key);
        metrics.peer_splices.dec();
    }

    async fn copy(&mut self) -> std::io::Result<(u64, u64)> {
        let (client, sent) = &mut self.client;
        let (owner, answered) = &mut self.owner;
        owner.write_all(sent).await?;
        owner.flush().await?;
        client.write_all(answered).await?;
        copy_bidirectional_with_sizes(client, owner, BUFFERS.0, BUFFERS.1).await
    }
}

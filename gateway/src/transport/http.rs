//! A shard's listener: HTTP/1.1 requests to their handlers.

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioTimer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::patient::Patient;
use super::request::{Query, ResponseBody, problem, response, wants_websocket};
use super::{engineio, origin, plain, sse};
use crate::error::{Error, ErrorCode};
use crate::protocol::websocket::accept_key;
use crate::shard::Shard;

/// Connections that the kernel holds before they are accepted.
const BACKLOG: i32 = 4096;
/// Pause after an accept that failed for want of something (open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// hyper's own minimum for a connection's buffer.
const LEAST_BUFFER: usize = 8 << 10;

/// One listening socket for each shard, all on one port: the kernel spreads
/// connections over them.
pub fn bind(listen: &str, shards: usize) -> std::io::Result<Vec<std::net::TcpListener>> {
    let address = listen.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    // Another process must not share the port by accident: the first socket
    // takes it alone, then lets its own siblings in.
    drop(bind_one(address, false)?);
    let first = bind_one(address, true)?;
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(bind_one(bound, true)?);
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr, share: bool) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections until `stop`.
pub async fn accept(shard: &Rc<Shard>, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // Frames are small and wanted now; Nagle's algorithm would
                // hold them back (RFC 896).
                let _ = stream.set_nodelay(true);
                let inner = shard.clone();
                shard.tasks.spawn_local(async move { serve(&inner, stream).await });
            }
            Err(error) => {
                // Out of open files, mostly: what is connected goes on.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(shard: &Rc<Shard>, stream: TcpStream) {
    let limits = shard.shared.limits.load_full();
    // What counts as gone over a WebSocket counts as gone here.
    let patience = shard.shared.config.socketio.ping_timeout.get();
    let service = service_fn(|request| {
        let shard = shard.clone();
        async move { Ok::<_, Infallible>(handle(&shard, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout.get())
        .max_buf_size(limits.header_bytes.max(LEAST_BUFFER))
        .serve_connection(Patient::new(stream, patience), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shard.shared.leaving.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A client that breaks off or sends what isn't HTTP has had its answer
    // from hyper; there is nobody to tell.
    if let Err(error) = ended {
        tracing::trace!(%error, "a client's connection ended");
    }
}

async fn handle(shard: &Rc<Shard>, request: Request<Incoming>) -> Response<ResponseBody> {
    let config = &shard.shared.config;
    let verdict = origin::judge(&config.client.allowed_origins, request.headers());
    let path = request.uri().path().to_owned();
    let engine = path.starts_with(&*config.socketio.path);
    let known = engine || path == "/ws" || path == "/sse";
    if known && request.method() == Method::OPTIONS {
        return verdict.preflight(request.headers());
    }
    let query = Query::parse(request.uri().query());
    let mut answer = match &*path {
        "/ws" => plain::handle(shard, request, &query, &verdict),
        "/sse" => sse::handle(shard, request, &query, &verdict).await,
        _ if engine => engineio::handle(shard, request, &query, &verdict).await,
        _ => not_found(&config.socketio.path),
    };
    verdict.mark(answer.headers_mut());
    answer
}

fn not_found(path: &str) -> Response<ResponseBody> {
    problem(&Error::new(
        ErrorCode::NotFound,
        format!(
            "nothing here; Socket.IO clients use {path}, plain WebSockets /ws, event streams /sse"
        ),
    ))
}

/// Answers a WebSocket handshake (RFC 6455, section 4.2).
pub fn switch_protocols(request: &Request<Incoming>) -> Result<Response<ResponseBody>, Error> {
    let headers = request.headers();
    let bad = |words: &'static str| Error::new(ErrorCode::BadRequest, words);
    if request.method() != Method::GET || !wants_websocket(headers) {
        return Err(bad("this is a WebSocket endpoint; send an upgrade request"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("the WebSocket version is not 13"));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == 24)
        .ok_or_else(|| bad("the WebSocket key is missing or malformed"))?;
    let accept = HeaderValue::try_from(accept_key(key.as_bytes()))
        .map_err(|_| bad("the WebSocket key is malformed"))?;
    let mut answer = response(101, "text/plain", Bytes::new());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

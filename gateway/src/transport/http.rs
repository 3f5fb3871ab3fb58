//! A shard's listener: HTTP/1.1 requests to their handlers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioTimer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::patient::Patient;
use super::request::{Caller, Query, ResponseBody, problem, response, wants_websocket};
use super::stream::ClientStream;
use super::{address, engineio, meaning, origin, plain, sse};
use crate::error::{Error, ErrorCode};
use crate::metrics::{ListenerLabel, ReasonLabel};
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
            Ok((stream, peer)) => {
                // Frames are small and wanted now; Nagle's algorithm would
                // hold them back (RFC 896).
                let _ = stream.set_nodelay(true);
                let inner = shard.clone();
                shard.tasks.spawn_local(async move { serve(&inner, stream, peer).await });
            }
            Err(error) => {
                // Out of open files, mostly: what is connected goes on.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(shard: &Rc<Shard>, mut stream: TcpStream, peer: SocketAddr) {
    let limits = shard.shared.limits.load_full();
    let peer = peer.ip().to_canonical();
    let Some(peer) = introduced(shard, &mut stream, peer, limits.handshake_timeout.get()).await
    else {
        return;
    };
    let Some(stream) = encrypted(shard, stream, peer).await else { return };
    // What counts as gone over a WebSocket counts as gone here.
    let patience = shard.shared.config.socketio.ping_timeout.get();
    let service = service_fn(|request| {
        let shard = shard.clone();
        async move { Ok::<_, Infallible>(handle(&shard, request, peer).await) }
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

/// Who is at the other end: the PROXY protocol's header says it, where there
/// has to be one. `None`: there isn't.
async fn introduced(
    shard: &Shard,
    stream: &mut TcpStream,
    peer: IpAddr,
    patience: Duration,
) -> Option<IpAddr> {
    let proxies = &shard.shared.proxies;
    if !shard.shared.config.client.proxy_protocol {
        return Some(peer);
    }
    let known = proxies.is_empty() || proxies.trusts(peer);
    let reason = if known {
        match address::take_header(stream, patience).await {
            Ok(address) => return Some(address.unwrap_or(peer)),
            Err(error) => {
                tracing::debug!(%peer, %error, "a connection without a PROXY protocol header");
                "header"
            }
        }
    } else {
        tracing::debug!(%peer, "a connection from none of `client.trustedProxies`");
        "peer"
    };
    shard.shared.metrics.proxy_refused.get_or_create(&ReasonLabel { reason }).inc();
    None
}

/// The connection, with TLS where there has to be. `None`: the client can't,
/// or takes too long. It holds no place all the while.
async fn encrypted(shard: &Shard, stream: TcpStream, peer: IpAddr) -> Option<ClientStream> {
    let Some(tls) = &shard.shared.tls else { return Some(ClientStream::Plain(stream)) };
    match tls.accept(stream).await {
        Ok(stream) => Some(ClientStream::Tls(Box::new(stream))),
        Err(error) => {
            // Port scans and old clients, mostly.
            tracing::debug!(%peer, %error, "a client's TLS handshake failed");
            let label = ListenerLabel { listener: "client" };
            shard.shared.metrics.tls_failed.get_or_create(&label).inc();
            None
        }
    }
}

async fn handle(
    shard: &Rc<Shard>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<ResponseBody> {
    shard.deliver_first();
    if let Some(error) = meaning::doubt(request.version(), request.headers()) {
        shard.refused(&error);
        return meaning::refuse(&error);
    }
    let config = &shard.shared.config;
    let verdict = origin::judge(&config.client.allowed_origins, request.headers());
    let path = request.uri().path().to_owned();
    let engine = path.starts_with(&*config.socketio.path);
    let known = engine || path == "/ws" || path == "/sse";
    if known && request.method() == Method::OPTIONS {
        return verdict.preflight(request.headers());
    }
    let told = shard.shared.proxies.client(peer, request.headers());
    if told.malformed {
        shard.shared.metrics.addresses_malformed.inc();
        tracing::debug!(%peer, "a trusted proxy doesn't say where its client is");
    }
    let query = Query::parse(request.uri().query());
    let caller = Caller { query, verdict, address: told.address };
    let mut answer = match &*path {
        "/ws" => plain::handle(shard, request, &caller).await,
        "/sse" => sse::handle(shard, request, &caller).await,
        _ if engine => engineio::handle(shard, request, &caller).await,
        _ => not_found(&config.socketio.path),
    };
    caller.verdict.mark(answer.headers_mut());
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
    // HTTP/1.0 has no upgrade (RFC 9110, section 7.8).
    let upgrade = request.method() == Method::GET
        && request.version() >= Version::HTTP_11
        && wants_websocket(headers);
    if !upgrade {
        return Err(bad("this is a WebSocket endpoint; send an upgrade request"));
    }
    if !request.body().is_end_stream() {
        // It would be read as frames.
        return Err(bad("a WebSocket handshake has no body"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("the WebSocket version is not 13"));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys
        .next()
        .filter(|key| keys.next().is_none() && is_key(key.as_bytes()))
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

/// 16 bytes in base64 (RFC 6455, section 4.2.1).
fn is_key(key: &[u8]) -> bool {
    let mut bytes = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut bytes) == Ok(16)
}

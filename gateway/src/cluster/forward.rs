//! Requests for sessions of another gateway, to its peer listener. The
//! address is the one of its heartbeats; each request carries a stamp.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::stream::PeerConnector;
pub use super::stream::PeerStream;
use super::tls::PeerTls;
use super::{Cluster, Member};
use crate::session::engine::{BodyError, PollResponse};

/// The header with the stamp.
pub const STAMP: &str = "push-peer";
/// The header with the body's SHA-256, in base64url; the stamp covers it.
pub const DIGEST: &str = "push-digest";
/// The header that says what a WebSocket's client may not be asked for again.
const KEY: header::HeaderName = header::SEC_WEBSOCKET_KEY;

/// A gateway that doesn't accept a connection for so long is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a gateway may take to take a WebSocket over.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections without a request are kept for so long; less than the peer
/// listener keeps them.
const IDLE: Duration = Duration::from_secs(15);
/// And so many for each gateway.
const IDLE_MOST: usize = 64;

/// One shard's connections to other gateways.
pub struct Forwarder {
    client: Client<PeerConnector, Full<Bytes>>,
}

/// The gateway that holds the session can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway that holds the session is gone")]
pub struct Gone;

// === impl Forwarder ===

impl Forwarder {
    /// Without a connection.
    pub fn new(tls: Option<Arc<PeerTls>>) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // The scheme says whether there is TLS, which the connector knows.
        http.enforce_http(false);
        let connector = PeerConnector { http, tls };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MOST)
            .build(connector);
        Self { client }
    }

    /// Polls for a client. Dropping it drops the poll there, and that closes
    /// the session, as if the client had polled there.
    pub async fn poll(
        &self,
        cluster: &Cluster,
        member: &Arc<Member>,
        session: (&str, IpAddr),
    ) -> Result<PollResponse, Gone> {
        let request = stamped(cluster, member, Method::GET, &path("poll", session), Bytes::new())?;
        self.answer(member, request).await
    }

    /// Hands a client's data over, or what became of it.
    pub async fn post(
        &self,
        cluster: &Cluster,
        member: &Arc<Member>,
        session: (&str, IpAddr),
        body: Result<Bytes, BodyError>,
    ) -> Result<PollResponse, Gone> {
        let fault = match body {
            Ok(_) => "",
            Err(BodyError::TooLarge) => "&fault=large",
            Err(BodyError::Broken) => "&fault=broken",
        };
        let path = path("post", session) + fault;
        let request = stamped(cluster, member, Method::POST, &path, body.unwrap_or_default())?;
        self.answer(member, request).await
    }

    /// Asks for a WebSocket to a session. The response is a 101, to be
    /// upgraded, or an answer for the client.
    pub async fn upgrade(
        &self,
        cluster: &Cluster,
        member: &Arc<Member>,
        session: (&str, IpAddr),
        key: HeaderValue,
    ) -> Result<Response<Incoming>, Gone> {
        let mut request =
            stamped(cluster, member, Method::GET, &path("websocket", session), Bytes::new())?;
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(KEY, key);
        let response = tokio::time::timeout(UPGRADE_TIMEOUT, self.send(member, request));
        response.await.map_err(|_| Gone)?
    }

    async fn answer(
        &self,
        member: &Arc<Member>,
        request: Request<Full<Bytes>>,
    ) -> Result<PollResponse, Gone> {
        let response = self.send(member, request).await?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            tracing::warn!(gateway = %member.id, "another gateway refuses this one's requests; give all the same `peer.secret`, and look at the machines' clocks");
            return Err(Gone);
        }
        let content_type = known(response.headers().get(header::CONTENT_TYPE));
        let body = tokio::select! {
            body = response.into_body().collect() => body.map_err(|_| Gone)?.to_bytes(),
            () = member.gone.cancelled() => return Err(Gone),
        };
        Ok(PollResponse { status: status.as_u16(), content_type, body })
    }

    async fn send(
        &self,
        member: &Arc<Member>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Gone> {
        tokio::select! {
            response = self.client.request(request) => response.map_err(|error| {
                tracing::debug!(gateway = %member.id, %error, "a gateway can't be reached");
                Gone
            }),
            () = member.gone.cancelled() => Err(Gone),
        }
    }
}

/// Takes the socket out of a connection to another gateway that has been
/// upgraded, with the bytes that came behind its handshake.
pub fn into_stream(upgraded: Upgraded) -> Option<(PeerStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<PeerStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// What a stamp for a peer request covers: it is good at one gateway, for one
/// request.
pub(super) fn covered<'a>(
    to: &'a str,
    method: &'a Method,
    path: &'a str,
    digest: &'a str,
) -> [&'a [u8]; 4] {
    [to.as_bytes(), method.as_str().as_bytes(), path.as_bytes(), digest.as_bytes()]
}

/// A body's digest, as [`DIGEST`] says it.
pub(super) fn digest_of(body: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest(&SHA256, body))
}

/// Which session is asked for, and where its client is; the stamp covers
/// both. The session id is one that we have read: it needs no escape.
fn path(what: &str, (sid, from): (&str, IpAddr)) -> String {
    format!("/peer/{what}?sid={sid}&from={from}")
}

fn stamped(
    cluster: &Cluster,
    member: &Member,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Gone> {
    let address = member.beat.peer.as_deref().ok_or(Gone)?;
    // While `peer.tls` is rolled out: what is asked for is never left out.
    let scheme = match (&cluster.tls, member.beat.tls) {
        (Some(_), true) => "https",
        (None, false) => "http",
        (own, _) => {
            cluster.differs(member, own.is_some());
            return Err(Gone);
        }
    };
    let digest = digest_of(&body);
    let to = member.id.to_string();
    let stamp = cluster.requests.stamp(&covered(&to, &method, path, &digest));
    Request::builder()
        .method(method)
        .uri(format!("{scheme}://{address}{path}"))
        .header(STAMP, stamp)
        .header(DIGEST, digest)
        .body(Full::new(body))
        .map_err(|_| Gone)
}

/// The types that a session's answers have.
fn known(value: Option<&HeaderValue>) -> &'static str {
    const KNOWN: [&str; 3] = ["text/plain; charset=UTF-8", "text/html", "application/json"];
    KNOWN
        .into_iter()
        .find(|known| value.is_some_and(|value| value == known))
        .unwrap_or("text/plain")
}

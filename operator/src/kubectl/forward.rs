//! A request to a gateway's admin listener, over a port that the API server
//! forwards.

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;

use crate::controller::names::port;

/// The admin listener's port.
#[allow(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
const ADMIN: u16 = port::ADMIN.unsigned_abs() as u16;
/// Bytes of the longest answer that is read.
const LONGEST: usize = 1 << 20;

/// Why a gateway did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The API server refused.
    #[error("{}", crate::controller::apply::words(.0))]
    Forward(#[source] kube::Error),
    /// It gave no stream.
    #[error("the API server forwards no port")]
    NoStream,
    /// No request.
    #[error("the request cannot be written: {0}")]
    Write(#[from] http::Error),
    /// The gateway broke off.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// Its answer is too long, or broke off.
    #[error("the answer cannot be read: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It asks for the token.
    #[error("it asks for its token; you need the right to read the Secret <name>-internal")]
    Token,
    /// It refused for another reason.
    #[error("it answers {0}")]
    Refused(StatusCode),
}

/// Sends a request without a body, and returns the answer's.
pub(super) async fn call(
    pods: &Api<Pod>,
    pod: &str,
    method: Method,
    path: &str,
    token: Option<&str>,
) -> Result<Bytes, ForwardError> {
    let mut forwarder = pods.portforward(pod, &[ADMIN]).await.map_err(ForwardError::Forward)?;
    let stream = forwarder.take_stream(ADMIN).ok_or(ForwardError::NoStream)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, pod);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        match answer.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(ForwardError::Token),
            other => return Err(ForwardError::Refused(other)),
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        Ok(body.map_err(ForwardError::Body)?.to_bytes())
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // What it has received is still read.
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}

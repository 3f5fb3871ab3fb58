//! Requests and answers; raw bytes over a socket.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::patience::{PATIENCE, patiently};

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there was no whole answer.
#[derive(Debug)]
pub struct NoReply(pub String);

// === impl Reply ===

impl Reply {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or("(not UTF-8)")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it isn't.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }

    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        Ok(Self { status, headers, body: response.bytes().await?.to_vec() })
    }
}

/// The one client of all tests: making one takes long (it reads the system's
/// certificates). It keeps no connection open, because each test has a runtime
/// of its own, follows no redirect, and has no limit of time.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client without TLS files can be built")
    })
}

/// A request by method and URL.
pub fn request(method: &str, url: &str) -> RequestBuilder {
    let method = Method::from_bytes(method.as_bytes()).expect("a method's name");
    client().request(method, url).timeout(PATIENCE)
}

/// Sends it and reads the answer to its end.
pub async fn try_send(request: RequestBuilder) -> Result<Reply, NoReply> {
    // Boxed: the client's futures are large, and every test holds some.
    let reply = Box::pin(async { Reply::read(request.send().await?).await }).await;
    reply.map_err(|error| NoReply(format!("{error:?}")))
}

/// The same, where there must be an answer.
///
/// # Panics
///
/// When there is none.
pub async fn send(request: RequestBuilder) -> Reply {
    match try_send(request).await {
        Ok(reply) => reply,
        Err(NoReply(why)) => panic!("no answer: {why}"),
    }
}

/// GET.
///
/// # Panics
///
/// When there is no answer.
pub async fn get(url: &str) -> Reply {
    send(request("GET", url)).await
}

/// POST of a body as it is.
///
/// # Panics
///
/// When there is no answer.
pub async fn post(url: &str, body: impl Into<reqwest::Body>) -> Reply {
    send(request("POST", url).body(body)).await
}

/// Writes bytes to a new connection, ends the writing half if told to, and
/// reads until the other side closes or says nothing more for a second.
pub async fn raw(address: &str, bytes: &[u8], half_close: bool) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.expect("the listener accepts");
    let _ = socket.write_all(bytes).await;
    if half_close {
        let _ = socket.shutdown().await;
    }
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    while let Ok(Ok(count)) =
        tokio::time::timeout(Duration::from_secs(1), socket.read(&mut chunk)).await
    {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..count]);
    }
    answer
}

/// Reads what a connection still sends, until the other side closes it.
///
/// # Panics
///
/// When it stays open for [`PATIENCE`].
pub async fn until_closed(socket: &mut TcpStream) -> Vec<u8> {
    patiently("the connection's end", async {
        let mut answer = Vec::new();
        // A reset is an end too.
        let _ = socket.read_to_end(&mut answer).await;
        answer
    })
    .await
}

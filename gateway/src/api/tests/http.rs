//! Over a real socket: what is too large, too slow, cut off or stopped; and
//! the web page.

use std::time::Duration;

use gateway_config::{Limits, Period};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Rig;
use crate::api::ApiService;
use crate::api::server::{HttpServer, ServeLimits};
use crate::metrics::RequestLabel;

struct Served {
    rig: Rig,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

fn serve(limits: &Limits) -> Served {
    let rig = Rig::new().with_limits(limits.clone());
    let server = HttpServer::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    let stop = CancellationToken::new();
    let limits = ServeLimits::from(limits);
    let thread =
        server.spawn("api", ApiService::new(rig.state.clone()), limits, stop.clone()).unwrap();
    Served { rig, address, stop, thread }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends and reads until the server closes.
    async fn talk(&self, text: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn end(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

const HEAD: &str =
    "POST /v1/publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let served = serve(&Limits::default());
    let body = r#"{"channel": "a", "data": 1}"#;
    let one = format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len());
    let last = one.replace("host:", "connection: close\r\nhost:");
    let answers = served.talk(&format!("{one}{one}{last}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(served.rig.relay.published.lock().unwrap().len(), 3);
    let label = RequestLabel { route: "/v1/publish".into(), method: "POST".into(), status: 200 };
    assert_eq!(served.rig.state.metrics.api_requests.get_or_create(&label).get(), 3);
    served.end();
}

#[tokio::test]
async fn a_body_over_the_limit_gets_its_answer_while_it_is_still_being_sent() {
    let limits = Limits { publication_bytes: 100_000, ..Limits::default() };
    let served = serve(&limits);
    let size = 1_000_000;
    // Announced, and found out on the way.
    let body = "x".repeat(size);
    let announced = format!("{HEAD}connection: close\r\ncontent-length: {size}\r\n\r\n{body}");
    let chunked = format!(
        "{HEAD}connection: close\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
    );
    for request in [announced, chunked] {
        let answer = served.talk(&request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("payload_too_large") && answer.contains("publicationBytes"));
    }
    served.end();
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_in_an_answer() {
    let limits = Limits { body_timeout: Period::from_millis(50), ..Limits::default() };
    let served = serve(&limits);
    let answer = served.talk(&format!("{HEAD}content-length: 30\r\n\r\n{{")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("limits.bodyTimeout"), "{answer}");
    served.end();
}

#[tokio::test]
async fn headers_that_are_too_large_or_do_not_come_end_the_connection() {
    let limits = Limits { header_timeout: Period::from_millis(50), ..Limits::default() };
    let served = serve(&limits);
    let answer = served.talk(&format!("{HEAD}x: {}\r\n\r\n", "x".repeat(17 << 10))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // Nothing, half a request line, half the headers.
    for part in ["", "GET / HT", HEAD] {
        let answer = served.talk(part).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{part:?}: {answer}");
    }
    served.end();
}

#[tokio::test]
async fn a_stop_lets_the_request_in_flight_finish_and_ends_idle_connections() {
    let served = serve(&Limits::default());
    let body = r#"{"channel": "a", "data": 1}"#;
    let request = format!("{HEAD}content-length: {}\r\n\r\n", body.len());
    let mut idle = served.connect().await;
    let mut busy = served.connect().await;
    busy.write_all(request.as_bytes()).await.unwrap();
    // A whole request on a third connection: by its answer the first two
    // have been accepted.
    let probe =
        served.talk("GET /v1/gateways HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(probe.await.starts_with("HTTP/1.1 200"));
    served.stop.cancel();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "the idle connection is closed");
    busy.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    served.end();
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_by_the_stop() {
    let rig = Rig::new();
    let server = HttpServer::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    let stop = CancellationToken::new();
    let mut limits = ServeLimits::from(&Limits::default());
    limits.stop_timeout = Duration::from_millis(50);
    let thread =
        server.spawn("api", ApiService::new(rig.state.clone()), limits, stop.clone()).unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("{HEAD}content-length: 9\r\n\r\n").as_bytes()).await.unwrap();
    stop.cancel();
    let _ = socket.read(&mut [0; 1]).await;
    thread.join().unwrap();
}

#[tokio::test]
async fn a_taken_address_says_what_to_do() {
    let first = HttpServer::bind("127.0.0.1:0").unwrap();
    let listen = first.local_addr().to_string();
    let error = HttpServer::bind(&listen).err().unwrap().to_string();
    assert!(error.contains(&listen) && error.contains("choose another"), "{error}");
    assert!(HttpServer::bind("nonsense").is_err());
}

#[tokio::test]
async fn the_page_is_whole_and_may_load_nothing_from_elsewhere() {
    let rig = Rig::new();
    let page = rig.get("/").await;
    assert_eq!(page.status, 200);
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(html.contains(r#"name="client-port" content="8080""#));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("connect-src 'self' ws://localhost:8080 wss://localhost:8080;"),
        "{policy}"
    );
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        assert!(html.contains(&format!("\"{path}\"")), "{path}");
        let file = rig.get(path).await;
        assert_eq!(file.status, 200);
        assert!(file.header("content-type").starts_with(kind));
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        assert!(!String::from_utf8_lossy(&file.body).contains("http://"));
    }
    assert!(!html.contains("style=") && !html.contains("http://") && !html.contains("https://"));
}

#[tokio::test]
async fn metrics_name_routes_and_not_paths() {
    let rig = Rig::new();
    rig.get("/v1/channels/a").await;
    rig.get("/v1/channels/b").await;
    rig.get("/nowhere/1").await;
    let label =
        |route: &str, status| RequestLabel { route: route.into(), method: "GET".into(), status };
    let count = |label| rig.state.metrics.api_requests.get_or_create(&label).get();
    assert_eq!(count(label("/v1/channels/{channel}", 200)), 2);
    assert_eq!(count(label("none", 404)), 1);
    let code = crate::metrics::CodeLabel { code: "not_found" };
    assert_eq!(rig.state.metrics.refused.get_or_create(&code).get(), 1);
}

#[tokio::test]
async fn a_panic_in_a_call_is_answered_and_the_next_call_is_served() {
    let served = serve(&Limits::default());
    let call = |channel: &str, more: &str| {
        let body = format!(r#"{{"channel": "{channel}", "data": 1}}"#);
        format!("{HEAD}{more}content-length: {}\r\n\r\n{body}", body.len())
    };
    let both = call("panic", "") + &call("a", "connection: close\r\n");
    let answers = served.talk(&both).await;
    assert!(answers.starts_with("HTTP/1.1 500 "), "{answers}");
    assert!(answers.contains("urn:pushcluster:error:internal"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1, "{answers}");
    served.end();
}

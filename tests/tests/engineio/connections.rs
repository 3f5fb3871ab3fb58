//! The HTTP connections below.

use tests::http::raw;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let gateway = Gateway::plain();
    let mut socket = TcpStream::connect(gateway.client_address()).await.unwrap();
    for _ in 0..3 {
        let head = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: gateway\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut chunk = [0; 4096];
            let count = patiently("an answer", socket.read(&mut chunk)).await.unwrap();
            assert_ne!(count, 0, "the connection stays open");
            answer.extend_from_slice(&chunk[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn what_is_not_http_is_400_or_nothing_and_harms_nobody() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let junk: [&[u8]; 5] =
        [b"\x00\x01\x02\r\n\r\n", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""];
    for bytes in junk {
        let answer = raw(gateway.client_address(), bytes, true).await;
        let line = String::from_utf8_lossy(&answer);
        assert!(
            line.is_empty() || line.starts_with("HTTP/1.1 4") || line.starts_with("HTTP/1.1 5")
        );
    }
    assert_works(&session, 1).await;
}

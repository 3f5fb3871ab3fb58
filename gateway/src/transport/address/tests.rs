#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;
use std::time::Duration;

use gateway_config::Client;
use hyper::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Proxies, Told, take_header};

fn proxies(hops: usize) -> Proxies {
    let trusted = vec!["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()];
    Proxies::new(&Client { trusted_proxies: trusted, trusted_hops: hops, ..Client::default() })
}

fn told(address: &str, malformed: bool) -> Told {
    Told { address: address.parse().unwrap(), malformed }
}

#[test]
fn a_header_is_believed_of_a_proxy_alone() {
    #[allow(clippy::type_complexity)] // The columns of a table.
    let table: &[(&str, &[(&str, &str)], &str, bool)] = &[
        // peer, headers, address, malformed
        ("10.0.0.1", &[], "10.0.0.1", false),
        ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 192.0.2.1")], "192.0.2.1", false),
        ("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.1")], "192.0.2.1", false),
        ("fd00::1", &[("forwarded", "for=192.0.2.1")], "192.0.2.1", false),
        ("203.0.113.1", &[("x-forwarded-for", "192.0.2.1")], "203.0.113.1", false),
        ("203.0.113.1", &[("forwarded", "for=192.0.2.1")], "203.0.113.1", false),
        ("203.0.113.1", &[("x-forwarded-for", "nonsense")], "203.0.113.1", false),
        ("10.0.0.1", &[("x-forwarded-for", "nonsense")], "10.0.0.1", true),
        ("10.0.0.1", &[("forwarded", "for=unknown")], "10.0.0.1", true),
        // Of the two, one may be the client's own.
        (
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=6.6.6.6")],
            "10.0.0.1",
            true,
        ),
        (
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.1"), ("forwarded", "nonsense")],
            "10.0.0.1",
            true,
        ),
        (
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")],
            "192.0.2.1",
            false,
        ),
        // Each line is the next proxy's.
        (
            "10.0.0.1",
            &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")],
            "192.0.2.1",
            false,
        ),
    ];
    for (peer, headers, address, malformed) in table {
        let mut map = HeaderMap::new();
        for (name, value) in *headers {
            map.append(*name, value.parse().unwrap());
        }
        let got = proxies(1).client(peer.parse().unwrap(), &map);
        assert_eq!(got, told(address, *malformed), "{peer} {headers:?}");
    }
}

#[test]
fn nobody_is_believed_unless_listed() {
    let mut map = HeaderMap::new();
    map.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    let got = Proxies::new(&Client::default()).client("127.0.0.1".parse().unwrap(), &map);
    assert_eq!(got, told("127.0.0.1", false));
}

/// What comes of a connection that sends these pieces, and what is left.
async fn taken(pieces: &[&[u8]]) -> (Result<Option<IpAddr>, std::io::Error>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let send = async {
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        client.shutdown().await.unwrap();
    };
    let (got, ()) = tokio::join!(take_header(&mut server, Duration::from_secs(10)), send);
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.unwrap();
    (got, rest)
}

#[tokio::test]
async fn a_header_is_taken_to_its_last_byte() {
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n";
    let binary = [
        &crate::protocol::proxy::SIGNATURE[..],
        &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2],
    ]
    .concat();
    for header in [&line[..], &binary] {
        for cut in [0, 1, 5, 12, 13, 16, 20, header.len()] {
            let (begin, end) = header.split_at(cut);
            let (got, rest) = taken(&[begin, end, b"GET / HTTP/1.1\r\n"]).await;
            assert_eq!(got.unwrap(), Some("192.0.2.1".parse().unwrap()), "cut at {cut}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n", "cut at {cut}");
        }
        let whole = [header, b"GET / HTTP/1.1\r\n"].concat();
        let (got, rest) = taken(&[&whole]).await;
        assert!(got.is_ok());
        assert_eq!(rest, b"GET / HTTP/1.1\r\n");
    }
}

#[tokio::test]
async fn what_has_no_header_is_refused() {
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", b"PROX", b"PROXY TCP4 1.1.1.1", &long] {
        assert!(taken(&[bytes]).await.0.is_err(), "{}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_never_comes_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"PROXY TCP4 ").await.unwrap();
    let error = take_header(&mut server, Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

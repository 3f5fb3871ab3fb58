#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::{Handed, Socket};
use crate::tls::provider;
use crate::transport::stream::ClientStream;

type Client = client::TlsStream<TcpStream>;

/// Both ends of a connection that holds little in the kernel.
async fn pair() -> (ClientStream, Client) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    socket2::SockRef::from(&accepted).set_send_buffer_size(8 << 10).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let name = "localhost".try_into().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let accept = acceptor.accept_with(accepted, |tls| tls.set_buffer_limit(Some(crate::tls::HELD)));
    let (ours, theirs) = tokio::join!(accept, connector.connect(name, connected));
    (ClientStream::Tls(Box::new(ours.unwrap())), theirs.unwrap())
}

fn would_block<T: std::fmt::Debug>(result: &std::io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test]
async fn what_a_client_does_not_read_is_held_within_bounds_and_arrives() {
    let (ours, mut theirs) = pair().await;
    let socket = Socket::from(ours);
    let frame: Vec<u8> = (0..10_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut sent = Vec::new();
    let mut stuck = 0;
    // Until neither the kernel nor the socket takes a byte more.
    while stuck < 20 {
        match socket.try_write_vectored(&[IoSlice::new(&frame[..7]), IoSlice::new(&frame[7..])]) {
            Ok(taken) => {
                sent.extend_from_slice(&frame[..taken]);
                stuck = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                assert!(socket.is_holding());
                stuck += 1;
                // The kernel moves what it has to the other side meanwhile.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        assert!(sent.len() < 64 << 20, "nothing bounds it");
    }
    let expected = sent.clone();
    let reading = tokio::spawn(async move {
        let mut got = vec![0; expected.len()];
        theirs.read_exact(&mut got).await.unwrap();
        assert!(got == expected, "the bytes came in order");
        theirs
    });
    loop {
        std::future::poll_fn(|context| socket.poll_write_ready(context)).await.unwrap();
        let pushed = socket.push();
        if pushed.is_ok() {
            break;
        }
        assert!(would_block(&pushed), "{pushed:?}");
    }
    assert!(!socket.is_holding());
    reading.await.unwrap();
}

#[tokio::test]
async fn what_a_client_sends_is_read_and_its_end_is_seen() {
    let (ours, mut theirs) = pair().await;
    // Decrypted before the session had the socket, maybe.
    theirs.write_all(b"early").await.unwrap();
    let handed = Handed::try_from(ours).unwrap();
    let socket = Socket::try_from(handed).unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 3];
    while got.len() < 5 {
        socket.readable().await.unwrap();
        match socket.try_read(&mut buffer) {
            Ok(length) => got.extend_from_slice(&buffer[..length]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(got, b"early");
    assert_eq!(socket.try_write(b"answer").unwrap(), 6);
    socket.shutdown().unwrap();
    let mut answer = Vec::new();
    theirs.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    theirs.shutdown().await.unwrap();
    loop {
        socket.readable().await.unwrap();
        match socket.try_read(&mut buffer) {
            Ok(length) => break assert_eq!(length, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[tokio::test]
async fn nonsense_in_place_of_a_record_ends_it() {
    let (ours, theirs) = pair().await;
    let socket = Socket::from(ours);
    let (mut raw, _) = theirs.into_inner();
    raw.write_all(&[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]).await.unwrap();
    let mut buffer = [0; 64];
    loop {
        socket.readable().await.unwrap();
        match socket.try_read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => break assert_eq!(other.unwrap_err().kind(), ErrorKind::InvalidData),
        }
    }
}

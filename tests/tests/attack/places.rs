//! Where attackers and Ann connect from.

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A connection from an address of this machine, or from any.
pub async fn connect_from(from: Option<&str>, address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(format!("{from}:0").parse().unwrap())?;
    }
    socket.connect(address.parse().unwrap()).await
}

/// With addresses that are one row's alone.
pub fn named(bytes: &[u8], high: u8, low: u8) -> Vec<u8> {
    let mut named = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let name = match (first, after.first()) {
            (b'%', Some(b'A')) => format!("198.18.{high}.{low}"),
            (b'%', Some(b'B')) => format!("198.19.{high}.{low}"),
            (b'%', Some(b'C')) => format!("10.77.{high}.{low}"),
            (b'%', Some(b'V')) => format!("2001:db8:{high:x}:{low:x}"),
            _ => {
                named.push(*first);
                rest = after;
                continue;
            }
        };
        named.extend(name.bytes());
        rest = &after[1..];
    }
    named
}

/// Passes connections on to a gateway, each behind a PROXY header.
pub struct Forwarder {
    /// Where it listens.
    pub address: String,
    task: JoinHandle<()>,
}

// === impl Forwarder ===

impl Forwarder {
    /// To a gateway's client listener.
    pub async fn to(gateway: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gateway = gateway.to_owned();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = connect_from(Some("127.1.255.255"), &gateway).await.unwrap();
                server.write_all(b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n").await.unwrap();
                connections.spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! Where a client is: what its connection, and the proxies in front, say.

use std::io::{Error, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

use gateway_config::{Client, Network};
use hyper::HeaderMap;
use hyper::header::{self, HeaderName};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::protocol::{forwarded, proxy};

#[cfg(test)]
mod tests;

/// Not among hyper's.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies in front of this gateway.
pub struct Proxies {
    networks: Vec<Network>,
    hops: usize,
}

/// A client's address, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The client's, or the last proxy's.
    pub address: IpAddr,
    /// A proxy that is trusted doesn't say it, or not in a way that can be
    /// believed.
    pub malformed: bool,
}

// === impl Proxies ===

impl Proxies {
    /// As configured.
    pub fn new(client: &Client) -> Self {
        Self { networks: client.trusted(), hops: client.trusted_hops }
    }

    /// Whether none are listed.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether an address is a proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Who sent a request that came from `peer`.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Told {
        if !self.trusts(peer) {
            return Told { address: peer, malformed: false };
        }
        let lines = |name: HeaderName| -> Vec<&[u8]> {
            headers.get_all(name).iter().map(header::HeaderValue::as_bytes).collect()
        };
        let (plain, standard) = (lines(X_FORWARDED_FOR), lines(header::FORWARDED));
        let plain = forwarded::x_forwarded_for(plain.into_iter(), self.hops);
        let standard = forwarded::forwarded(standard.into_iter(), self.hops);
        match (plain, standard) {
            (Ok(None), Ok(None)) => Told { address: peer, malformed: false },
            (Ok(Some(address)), Ok(None)) | (Ok(None), Ok(Some(address))) => {
                Told { address, malformed: false }
            }
            // A proxy writes one of the two, and may pass the other on as the
            // client made it up: both are believed only if they agree.
            (Ok(Some(one)), Ok(Some(other))) if one == other => {
                Told { address: one, malformed: false }
            }
            _ => Told { address: peer, malformed: true },
        }
    }
}

/// Takes the PROXY protocol's header off a connection. `None`: it stands for
/// itself. An error: it has none, or takes too long.
pub async fn take_header(
    stream: &mut TcpStream,
    patience: Duration,
) -> Result<Option<IpAddr>, Error> {
    let late = |_| Error::new(ErrorKind::TimedOut, "no PROXY protocol header in time");
    tokio::time::timeout(patience, take(stream)).await.map_err(late)?
}

async fn take(stream: &mut TcpStream) -> Result<Option<IpAddr>, Error> {
    let mut head = [0; proxy::HEAD];
    // The shortest line of version 1 is longer than this.
    let (begin, _) = head.split_at_mut(proxy::SIGNATURE.len());
    stream.read_exact(begin).await?;
    if begin == proxy::SIGNATURE {
        stream.read_exact(&mut head[proxy::SIGNATURE.len()..]).await?;
        let mut rest = vec![0; proxy::length(head).map_err(malformed)?];
        stream.read_exact(&mut rest).await?;
        return proxy::binary(head, &rest).map_err(malformed);
    }
    if !begin.starts_with(proxy::WORD) {
        return Err(malformed(proxy::Malformed));
    }
    let mut line = [0; proxy::LONGEST_LINE];
    let mut length = begin.len();
    line[..length].copy_from_slice(begin);
    // Not a byte of what follows the line may be taken.
    while length < line.len() {
        let there = stream.peek(&mut line[length..]).await?;
        let end = line[length..length + there].iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(there, |end| end + 1);
        if taken == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        stream.read_exact(&mut line[length..length + taken]).await?;
        length += taken;
        if end.is_some() {
            return proxy::line(&line[..length]).map_err(malformed);
        }
    }
    Err(malformed(proxy::Malformed))
}

fn malformed(error: proxy::Malformed) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

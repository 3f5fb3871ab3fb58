//! The peer listener's socket, and where others reach it.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};

use gateway_config::Peer;

use super::StartError;

/// A shorter secret can be guessed.
const SECRET_LEAST: usize = 16;

/// What is bound.
#[derive(Default)]
pub(super) struct Bound {
    pub(super) listener: Option<TcpListener>,
    pub(super) local: Option<SocketAddr>,
    /// As other gateways are told.
    pub(super) address: Option<String>,
}

/// Binds what the configuration asks for, and says what it lacks.
pub(super) fn bind(peer: &Peer) -> Result<Bound, StartError> {
    if peer.secret().is_some_and(|secret| secret.len() < SECRET_LEAST) {
        tracing::warn!(
            "peer.secret is shorter than 16 bytes and might be guessed; use `openssl rand -hex 32`"
        );
    }
    let (Some(listen), Some(advertise)) = (peer.listen(), peer.advertise()) else {
        tracing::warn!(
            "without peer.listen a client must stay with one gateway; set it, or let the balancer see to that"
        );
        return Ok(Bound::default());
    };
    let bound = || {
        let addresses: Vec<SocketAddr> = listen.to_socket_addrs()?.collect();
        let listener = TcpListener::bind(&addresses[..])?;
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    let (listener, local) =
        bound().map_err(|source| StartError::Peer { listen: listen.to_owned(), source })?;
    // Port 0: the one that it got.
    let address = match advertise.rsplit_once(':') {
        Some((host, "0")) => format!("{host}:{}", local.port()),
        _ => advertise.to_owned(),
    };
    Ok(Bound { listener: Some(listener), local: Some(local), address: Some(address) })
}

//! The floor: what one delivery costs when a server does nothing else. One
//! thread, one epoll, one `write(2)` of one prebuilt frame for each delivery;
//! no protocol, no queues, no limits, no heartbeat. A frame that does not fit
//! into a socket's buffer is lost.
//!
//! `GET /<channel>` upgrades to a WebSocket that is subscribed to the channel,
//! `POST /publish/<channel>` sends its body to all of them as one text frame
//! and is answered after the last write.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use bench::frame;
use bench::http::Message;
use bench::poll::{Poll, Ready};

/// Every client of the bench sends the key of RFC 6455's example.
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LISTENER: u64 = u64::MAX;

/// All that it holds.
struct Floor {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    channels: HashMap<String, Vec<usize>>,
    buffer: Vec<u8>,
}

/// A connection; a client once it has upgraded.
struct Peer {
    stream: TcpStream,
    /// A request that is not there whole yet.
    partial: Vec<u8>,
    upgraded: bool,
}

fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    // The standard library's backlog of 128 refuses a crowd.
    rustix::net::listen(&listener, 4096)?;
    let poll = Poll::new(1024)?;
    poll.add(&listener, LISTENER, false)?;
    let address = listener.local_addr()?;
    println!("client http://{address}\napi http://{address}");
    let (peers, free, channels) = (Vec::new(), Vec::new(), HashMap::new());
    let buffer = vec![0; 64 << 10];
    Floor { poll, listener, peers, free, channels, buffer }.run()
}

// === impl Floor ===

impl Floor {
    fn run(mut self) -> anyhow::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.poll.wait(None, &mut ready)?;
            for &Ready { token, .. } in &ready {
                if token == LISTENER {
                    self.accept()?;
                } else if !self.read(usize::try_from(token)?) {
                    self.close(usize::try_from(token)?);
                }
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            self.poll.add(&stream, number as u64, false)?;
            self.peers[number] = Some(Peer { stream, partial: Vec::new(), upgraded: false });
        }
    }

    /// Reads once. False: it has ended.
    fn read(&mut self, number: usize) -> bool {
        let Some(peer) = self.peers[number].as_mut() else { return true };
        let count = match peer.stream.read(&mut self.buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        if peer.upgraded {
            // Pongs and the like.
            return true;
        }
        let mut bytes = std::mem::take(&mut peer.partial);
        bytes.extend_from_slice(&self.buffer[..count]);
        let Some(message) = Message::first(&bytes) else {
            peer.partial = bytes;
            return true;
        };
        let Some((method, path)) = message.target() else { return false };
        if method == "GET" {
            peer.upgraded = true;
            let sent = peer.stream.write_all(SWITCH.as_bytes()).is_ok();
            if path.len() > 1 {
                self.channels.entry(path[1..].to_owned()).or_default().push(number);
            }
            return sent;
        }
        let Some(channel) = path.strip_prefix("/publish/") else { return false };
        let frame = frame::text(message.body);
        for &subscriber in self.channels.get(channel).into_iter().flatten() {
            if let Some(peer) = self.peers[subscriber].as_mut() {
                let _ = peer.stream.write(&frame);
            }
        }
        let Some(peer) = self.peers[number].as_mut() else { return true };
        peer.stream.write_all(DONE.as_bytes()).is_ok()
    }

    fn close(&mut self, number: usize) {
        if self.peers[number].take().is_some_and(|peer| peer.upgraded) {
            for subscribers in self.channels.values_mut() {
                subscribers.retain(|&subscriber| subscriber != number);
            }
        }
        self.free.push(number);
    }
}

//! Who subscribes to what is published most, and reads nothing at all: what
//! is sent to it waits in the gateway.

use std::io;
use std::time::Duration;

use bench::frame::masked;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use super::attackers::Attacker;
use super::good::{LARGE, channel};

/// The smallest that the system gives.
const BUFFER: u32 = 1;
/// Bytes of a segment over Ethernet.
const SEGMENT: u32 = 1460;
/// Whether it was cut off is found out so often, by sending something.
const LOOK: Duration = Duration::from_secs(2);
/// Who is still there then goes by itself: whoever reads nothing may never
/// learn that the other side is gone.
const LONGEST: Duration = Duration::from_secs(40);
/// Channels of good clients that each wants, beside the large one.
const CHANNELS: usize = 8;

/// One of them, until it is cut off.
pub(super) async fn once(attacker: Attacker) -> io::Result<()> {
    let small = |socket: &TcpSocket| {
        // As over a network: for segments of 64 KiB, which loopback has, the
        // kernel would keep megabytes for each client before the gateway does.
        SockRef::from(socket).set_tcp_mss(SEGMENT)?;
        socket.set_recv_buffer_size(BUFFER)
    };
    let mut stream = attacker.connect_with(small).await?;
    let channels = std::iter::once(LARGE.to_owned())
        .chain((0..CHANNELS).map(|index| channel(attacker.number * CHANNELS + index)));
    // Everything at once, behind a handshake whose answer it doesn't read; and
    // what then shows that it is alive.
    let (begin, alive) = match attacker.number % 3 {
        0 => {
            let mut begin = attacker.upgrade("/socket.io/?EIO=4&transport=websocket").into_bytes();
            begin.extend(masked(1, b"40"));
            for name in channels {
                begin.extend(masked(1, format!(r#"42["push:subscribe","{name}"]"#).as_bytes()));
            }
            (begin, masked(1, b"3"))
        }
        1 => {
            let mut begin = attacker.upgrade("/ws").into_bytes();
            for name in channels {
                let command = format!(r#"{{"subscribe":{{"channel":"{name}"}}}}"#);
                begin.extend(masked(1, command.as_bytes()));
            }
            (begin, masked(10, b""))
        }
        _ => {
            let query: Vec<_> = channels.map(|name| format!("channel={name}")).collect();
            let (query, host) = (query.join("&"), attacker.target);
            let begin = format!("GET /sse?{query} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            (begin.into_bytes(), b"\r\n".to_vec())
        }
    };
    stream.write_all(&begin).await?;
    let until = Instant::now() + LONGEST;
    while Instant::now() < until {
        sleep(LOOK).await;
        if stream.write_all(&alive).await.is_err() {
            return Ok(());
        }
    }
    attacker.count("went by itself", 1);
    Ok(())
}

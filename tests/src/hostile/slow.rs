//! Who sends half of something, and then a byte a second: it holds a
//! connection for as long as it is let.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, split};
use tokio::time::{MissedTickBehavior, interval};

use super::attackers::{Attacker, drain};

const TRICKLE: Duration = Duration::from_secs(1);

/// One of them, until it is cut off.
pub(super) async fn once(attacker: Attacker) -> io::Result<()> {
    let host = attacker.target;
    let mut stream = attacker.connect().await?;
    let begin = match attacker.number % 4 {
        // A request's head.
        0 => format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: {host}\r\nX: "),
        // A polling request's body.
        1 => {
            let sid = attacker.poll_open(&mut stream).await?;
            format!(
                "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: {host}\r\n\
                 Content-Type: text/plain\r\nContent-Length: 500000\r\n\r\n4"
            )
        }
        // A WebSocket's handshake.
        2 => attacker.upgrade("/ws").trim_end().to_owned() + "\r\nX-More: ",
        // A frame of 100,000 bytes, behind a whole handshake.
        _ => attacker.upgrade("/socket.io/?EIO=4&transport=websocket"),
    };
    stream.write_all(begin.as_bytes()).await?;
    if attacker.number % 4 == 3 {
        stream.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa0, 0, 0, 0, 0, b'4']).await?;
    }
    let (mut reader, mut writer) = split(stream);
    let mut ticks = interval(TRICKLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let trickle = async {
        loop {
            ticks.tick().await;
            if writer.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = trickle => {}
        () = drain(&mut reader) => {}
    }
    Ok(())
}

//! Who sends as fast as it is read, mostly what it may send. It reads all
//! that comes back.

use std::fmt::Write as _;
use std::io;

use bench::frame::masked;
use tokio::io::{AsyncWriteExt as _, split};

use super::attackers::{Attacker, drain, until};

/// Messages in one write.
const BATCH: usize = 500;
const SOCKETIO: &str = "/socket.io/?EIO=4&transport=websocket";

/// One of them, until it is cut off.
pub(super) async fn once(attacker: Attacker) -> io::Result<()> {
    let number = attacker.number;
    match number % 6 {
        // Events that nobody handles, each with an ack.
        0 => frames(attacker, SOCKETIO, "40", |_| r#"420["hey",{"a":[1,2,3]}]"#.into()).await,
        // Pings of the WebSocket itself.
        1 => pings(attacker).await,
        // Ever new channels.
        2 => {
            frames(attacker, SOCKETIO, "40", move |count| {
                let what = if count % 2 == 0 { "subscribe" } else { "unsubscribe" };
                format!(r#"420["push:{what}","flood.{number}.{}"]"#, count / 2)
            })
            .await
        }
        // Publications to a channel of its own.
        3 => {
            frames(attacker, "/ws", r#"{"id":1,"connect":{}}"#, move |count| {
                format!(r#"{{"id":{count},"publish":{{"channel":"flood.{number}","data":1}}}}"#)
            })
            .await
        }
        // A packet that is none, again and again.
        4 => frames(attacker, SOCKETIO, "40", |_| "42[\"hey\",".into()).await,
        // Polling requests of many packets each.
        _ => posts(attacker).await,
    }
}

async fn frames(
    attacker: Attacker,
    path: &str,
    hello: &str,
    message: impl Fn(u64) -> String,
) -> io::Result<()> {
    let mut stream = attacker.connect().await?;
    stream.write_all(attacker.upgrade(path).as_bytes()).await?;
    let answer = until(&mut stream, b"\r\n\r\n").await?;
    if !answer.starts_with("HTTP/1.1 101") {
        return Err(io::Error::other(answer));
    }
    stream.write_all(&masked(1, hello.as_bytes())).await?;
    let (mut reader, mut writer) = split(stream);
    let flood = async {
        let (mut count, mut batch) = (0, Vec::new());
        loop {
            batch.clear();
            for _ in 0..BATCH {
                batch.extend(masked(1, message(count).as_bytes()));
                count += 1;
            }
            if writer.write_all(&batch).await.is_err() {
                return;
            }
            attacker.count("messages", BATCH as u64);
        }
    };
    tokio::select! {
        () = flood => {}
        () = drain(&mut reader) => {}
    }
    Ok(())
}

async fn pings(attacker: Attacker) -> io::Result<()> {
    let mut stream = attacker.connect().await?;
    stream.write_all(attacker.upgrade(SOCKETIO).as_bytes()).await?;
    stream.write_all(&masked(1, b"40")).await?;
    let batch = masked(9, b"ping").repeat(BATCH);
    let (mut reader, mut writer) = split(stream);
    let flood = async {
        while writer.write_all(&batch).await.is_ok() {
            attacker.count("messages", BATCH as u64);
        }
    };
    tokio::select! {
        () = flood => {}
        () = drain(&mut reader) => {}
    }
    Ok(())
}

async fn posts(attacker: Attacker) -> io::Result<()> {
    let mut stream = attacker.connect().await?;
    let sid = attacker.poll_open(&mut stream).await?;
    let body = ["42[\"hey\",1]"; BATCH].join("\u{1e}");
    for body in std::iter::once("40").chain(std::iter::repeat(&*body)) {
        let mut request = String::new();
        let _ = write!(
            request,
            "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            attacker.target,
            body.len()
        );
        // The end of its session, or of its connection.
        let answer = match stream.write_all(request.as_bytes()).await {
            Ok(()) => until(&mut stream, b"\r\n\r\n").await,
            Err(error) => Err(error),
        };
        if !answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            return Ok(());
        }
        attacker.count("messages", BATCH as u64);
    }
    Ok(())
}

//! Handshakes that must be refused, so many a second.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::attackers::Attacker;

/// Between two of their groups.
const TICK: Duration = Duration::from_millis(20);
/// Who gets no answer hangs up then.
const PATIENCE: Duration = Duration::from_secs(5);
/// That wait for an answer at once.
const MOST: usize = 2_000;

/// All of them, for as long as it runs.
pub(super) async fn all(attacker: Attacker, per_second: u32) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let each = (TICK * per_second).as_secs_f64();
    let (mut due, mut number, mut tasks) = (0.0, 0, JoinSet::new());
    loop {
        ticks.tick().await;
        due += each;
        while due >= 1.0 && tasks.len() < MOST {
            due -= 1.0;
            number += 1;
            let one = attacker.numbered(number % 60_000);
            tasks.spawn(async move { try_one(one).await });
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn try_one(attacker: Attacker) {
    attacker.count("opened", 1);
    let request = request(&attacker);
    let answer = timeout(PATIENCE, async {
        let mut stream = attacker.connect().await?;
        stream.write_all(&request).await?;
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await?;
        answer.truncate(count);
        std::io::Result::Ok(answer)
    })
    .await;
    match answer {
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 ") => {
            let status = String::from_utf8_lossy(answer.get(9..12).unwrap_or_default());
            attacker.count(&format!("answered {status}"), 1);
        }
        Ok(_) => attacker.count("cut off", 1),
        Err(_) => attacker.count("without an answer", 1),
    }
}

fn request(attacker: &Attacker) -> Vec<u8> {
    let host = attacker.target;
    let get = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
            .into_bytes()
    };
    let poll = "/socket.io/?EIO=4&transport=polling";
    match attacker.number % 10 {
        // What isn't HTTP.
        0 => [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].repeat(20),
        1 => b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(),
        // Session ids that no gateway made.
        2 => get(&format!("{poll}&sid=AAAAAAAAAAAAAAAAAAAAAAAA"), ""),
        3 => {
            let path = format!("{poll}&sid={}", "z".repeat(2_000));
            get(&path.replace("polling", "websocket"), "Upgrade: websocket\r\n")
        }
        // Pages that aren't let in.
        4 => get(poll, "Origin: https://evil.example\r\n"),
        5 => get("/sse?channel=good.1", "Origin: null\r\n"),
        // Tokens that nobody signed.
        6 => get("/sse?channel=good.1&token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.", ""),
        7 => get("/sse?channel=secret", "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA\r\n"),
        // More than a head may have.
        8 => get(poll, &format!("X-Much: {}\r\n", "x".repeat(60_000))),
        // The version before.
        _ => get("/socket.io/?EIO=3&transport=polling", ""),
    }
}

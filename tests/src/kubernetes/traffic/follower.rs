//! Clients that follow every channel, and come back as the official client
//! does.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{CHANNELS, PATIENCE, Place};
use crate::raw::{Raw, offset_of};
use crate::socketio::{Socket, Transport};

/// The official client's `reconnectionDelay` and `reconnectionDelayMax`.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_MOST: Duration = Duration::from_secs(5);
/// The official client's `timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Whom a client is to follow, and when to cease.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) place: Place,
    /// So many may come for the first time at once: hundreds together would, on
    /// a busy machine, all be too late for their own timeouts, and try again.
    pub(super) entrance: Arc<Semaphore>,
    /// Who has not got everything by now won't.
    pub(super) give_up: CancellationToken,
}

/// What one client has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of each channel.
    numbers: [Vec<u64>; CHANNELS.len()],
    /// Each channel's last number, as the app says at its end.
    last: [Option<u64>; CHANNELS.len()],
    /// When it lost a connection.
    pub(super) ended: Vec<Instant>,
    /// It came back and was told that something may be missing.
    pub(super) unrecovered: bool,
}

// === impl Follower ===

impl Follower {
    /// Follows to the end, and comes back as the official client does.
    pub(super) async fn run(self, polling: bool) -> Seen {
        let mut seen = Seen::default();
        let following =
            async { if polling { self.poll(&mut seen).await } else { self.read(&mut seen).await } };
        // Without an end, what it has says more than that it hangs.
        tokio::select! {
            () = following => {}
            () = self.give_up.cancelled() => {}
        }
        seen
    }

    /// Over WebSockets, cheaply.
    async fn read(&self, seen: &mut Seen) {
        let address = self.place.client.trim_start_matches("http://");
        let (mut pid, mut offset): (Option<String>, Option<String>) = (None, None);
        let mut delay = DELAY;
        let mut entering = self.entrance.acquire().await.ok();
        loop {
            let patience = if entering.is_some() { PATIENCE } else { CONNECT_TIMEOUT };
            let joining = async {
                let mut socket = Raw::open(address, "").await?;
                if pid.is_none() {
                    let joined = socket.join(&CHANNELS.map(str::to_owned)).await?;
                    return anyhow::Ok((socket, joined.pid, joined.offset));
                }
                socket.send(format!("40{}", json!({"pid": pid, "offset": offset}))).await?;
                loop {
                    let text = socket.next().await?;
                    if let Some(data) = text.strip_prefix("40") {
                        let data: Value = serde_json::from_str(data)?;
                        return Ok((socket, data["pid"].as_str().map(str::to_owned), None));
                    }
                    anyhow::ensure!(!text.starts_with("44"), "{text}");
                }
            };
            if let Ok(Ok((mut socket, got, at))) = timeout(patience, joining).await {
                if pid.is_some() && pid != got {
                    seen.unrecovered = true;
                    return;
                }
                entering = None;
                pid = got;
                offset = at.or(offset);
                delay = DELAY;
                while let Ok(text) = socket.next().await {
                    let Some(data) = text.strip_prefix("42") else { continue };
                    let event: Value = serde_json::from_str(data).expect("events are JSON");
                    offset = offset_of(&event).or(offset);
                    if seen.take(event[0].as_str().unwrap_or_default(), &event[1]) {
                        return;
                    }
                }
                seen.ended.push(Instant::now());
            }
            sleep(delay.mul_f64(0.5 + lot())).await;
            delay = (delay * 2).min(DELAY_MOST);
        }
    }

    /// Over long-polling.
    async fn poll(&self, seen: &mut Seen) {
        let mut credentials: Option<Value> = None;
        let mut entering = self.entrance.acquire().await.ok();
        loop {
            let (url, auth) = (self.place.client.clone(), credentials.clone());
            // The harness panics where the official client would try again.
            let joined = tokio::spawn(async move {
                let mut socket =
                    Socket::join_url(&url, Transport::Polling, "/", auth.as_ref(), "").await?;
                for channel in CHANNELS.into_iter().filter(|_| auth.is_none()) {
                    socket.subscribe(channel).await;
                }
                Ok::<_, Value>(socket)
            })
            .await;
            let Ok(Ok(mut socket)) = joined else {
                sleep(DELAY.mul_f64(0.5 + lot())).await;
                continue;
            };
            drop(entering.take());
            if credentials.as_ref().is_some_and(|old| old["pid"] != socket.pid()) {
                seen.unrecovered = true;
                return;
            }
            while let Some(event) = socket.next_event().await {
                if event.args.first().is_some_and(|data| seen.take(&event.name, data)) {
                    return;
                }
            }
            seen.ended.push(Instant::now());
            credentials = Some(socket.credentials());
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Whether it was the last of all channels.
    fn take(&mut self, event: &str, data: &Value) -> bool {
        let (Some(at), Some(number)) = (data["at"].as_u64(), data["number"].as_u64()) else {
            return false;
        };
        let at = usize::try_from(at).expect("it is one of few");
        match event {
            "order" => self.numbers[at].push(number),
            "end" => self.last[at] = Some(number),
            _ => {}
        }
        self.last.iter().all(Option::is_some)
    }

    /// Asserts that each publication on a channel came once, in order.
    pub(super) fn assert_all(&self, who: &str, at: usize, published: u64) {
        let numbers = &self.numbers[at];
        let wrong = (1..=published).zip(numbers).position(|(wanted, got)| wanted != *got);
        if let Some(place) = wrong {
            let around = &numbers[place.saturating_sub(3)..numbers.len().min(place + 9)];
            panic!("{who}: not each number once, in order: {around:?}");
        }
        assert_eq!(numbers.len() as u64, published, "{who}: the end is missing, or came twice");
        assert_eq!(self.last[at], Some(published), "{who}: the end is missing");
    }
}

/// From 0 to 1.
fn lot() -> f64 {
    let [high, low, ..] = RandomState::new().hash_one(0).to_be_bytes();
    f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX)
}

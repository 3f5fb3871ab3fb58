//! A good client's life: it comes under a new name, hears what it says on a
//! channel that nobody had before, and goes, in order or not.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::KEY;
use crate::Gateway;
use crate::api::call;
use crate::raw::Raw;
use crate::sse::Sse;
use crate::token::{mint, now};

/// A visit that takes longer has failed: on a busy machine, too.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a visitor stays, beside what it does.
const STAY: Duration = Duration::from_millis(500);
/// Of so many visitors one has its token revoked while it is here.
const REVOKED: u64 = 50;
/// Its token would have been good for so long, in seconds.
const TOKEN: u64 = 60;

/// All visits.
#[derive(Default)]
pub(super) struct Visits {
    /// The next one's number, which makes all its names.
    next: AtomicU64,
    closed: AtomicBool,
    failed: AtomicU64,
    reason: OnceLock<String>,
}

/// One of them.
struct Visit<'a> {
    gateway: &'a Gateway,
    number: u64,
    token: String,
    channels: Vec<String>,
}

// === impl Visits ===

impl Visits {
    /// Visits until they are closed.
    pub(super) async fn one_after_the_other(&self, gateway: &Gateway) {
        while !self.closed.load(Ordering::Relaxed) {
            let visit = Visit::new(gateway, self.next.fetch_add(1, Ordering::Relaxed));
            let ended = Box::pin(timeout(PATIENCE, visit.make())).await;
            let ended = ended.map_err(anyhow::Error::from).flatten();
            if let Err(error) = ended {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let _ = self.reason.set(format!("visit {}: {error:#}", visit.number));
            }
        }
    }

    /// No more visits begin; or they do again.
    pub(super) fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    /// How many there were, how many failed, and why the first one did.
    pub(super) fn counted(&self) -> (u64, Option<(u64, String)>) {
        let failed = self.failed.load(Ordering::Relaxed);
        let reason = self.reason.get().map(|reason| (failed, reason.clone()));
        (self.next.load(Ordering::Relaxed), reason)
    }
}

// === impl Visit ===

impl<'a> Visit<'a> {
    fn new(gateway: &'a Gateway, number: u64) -> Self {
        let token = mint(&json!({
            "sub": format!("visitor-{number}"),
            "jti": format!("token-{number}"),
            "iat": now(),
            "exp": now() + TOKEN,
            "channels": [{"match": format!("visit.{number}.>"), "can": ["subscribe", "publish"]}],
        }));
        let channels = ["a", "b", "c"].map(|name| format!("visit.{number}.{name}")).to_vec();
        Self { gateway, number, token, channels }
    }

    async fn make(&self) -> anyhow::Result<()> {
        if self.number.is_multiple_of(REVOKED) {
            return self.revoked().await;
        }
        match self.number % 4 {
            0 => self.recovers().await,
            1 => self.socketio().await,
            2 => self.plain().await,
            _ => self.sse().await,
        }
    }

    /// What it says, which nobody else does.
    fn words(&self) -> String {
        format!("the words of {}", self.number)
    }

    async fn join(&self) -> anyhow::Result<(Raw, String)> {
        let query = format!("&token={}", self.token);
        let mut socket = Raw::open(self.gateway.client_address(), &query).await?;
        let joined = socket.join(&self.channels).await?;
        Ok((socket, joined.pid.context("a private id")?))
    }

    /// Says something on its first channel, and hears it.
    async fn speaks(&self, socket: &mut Raw) -> anyhow::Result<()> {
        let message = json!({"channel": self.channels[0], "event": "said", "data": self.words()});
        socket.send(format!("427{}", json!(["push:publish", message]))).await?;
        let (mut acked, mut heard) = (false, false);
        while !acked || !heard {
            let packet = socket.next().await?;
            if packet.starts_with("437") {
                ensure!(!packet.contains("error"), "{packet}");
                acked = true;
            }
            heard |= packet.starts_with(r#"42["said""#) && packet.contains(&self.words());
        }
        Ok(())
    }

    async fn socketio(&self) -> anyhow::Result<()> {
        let (mut socket, _) = self.join().await?;
        self.speaks(&mut socket).await?;
        for channel in &self.channels[1..] {
            socket.send(format!("42{}", json!(["push:unsubscribe", channel]))).await?;
        }
        sleep(STAY).await;
        // Half of them say goodbye.
        if self.number % 8 == 1 {
            socket.send("41").await?;
            socket.send("1").await?;
        }
        Ok(())
    }

    /// Goes without a word, comes back as the same session, and goes for good.
    async fn recovers(&self) -> anyhow::Result<()> {
        let (socket, pid) = self.join().await?;
        sleep(STAY).await;
        drop(socket);
        let query = format!("&token={}", self.token);
        let mut socket = Raw::open(self.gateway.client_address(), &query).await?;
        socket.send(format!("40{}", json!({"pid": pid}))).await?;
        let welcome = loop {
            let packet = socket.next().await?;
            if packet.starts_with('4') {
                break packet;
            }
        };
        ensure!(welcome.contains(&pid), "another session: {welcome}");
        self.speaks(&mut socket).await
    }

    async fn plain(&self) -> anyhow::Result<()> {
        let url = format!("{}/ws?token={}", self.gateway.client_ws(), self.token);
        let (mut socket, _) = connect_async(&url).await?;
        for channel in &self.channels {
            let command = json!({"id": channel, "subscribe": {"channel": channel}});
            socket.send(Message::text(command.to_string())).await?;
        }
        let publish = json!({"channel": self.channels[0], "event": "said", "data": self.words()});
        socket.send(Message::text(json!({"id": 1, "publish": publish}).to_string())).await?;
        loop {
            let message = socket.next().await.context("it was closed")??;
            let text = message.to_text().unwrap_or_default();
            ensure!(!text.contains(r#""error""#), "{text}");
            if text.contains(&self.words()) {
                break;
            }
        }
        sleep(STAY).await;
        if self.number % 8 == 2 {
            socket.close(None).await?;
        }
        Ok(())
    }

    async fn sse(&self) -> anyhow::Result<()> {
        let query: Vec<_> = self.channels.iter().map(|name| format!("channel={name}")).collect();
        let (query, token) = (query.join("&"), &self.token);
        let url = format!("{}/sse?{query}&token={token}", self.gateway.client());
        let mut stream = match Sse::open(&url, &[]).await {
            Ok(stream) => stream,
            Err(reply) => bail!("{}: {}", reply.status, reply.text()),
        };
        let body = json!({"channel": self.channels[0], "event": "said", "data": self.words()});
        let reply = call(self.gateway, Some(KEY), "/v1/publish", &body).await;
        ensure!(reply.status == 200, "{}", reply.text());
        while let Some(block) = stream.block().await {
            if block.data.is_some_and(|data| data.contains(&self.words())) {
                sleep(STAY).await;
                return Ok(());
            }
        }
        bail!("the stream has ended")
    }

    /// Its token is revoked: it is sent away.
    async fn revoked(&self) -> anyhow::Result<()> {
        let (mut socket, _) = self.join().await?;
        let path = format!("/v1/tokens/token-{}/revoke", self.number);
        let body = json!({"expires": now() + TOKEN});
        let reply = call(self.gateway, Some(KEY), &path, &body).await;
        ensure!(reply.status == 200, "{}", reply.text());
        while socket.next().await.is_ok() {}
        Ok(())
    }
}

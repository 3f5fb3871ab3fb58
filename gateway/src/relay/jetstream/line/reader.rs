//! The line's life: it connects to the server at which the client library is,
//! subscribes, reads, answers, and comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::ServerAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::login::{self, Open, Stream};
use super::wire::{Frame, Reader, Said};
use super::{Asked, LIVE, UNSTORED, writeln_to};
use crate::relay::jetstream::JetStreamRelay;
use crate::relay::jetstream::connect::{CONNECT_TIMEOUT, PING_INTERVAL, delay, is_forbidden};

/// Pings without an answer after which a server is left.
const PATIENCE: u32 = 2;
/// How long a server may take what is written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// After so many vain attempts, while the client library is connected,
/// another server is tried with both.
const ATTEMPTS: usize = 4;
/// How often a channel that goes over to core is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The one who reads.
pub struct LineReader {
    relay: Arc<JetStreamRelay>,
    /// For who follows the feed. Full, it drops: the follower sees that by
    /// the sequence.
    live: mpsc::Sender<Vec<Frame>>,
    /// Counts the client library's connections.
    others: watch::Receiver<u64>,
    /// When the server was heard last.
    heard: Instant,
    said: Option<String>,
}

/// Why a connection ends.
enum End {
    /// The library is at another server.
    Moved,
    /// In words.
    Broken(String),
    /// The gateway is stopping.
    Stopped,
}

// === impl LineReader ===

impl LineReader {
    /// Nothing is read before [`LineReader::run`].
    pub fn new(
        relay: Arc<JetStreamRelay>,
        live: mpsc::Sender<Vec<Frame>>,
        others: watch::Receiver<u64>,
    ) -> Self {
        Self { relay, live, others, heard: Instant::now(), said: None }
    }

    /// Works until the gateway stops.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let before = *self.relay.line.connected.borrow();
            let end = self.live_once().await;
            self.relay.line.down();
            if *self.relay.line.connected.borrow() > before {
                failures = 0;
            }
            let why = match end {
                End::Stopped => return,
                End::Moved => {
                    tracing::debug!("the feed's connection follows to another NATS server");
                    continue;
                }
                End::Broken(why) => why,
            };
            failures += 1;
            self.say(&why);
            if failures % ATTEMPTS == 0 && self.relay.api.is_connected() {
                self.relay.reconnect().await;
            }
            sleep(delay(failures)).await;
        }
    }

    /// One connection, from its making to its end.
    async fn live_once(&mut self) -> End {
        let relay = self.relay.clone();
        let line = &relay.line;
        self.others.mark_unchanged();
        line.leaving.store(false, Ordering::Relaxed);
        let Some(server) = line.choice.current() else {
            return End::Broken("no server's address".to_owned());
        };
        let opening = login::open(&server, &line.config, &line.name);
        match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(Ok(open)) => self.serve(open, &server).await,
            Ok(Err(refused)) => End::Broken(refused.to_string()),
            Err(_) => End::Broken(format!("no answer within {CONNECT_TIMEOUT:?}")),
        }
    }

    async fn serve(&mut self, open: Open, server: &ServerAddr) -> End {
        let Open { mut stream, mut reader } = open;
        let relay = self.relay.clone();
        self.subscribe_all();
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        self.heard = Instant::now();
        loop {
            // It may have come with the login's last answer.
            if let Err(end) = self.take_all(&mut reader).await {
                return end;
            }
            if let Err(error) = self.write(&mut stream).await {
                return End::Broken(error);
            }
            let looking = !relay.crossings.is_idle();
            tokio::select! {
                read = stream.read_buf(reader.room()) => match read {
                    Ok(0) => return End::Broken("the server closed it".to_owned()),
                    Ok(_) => self.heard = Instant::now(),
                    Err(error) => return End::Broken(error.to_string()),
                },
                () = relay.line.changed.notified() => {}
                () = sleep(LOOK), if looking => {
                    if relay.go_over_to_core().await.is_err() {
                        return End::Stopped;
                    }
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() < PING_INTERVAL {
                        unanswered = 0;
                        continue;
                    }
                    unanswered += 1;
                    if unanswered > PATIENCE {
                        return End::Broken("the server doesn't answer pings".to_owned());
                    }
                    relay.line.lock().ping(Asked::Alive);
                }
                _ = self.others.changed() => {
                    let leaving = relay.line.leaving.swap(false, Ordering::Relaxed);
                    if leaving || relay.line.choice.current().as_ref() != Some(server) {
                        return End::Moved;
                    }
                }
            }
        }
    }

    /// All that this gateway wants.
    fn subscribe_all(&self) {
        let relay = &self.relay;
        {
            let mut state = relay.line.lock();
            state.up = true;
            state.outgoing.clear();
            state.asked.clear();
            let out = &mut state.outgoing;
            writeln_to(out, format_args!("SUB {} {LIVE}", relay.subjects.all_live()));
            writeln_to(out, format_args!("SUB {} {UNSTORED}", relay.subjects.all_unstored()));
        }
        // From here on who subscribes writes; twice is once for the server.
        relay.interests.each_subscribed(|subject, sid| {
            relay.line.subscribe(&relay.subjects.publish(subject), sid);
        });
        relay.line.lock().ping(Asked::Ready);
    }

    async fn write(&self, stream: &mut Box<dyn Stream>) -> Result<(), String> {
        let outgoing = std::mem::take(&mut self.relay.line.lock().outgoing);
        if outgoing.is_empty() {
            return Ok(());
        }
        let write = async {
            stream.write_all(&outgoing).await?;
            stream.flush().await
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the server takes nothing".to_owned()),
        }
    }

    /// Hands on all that was read.
    async fn take_all(&mut self, reader: &mut Reader) -> Result<(), End> {
        let relay = self.relay.clone();
        let mut live = Vec::new();
        loop {
            match reader.read().map_err(|error| End::Broken(error.to_string()))? {
                None => break,
                Some(Said::Message(frame)) if frame.sid <= UNSTORED => live.push(frame),
                Some(Said::Message(frame)) => {
                    if !relay.crossings.is_idle() {
                        relay.go_over_to_core().await.map_err(|_| End::Stopped)?;
                    }
                    relay.hand_on_core(&frame).await.map_err(|_| End::Stopped)?;
                }
                Some(Said::Ping) => relay.line.lock().outgoing.extend_from_slice(b"PONG\r\n"),
                Some(Said::Pong) => self.answered(),
                Some(Said::Info(json)) => self.look_at(&json).await,
                Some(Said::Error(text)) => self.refused(&text),
                Some(Said::Ok) => {}
            }
        }
        if !live.is_empty() && self.live.try_send(live).is_err() {
            relay.metrics.relay_overruns.inc();
        }
        Ok(())
    }

    /// The server has answered the oldest ping.
    fn answered(&mut self) {
        let line = &self.relay.line;
        let asked = line.lock().asked.pop_front();
        match asked {
            Some(Asked::Ready) => {
                line.lock().trouble = None;
                self.said = None;
                line.connected.send_modify(|count| *count += 1);
                // Who could not subscribe meanwhile.
                self.relay.interests.wake();
            }
            Some(Asked::Done(sender)) => {
                // Who asked may be gone.
                let _ = sender.send(());
            }
            Some(Asked::Alive) | None => {}
        }
    }

    /// What the server says of itself later on.
    async fn look_at(&self, json: &[u8]) {
        let Ok(info) = login::read_info(json) else { return };
        // Where there is no other, it stays as long as it is let.
        let others = !info.others.is_empty() || self.relay.line.config.url.contains(',');
        if info.lame_duck && others {
            tracing::info!("the NATS server is about to stop; another one is looked for");
            self.relay.reconnect().await;
        }
    }

    fn refused(&self, text: &str) {
        if is_forbidden(text) {
            self.relay.forbidden.note(text);
        } else if text.eq_ignore_ascii_case("slow consumer") {
            self.relay.metrics.relay_overruns.inc();
            tracing::warn!(
                "the NATS server doesn't wait for this gateway any longer: it is too slow"
            );
        } else {
            tracing::debug!(text, "NATS, on the feed's connection");
        }
    }

    /// Once for each trouble; the same in `/status`.
    fn say(&mut self, why: &str) {
        if self.said.as_deref() == Some(why) || !self.relay.api.is_connected() {
            tracing::debug!(why, "no connection to NATS for the feed");
        } else {
            tracing::warn!(why, "no connection to NATS for the feed; it is tried again");
            self.said = Some(why.to_owned());
        }
        self.relay.line.lock().trouble = Some(format!("no connection to NATS for the feed: {why}"));
    }
}

impl super::Line {
    /// The connection is gone, and all that was asked on it.
    fn down(&self) {
        let mut state = self.lock();
        state.up = false;
        state.outgoing = Vec::new();
        state.asked.clear();
    }
}

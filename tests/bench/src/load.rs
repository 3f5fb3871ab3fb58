//! The load generator: thousands of clients and some publishers in one thread
//! and one epoll loop, so that it leaves the machine to the server. It reads
//! whatever has come with one `read(2)` and counts the publications in it.
//!
//! # Layout
//!
//! - `client`: one client's way from its connect to its subscriptions
//! - `publisher`: one HTTP connection that publishes
//! - `tally`: what was counted

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::dialect::{Dialect, Plan, Session};
use crate::poll::{Poll, Ready};

mod client;
mod publisher;
mod tally;

use client::Client;
pub use publisher::Api;
use publisher::Publisher;
pub use tally::{Delays, Tally};

/// Length of a publication's data in bytes.
pub const DATA: usize = 128;
/// Events that one wait tells; publishers get their turn after each.
const BATCH: usize = 128;
const PUBLISHERS: u64 = u64::MAX;
/// A read takes what has come, up to this.
const READ: usize = 256 << 10;
/// Nothing more comes after this silence; what is missing is lost.
const SILENCE: Duration = Duration::from_secs(3);

/// Clients and publishers of one server.
pub struct Load {
    dialect: Dialect,
    server: SocketAddr,
    api: Api,
    poll: Poll,
    publishers_poll: Poll,
    clients: Vec<Option<Client>>,
    publishers: Vec<Publisher>,
    /// Publishers that are free, the one first that has been so for longest:
    /// servers close connections that are silent for long.
    idle: VecDeque<usize>,
    buffer: Vec<u8>,
    /// What was counted so far.
    pub tally: Tally,
}

// === impl Load ===

impl Load {
    /// For clients at `server` and publishers at `api`.
    ///
    /// # Errors
    ///
    /// When the system gives no epoll.
    pub fn new(dialect: Dialect, server: SocketAddr, api: Api) -> anyhow::Result<Self> {
        let (poll, publishers_poll) = (Poll::new(BATCH)?, Poll::new(BATCH)?);
        poll.add(&publishers_poll, PUBLISHERS, false)?;
        Ok(Self {
            dialect,
            server,
            api,
            poll,
            publishers_poll,
            clients: Vec::new(),
            publishers: Vec::new(),
            idle: VecDeque::new(),
            buffer: vec![0; READ],
            tally: Tally::new(),
        })
    }

    /// Begins to connect one more client; [`Load::turn`] goes on with it.
    ///
    /// # Errors
    ///
    /// When the system gives no socket.
    pub fn open(&mut self, plan: Plan) -> anyhow::Result<()> {
        let client = Client::open(self.server, plan)?;
        self.poll.add(&client.stream, self.clients.len() as u64, true)?;
        self.clients.push(Some(client));
        self.tally.opened += 1;
        Ok(())
    }

    /// Connects clients, so many at once, and waits until all are subscribed.
    ///
    /// # Errors
    ///
    /// When one is refused, or they don't come.
    pub fn connect(
        &mut self,
        count: usize,
        together: usize,
        plan: impl Fn(usize) -> Plan,
    ) -> anyhow::Result<()> {
        let (ready, mut next) = (self.tally.ready, 0);
        let mut progress = Instant::now();
        while self.tally.ready < ready + count {
            while next < count && next < self.tally.ready - ready + together {
                self.open(plan(next))?;
                next += 1;
            }
            let before = self.tally.ready;
            self.turn(Some(Duration::from_millis(500)))?;
            if self.tally.ready > before {
                progress = Instant::now();
            }
            if let Some(reason) = &self.tally.refused {
                bail!("a client was refused: {reason}");
            }
            ensure!(self.tally.closed == 0, "{} clients were closed", self.tally.closed);
            ensure!(
                progress.elapsed() < Duration::from_secs(20),
                "{} of {count} clients came",
                self.tally.ready - ready
            );
        }
        Ok(())
    }

    /// Ends these clients as a broken network does, and forgets them; what they
    /// noted of their sessions.
    pub fn cut(&mut self, numbers: std::ops::Range<usize>) -> Vec<Session> {
        let cut = self.clients[numbers].iter_mut().filter_map(Option::take);
        cut.filter_map(|mut client| client.noted.take()).map(|noted| *noted).collect()
    }

    /// Opens connections that publish.
    ///
    /// # Errors
    ///
    /// When the server refuses one.
    pub fn publishers(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let publisher = Publisher::connect(&self.api)?;
            self.publishers_poll.add(&publisher.stream, self.publishers.len() as u64, false)?;
            self.idle.push_back(self.publishers.len());
            self.publishers.push(publisher);
        }
        Ok(())
    }

    /// Publishes to a channel, when a publisher is free.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn publish(&mut self, channel: &str) -> anyhow::Result<bool> {
        let Some(number) = self.idle.pop_front() else { return Ok(false) };
        let request = self.api.request(channel, &self.tally.stamp());
        self.publishers[number].send(&request)?;
        self.tally.published += 1;
        Ok(true)
    }

    /// How this server is published to.
    pub fn api(&self) -> Api {
        self.api
    }

    /// Publishes a request made by [`Api`], which holds so many publications.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn send(&mut self, request: &[u8], publications: u64) -> anyhow::Result<bool> {
        let Some(number) = self.idle.pop_front() else { return Ok(false) };
        self.publishers[number].send(request)?;
        self.tally.published += publications;
        Ok(true)
    }

    /// Whether every publish was answered.
    pub fn is_answered(&self) -> bool {
        self.idle.len() == self.publishers.len()
    }

    /// Handles what is ready, waiting for it at most so long.
    ///
    /// # Errors
    ///
    /// When a publisher fails, or the system.
    pub fn turn(&mut self, most: Option<Duration>) -> anyhow::Result<()> {
        let mut ready = Vec::with_capacity(BATCH);
        self.poll.wait(most, &mut ready)?;
        self.tally.now();
        for &Ready { token, .. } in &ready {
            if token != PUBLISHERS {
                self.client(usize::try_from(token)?)?;
            }
        }
        if !self.is_answered() {
            self.publishers_poll.wait(Some(Duration::ZERO), &mut ready)?;
            for &Ready { token, .. } in &ready {
                let number = usize::try_from(token)?;
                if self.publishers[number].read(&mut self.buffer)? {
                    self.idle.push_back(number);
                }
            }
        }
        Ok(())
    }

    /// Handles whatever comes for so long.
    ///
    /// # Errors
    ///
    /// As [`Load::turn`].
    pub fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.turn(Some(left))?;
        }
        Ok(())
    }

    /// Publishes as fast as answers come, one under way for each publisher, to
    /// the channels that `channel` gives; then waits for the last delivery.
    /// With a window, no more publications than that are under way to clients.
    ///
    /// # Errors
    ///
    /// As [`Load::turn`].
    pub fn flood(
        &mut self,
        time: Duration,
        mut channel: impl FnMut(u64) -> String,
        subscribers: u64,
        window: Option<u64>,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        let (published, expected) = (self.tally.published, self.tally.delivered);
        let window = window.map_or(u64::MAX, |window| window * subscribers);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let missing = |tally: &Tally| {
                (tally.published - published) * subscribers - (tally.delivered - expected)
            };
            while !self.idle.is_empty() && missing(&self.tally) < window {
                let name = channel(self.tally.published);
                self.publish(&name)?;
            }
            self.turn(Some(left))?;
        }
        self.settle(expected + (self.tally.published - published) * subscribers)
    }

    /// Publishes at a steady pace, whatever the answers do; then waits for the
    /// last delivery.
    ///
    /// # Errors
    ///
    /// When no publisher is free, or as [`Load::turn`].
    pub fn paced(
        &mut self,
        count: u64,
        pace: Duration,
        mut channel: impl FnMut(u64) -> String,
        subscribers: u64,
    ) -> anyhow::Result<()> {
        let expected = self.tally.delivered + count * subscribers;
        let mut due = Instant::now();
        for number in 0..count {
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                self.turn(Some(left))?;
            }
            due += pace;
            let name = channel(number);
            let begin = Instant::now();
            while !self.publish(&name)? {
                ensure!(begin.elapsed() < Duration::from_secs(10), "no publish is answered");
                self.turn(Some(Duration::from_millis(10)))?;
            }
        }
        self.settle(expected)
    }

    /// Waits until all are answered and so many delivered, or nothing comes any
    /// more.
    ///
    /// # Errors
    ///
    /// As [`Load::turn`].
    pub fn settle(&mut self, delivered: u64) -> anyhow::Result<()> {
        let (mut seen, mut progress) = (self.tally.delivered, Instant::now());
        while self.tally.delivered < delivered || !self.is_answered() {
            self.turn(Some(Duration::from_millis(50)))?;
            if self.tally.delivered > seen {
                (seen, progress) = (self.tally.delivered, Instant::now());
            }
            if progress.elapsed() > SILENCE {
                ensure!(self.is_answered(), "a publish is not answered");
                break;
            }
        }
        self.tally.expected = delivered;
        Ok(())
    }

    fn client(&mut self, number: usize) -> anyhow::Result<()> {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else {
            return Ok(());
        };
        if client.is_connecting() {
            if client.begin(self.dialect, self.server).is_ok() {
                self.poll.modify(&client.stream, number as u64, false)?;
            } else {
                self.tally.refused.get_or_insert_with(|| "no connection".to_owned());
            }
            return Ok(());
        }
        if !client.read(self.dialect, &mut self.buffer, &mut self.tally) {
            self.tally.closed += 1;
            self.clients[number] = None;
        } else if client.is_stalled() {
            self.poll.remove(&client.stream)?;
        }
        Ok(())
    }
}

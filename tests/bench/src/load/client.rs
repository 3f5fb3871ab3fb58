//! One client, from its connect to its subscriptions.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::Context as _;
use memchr::memmem;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::Tally;
use crate::dialect::{Dialect, Heard, Plan, Session};
use crate::frame::{self, Frame};
use crate::http;

/// A stalled client's receive buffer in bytes; the system takes its least.
const STALLED_BUFFER: usize = 1;

/// A connection of one client.
pub struct Client {
    /// Its socket.
    pub stream: TcpStream,
    /// Its session, if its plan is to note it.
    pub noted: Option<Box<Session>>,
    plan: Option<Box<Plan>>,
    stage: Stage,
    /// Subscriptions that are not answered yet.
    pending: usize,
    /// What came of a frame that is not whole yet.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Joining,
    Ready,
    Stalled,
}

// === impl Client ===

impl Client {
    /// Begins to connect.
    pub fn open(server: SocketAddr, plan: Plan) -> anyhow::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .context("socket")?;
        if plan.stalls {
            sockopt::set_socket_recv_buffer_size(&socket, STALLED_BUFFER).context("SO_RCVBUF")?;
        }
        // A cut client sends a reset, and leaves no port behind.
        sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO))
            .context("SO_LINGER")?;
        match rustix::net::connect(&socket, &server) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => (),
            Err(error) => return Err(error).context("connect"),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            noted: plan.notes.then(Box::default),
            plan: Some(Box::new(plan)),
            stage: Stage::Connecting,
            pending: 0,
            partial: Vec::new(),
        })
    }

    pub fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }

    pub fn is_stalled(&self) -> bool {
        self.stage == Stage::Stalled
    }

    /// It is connected: asks for what it wants.
    pub fn begin(&mut self, dialect: Dialect, server: SocketAddr) -> anyhow::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        let request = self.plan.as_ref().map(|plan| dialect.request(server, plan));
        self.stream.write_all(request.unwrap_or_default().as_bytes())?;
        self.stage = Stage::Upgrading;
        Ok(())
    }

    /// Reads once. False: it has ended.
    pub fn read(&mut self, dialect: Dialect, buffer: &mut [u8], tally: &mut Tally) -> bool {
        let count = match self.stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        let mut whole = std::mem::take(&mut self.partial);
        let mut bytes: &[u8] = if whole.is_empty() {
            &buffer[..count]
        } else {
            whole.extend_from_slice(&buffer[..count]);
            &whole
        };
        if self.stage == Stage::Upgrading {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                self.partial = bytes.to_vec();
                return true;
            };
            let (head, rest) = bytes.split_at(end + 4);
            if !matches!(http::status(head), Some(101 | 200)) {
                tally.refused.get_or_insert_with(|| String::from_utf8_lossy(bytes).into_owned());
                return false;
            }
            bytes = rest;
            self.stage = Stage::Joining;
            if !self.heard(dialect, dialect.upgraded(), b"", tally) {
                return false;
            }
        }
        if !dialect.is_framed() {
            // Events end with an empty line.
            let end = memmem::rfind(bytes, b"\n\n").map_or(0, |end| end + 2);
            let (events, rest) = bytes.split_at(end);
            let heard = dialect.hear(events);
            self.partial = rest.to_vec();
            return self.heard(dialect, heard, events, tally);
        }
        while let Some(frame) = Frame::first(bytes) {
            bytes = &bytes[frame.length..];
            if !self.frame(dialect, frame, tally) {
                return false;
            }
        }
        self.partial = bytes.to_vec();
        true
    }

    fn frame(&mut self, dialect: Dialect, frame: Frame<'_>, tally: &mut Tally) -> bool {
        match frame.opcode {
            1 if dialect == Dialect::Centrifuge => frame
                .payload
                .split(|&byte| byte == b'\n')
                .all(|line| self.heard(dialect, dialect.hear(line), line, tally)),
            1 => self.heard(dialect, dialect.hear(frame.payload), frame.payload, tally),
            8 => false,
            9 => self.stream.write_all(&frame::masked(10, frame.payload)).is_ok(),
            _ => true,
        }
    }

    fn heard(&mut self, dialect: Dialect, heard: Heard, text: &[u8], tally: &mut Tally) -> bool {
        if let Some(noted) = &mut self.noted {
            noted.note(text);
        }
        match heard {
            Heard::Nothing => true,
            Heard::Deliveries(count) => {
                tally.deliver(text, count);
                true
            }
            Heard::Ping => self.say(dialect.pong()),
            Heard::Opened => {
                let hello = self.plan.as_ref().map(|plan| dialect.hello(plan));
                self.say(&hello.unwrap_or_default())
            }
            Heard::Connected => self.subscribe(dialect, text, tally),
            Heard::Subscribed => {
                self.pending = self.pending.saturating_sub(1);
                if self.pending == 0 {
                    self.ready(tally);
                }
                true
            }
            Heard::Refused => {
                tally.refused.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
                false
            }
        }
    }

    /// Subscribes to all at once; a recovered session is subscribed already.
    fn subscribe(&mut self, dialect: Dialect, text: &[u8], tally: &mut Tally) -> bool {
        let Some(plan) = &self.plan else { return true };
        if let Some(session) = &plan.resume {
            let same = memmem::find(text, session.pid.as_bytes()).is_some();
            tally.recovered += usize::from(same);
            self.ready(tally);
            return true;
        }
        self.pending = plan.channels.len();
        if self.pending == 0 {
            self.ready(tally);
            return true;
        }
        let mut frames = Vec::new();
        for (index, channel) in plan.channels.iter().enumerate() {
            frames.extend(frame::masked(1, dialect.subscribe(index, channel).as_bytes()));
        }
        self.stream.write_all(&frames).is_ok()
    }

    fn ready(&mut self, tally: &mut Tally) {
        if self.stage == Stage::Ready {
            return;
        }
        let stalls = self.plan.take().is_some_and(|plan| plan.stalls);
        self.stage = if stalls { Stage::Stalled } else { Stage::Ready };
        tally.ready += 1;
    }

    fn say(&mut self, text: &str) -> bool {
        self.stream.write_all(&frame::masked(1, text.as_bytes())).is_ok()
    }
}

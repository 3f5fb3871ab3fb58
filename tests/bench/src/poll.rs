//! One epoll, as both the load generator and the floor use it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{Timespec, epoll};

/// Readiness of many sockets, level-triggered.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// One socket that is ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The number that it was added with.
    pub token: u64,
    /// There is something to read, or it has ended.
    pub read: bool,
}

// === impl Poll ===

impl Poll {
    /// One that tells at most so many at once.
    ///
    /// # Errors
    ///
    /// When the system gives none.
    pub fn new(most: usize) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create")?;
        Ok(Self { epoll, events: Vec::with_capacity(most) })
    }

    /// Tells of this socket from now on, under a number.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn add(&self, socket: impl AsFd, token: u64, write: bool) -> anyhow::Result<()> {
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, socket, data, interest(write)).context("epoll_ctl")
    }

    /// Whether to tell that it can be written to.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn modify(&self, socket: impl AsFd, token: u64, write: bool) -> anyhow::Result<()> {
        let data = epoll::EventData::new_u64(token);
        epoll::modify(&self.epoll, socket, data, interest(write)).context("epoll_ctl")
    }

    /// Tells of it no longer.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn remove(&self, socket: impl AsFd) -> anyhow::Result<()> {
        epoll::delete(&self.epoll, socket).context("epoll_ctl")
    }

    /// Waits until something is ready, at most so long; `ready` then holds it.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn wait(&mut self, most: Option<Duration>, ready: &mut Vec<Ready>) -> anyhow::Result<()> {
        let timeout = most.map(|most| Timespec {
            tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: most.subsec_nanos().into(),
        });
        ready.clear();
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) => ready.extend(self.events.iter().map(Ready::from)),
            Err(rustix::io::Errno::INTR) => (),
            Err(error) => return Err(error).context("epoll_wait"),
        }
        Ok(())
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn interest(write: bool) -> epoll::EventFlags {
    if write { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

// === impl Ready ===

impl From<&epoll::Event> for Ready {
    fn from(event: &epoll::Event) -> Self {
        let (flags, data) = (event.flags, event.data);
        Self { token: data.u64(), read: flags != epoll::EventFlags::OUT }
    }
}

//! Who may come in, and who not just now: places among the connections, how
//! fast they are given, and what memory is left.
//!
//! Nothing here grows with the number of those who knock: what is kept of an
//! address is kept while it has a connection, or has a size of its own.
//!
//! # Layout
//!
//! - [`pace`]: so many a second, with a short wait; and so many for each
//!   address
//! - [`counts`]: how many connections an address or a user has
//! - [`memory`]: what the process uses, and what it may
//! - [`files`]: how many files it may open

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gateway_config::Limits;

use crate::auth::Identity;
use crate::error::{Error, ErrorCode};
use crate::metrics::{LimitLabel, Metrics};

pub mod counts;
pub mod files;
pub mod memory;
pub mod pace;

#[cfg(test)]
mod tests;

use counts::{Counted, Counts};
use pace::{Pace, Paces};

/// How long a new client may wait for its turn before it is refused.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// What comes at once and is no stampede, in time at the pace that is set.
const BURST: Duration = Duration::from_millis(100);
/// The same for one address.
const ADDRESS_BURST: Duration = Duration::from_secs(1);

/// The door of a gateway.
pub struct Door {
    limits: Arc<ArcSwap<Limits>>,
    metrics: Metrics,
    /// Connections that the process's open files have room for.
    files: usize,
    /// False: the gateway drains.
    accepting: AtomicBool,
    /// True: memory is short.
    short: AtomicBool,
    /// Open client connections.
    open: AtomicUsize,
    began: Instant,
    pace: Pace,
    paces: Paces,
    addresses: Arc<Counts<IpAddr>>,
    users: Arc<Counts<Arc<str>>>,
}

/// A place among the connections that the gateway may hold. Dropped: free.
pub struct Place {
    door: Arc<Door>,
    /// One more of that address, where those are counted: mostly they aren't,
    /// and then it is as small as can be.
    #[allow(dead_code)] // Its end is what counts.
    counted: Option<Box<Counted<IpAddr>>>,
}

/// One more connection of a user. Dropped: one less.
pub struct UserPlace(
    // Its end is what counts.
    #[allow(dead_code)] Box<Counted<Arc<str>>>,
);

/// Why somebody can't come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Draining,
    Connections,
    Memory,
    Rate,
    Address,
    AddressRate,
    User,
}

// === impl Door ===

impl Door {
    /// An open one. `files`: connections that the process may have for all
    /// its open files.
    pub fn new(limits: Arc<ArcSwap<Limits>>, metrics: Metrics, files: usize) -> Arc<Self> {
        Arc::new(Self {
            limits,
            metrics,
            files,
            accepting: AtomicBool::new(true),
            short: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            began: Instant::now(),
            pace: Pace::default(),
            paces: Paces::default(),
            addresses: Arc::default(),
            users: Arc::default(),
        })
    }

    /// Open client connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether new ones are taken.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed)
    }

    /// From now on nobody new comes in.
    pub fn close(&self) {
        self.accepting.store(false, Ordering::Relaxed);
    }

    /// Memory is short, or no longer.
    pub fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    /// Takes a place for a new connection from `address`, if it may come in;
    /// it may have to wait for its turn. Taken before the handshake's answer:
    /// many at once are never more than the limit.
    pub async fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Error> {
        let (place, wait) = match self.take(address) {
            Ok(taken) => taken,
            Err(refusal) => return Err(self.refuse(refusal, address)),
        };
        if !wait.is_zero() {
            self.metrics.connections_delayed.inc();
            tokio::time::sleep(wait).await;
            if !self.is_accepting() {
                return Err(self.refuse(Refusal::Draining, address));
            }
        }
        Ok(place)
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Result<(Place, Duration), Refusal> {
        let limits = self.limits.load();
        if !self.is_accepting() {
            return Err(Refusal::Draining);
        }
        if self.short.load(Ordering::Relaxed) {
            return Err(Refusal::Memory);
        }
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { door: self.clone(), counted: None };
        if open >= limits.connections.min(self.files) {
            return Err(Refusal::Connections);
        }
        let now = self.began.elapsed();
        if limits.connections_per_address > 0 {
            let most = limits.connections_per_address;
            let counted = self.addresses.add(neighbourhood(address), most);
            place.counted = Some(Box::new(counted.ok_or(Refusal::Address)?));
        }
        if limits.connect_rate_per_address > 0 {
            let rate = limits.connect_rate_per_address;
            if !self.paces.take(neighbourhood(address), now, rate, ADDRESS_BURST) {
                return Err(Refusal::AddressRate);
            }
        }
        if limits.connect_rate == 0 {
            return Ok((place, Duration::ZERO));
        }
        let wait = self.pace.take(now, limits.connect_rate, BURST, LONGEST_WAIT);
        Ok((place, wait.ok_or(Refusal::Rate)?))
    }

    /// One more connection of who it is, if that user may have one more.
    /// Nothing is counted of those who are nobody.
    pub fn user(&self, identity: &Identity) -> Result<Option<UserPlace>, Error> {
        let most = self.limits.load().connections_per_user;
        let (Some(user), 1..) = (&identity.user, most) else { return Ok(None) };
        let Some(counted) = self.users.add(user.clone(), most) else {
            self.count(Refusal::User);
            return Err(Refusal::User.error());
        };
        Ok(Some(UserPlace(Box::new(counted))))
    }

    fn refuse(&self, refusal: Refusal, address: IpAddr) -> Error {
        self.count(refusal);
        tracing::debug!(%address, limit = refusal.label(), "a client is refused");
        refusal.error()
    }

    fn count(&self, refusal: Refusal) {
        let label = LimitLabel { limit: refusal.label() };
        self.metrics.limited.get_or_create(&label).inc();
    }
}

/// What limits for an address are about: the address, or the network that one
/// customer has of IPv6 (RFC 6177: at least a /64, from which it may take any
/// address at any time).
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Refusal ===

impl Refusal {
    /// The setting, as the metric names it.
    const fn label(self) -> &'static str {
        match self {
            Self::Draining => "drain",
            Self::Connections => "connections",
            Self::Memory => "memory",
            Self::Rate => "connectRate",
            Self::Address => "connectionsPerAddress",
            Self::AddressRate => "connectRatePerAddress",
            Self::User => "connectionsPerUser",
        }
    }

    fn error(self) -> Error {
        let code = match self {
            Self::AddressRate => ErrorCode::RateLimited,
            _ => ErrorCode::LimitConnections,
        };
        let words = match self {
            Self::Draining => {
                "the gateway takes no more connections: it drains; connect to another"
            }
            Self::Connections => {
                "the gateway is full (`limits.connections`); try again in a moment"
            }
            Self::Memory => {
                "the gateway is short of memory (`limits.memory`); try again in a moment"
            }
            Self::Rate => "too many connect at once (`limits.connectRate`); try again in a moment",
            Self::Address => {
                "your address has as many connections as it may (`limits.connectionsPerAddress`)"
            }
            Self::AddressRate => {
                "your address connects too often (`limits.connectRatePerAddress`); wait a moment"
            }
            Self::User => {
                "you have as many connections as you may (`limits.connectionsPerUser`); close another"
            }
        };
        Error::new(code, words)
    }
}

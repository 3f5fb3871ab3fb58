//! Proves to a gateway that another one of its cluster speaks, now and once.
//!
//! A stamp is `<gateway>.<number>.<time>.<MAC>`. The MAC covers what is
//! stamped; the time bounds how long it is good; the number, which no gateway
//! uses twice, refuses whoever sends the same again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::unix_millis;
use crate::session::sid::{GatewayId, SidKey};

#[cfg(test)]
mod tests;

/// How far two gateways' clocks may be apart, in milliseconds.
const SKEW: u64 = 30_000;
/// How long a gateway's numbers are remembered after its last: longer than
/// any of its stamps is good.
const MEMORY: Duration = Duration::from_secs(90);
/// How many numbers a stamp may be late: one on a slow connection is
/// overtaken by those on others.
const WINDOW: u64 = 1 << 16;

/// The keys that come from `peer.secret`, each for its own purpose.
pub struct ClusterKeys {
    /// For session ids.
    pub sid: SidKey,
    /// For requests to the peer listener.
    pub requests: hmac::Key,
    /// For messages under `P.ctl`.
    pub messages: hmac::Key,
}

/// Stamps, and reads others' stamps.
pub struct Signer {
    gateway: GatewayId,
    key: hmac::Key,
    next: AtomicU64,
    heard: Mutex<HashMap<GatewayId, Window>>,
}

/// Whose stamp it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who stamped.
    pub from: GatewayId,
    /// Its number; later ones are higher.
    pub number: u64,
}

/// Why a stamp is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none, or it has not the form of one.
    #[error("there is no stamp")]
    Missing,
    /// Made with another secret, or for something else.
    #[error(
        "the stamp is not of this cluster, or for something else; give all gateways one `peer.secret`"
    )]
    Forged,
    /// Too old, or from the future.
    #[error("the stamp's time is more than 30 s off; set the machines' clocks")]
    Time,
    /// It came before.
    #[error("the stamp was used before")]
    Replayed,
}

/// Which of a gateway's numbers came already: a bit for each of the last.
struct Window {
    highest: u64,
    seen: Box<[u64]>,
    at: Instant,
}

// === impl ClusterKeys ===

impl ClusterKeys {
    /// The keys of a cluster. Clusters with one secret and different prefixes
    /// have different keys.
    pub fn derive(secret: &[u8], prefix: &str) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |purpose: &str| {
            hmac::sign(&root, format!("pushcluster 1 {purpose} {prefix}").as_bytes())
        };
        let key = |purpose| hmac::Key::new(hmac::HMAC_SHA256, derived(purpose).as_ref());
        Self {
            sid: SidKey::new(derived("sid").as_ref()),
            requests: key("requests"),
            messages: key("messages"),
        }
    }
}

// === impl Signer ===

impl Signer {
    /// Stamps as `gateway`.
    pub fn new(gateway: GatewayId, key: hmac::Key) -> Self {
        Self { gateway, key, next: AtomicU64::new(1), heard: Mutex::default() }
    }

    /// A stamp for these parts, in this order.
    pub fn stamp(&self, parts: &[&[u8]]) -> String {
        self.stamp_at(unix_millis(), parts)
    }

    fn stamp_at(&self, time: u64, parts: &[&[u8]]) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let head = format!("{}.{number}.{time}", self.gateway);
        let mac = hmac::sign(&self.key, &covered(&head, parts));
        format!("{head}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
    }

    /// Whose stamp it is, if it is good for these parts. Each is good once.
    pub fn check(&self, stamp: &str, parts: &[&[u8]]) -> Result<Stamp, Refusal> {
        let (head, mac) = stamp.rsplit_once('.').ok_or(Refusal::Missing)?;
        let mut fields = head.split('.');
        let mut field = || fields.next().ok_or(Refusal::Missing);
        let (from, number, time) = (field()?, field()?, field()?);
        let from = u64::from_str_radix(from, 16).map_err(|_| Refusal::Missing)?;
        let number = number.parse::<u64>().map_err(|_| Refusal::Missing)?;
        let time = time.parse::<u64>().map_err(|_| Refusal::Missing)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Refusal::Missing)?;
        // In constant time.
        hmac::verify(&self.key, &covered(head, parts), &mac).map_err(|_| Refusal::Forged)?;
        if unix_millis().abs_diff(time) > SKEW {
            return Err(Refusal::Time);
        }
        let from = GatewayId(from);
        if self.first_time(from, number) {
            Ok(Stamp { from, number })
        } else {
            Err(Refusal::Replayed)
        }
    }

    fn first_time(&self, from: GatewayId, number: u64) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if !heard.contains_key(&from) {
            // Only who has the secret comes so far: there are few.
            heard.retain(|_, window| now.duration_since(window.at) < MEMORY);
        }
        let window = heard.entry(from).or_insert_with(|| Window::new(now));
        window.at = now;
        window.take(number)
    }
}

/// What the MAC covers: each part with its length, so that none can grow at
/// another's cost.
fn covered(head: &str, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len() + 8).sum::<usize>();
    let mut bytes = Vec::with_capacity(head.len() + 8 + length);
    for part in std::iter::once(&head.as_bytes()).chain(parts) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

// === impl Refusal ===

impl Refusal {
    /// Its label in the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Forged => "forged",
            Self::Time => "time",
            Self::Replayed => "replayed",
        }
    }
}

// === impl Window ===

impl Window {
    fn new(at: Instant) -> Self {
        let words = usize::try_from(WINDOW / 64).unwrap_or_default();
        Self { highest: 0, seen: vec![0; words].into(), at }
    }

    /// Whether the number is new.
    fn take(&mut self, number: u64) -> bool {
        if number.saturating_add(WINDOW) <= self.highest {
            return false;
        }
        if number > self.highest {
            if number - self.highest >= WINDOW {
                self.seen.fill(0);
            } else {
                for between in self.highest + 1..=number {
                    *self.word(between) &= !(1 << (between % 64));
                }
            }
            self.highest = number;
        }
        let bit = 1 << (number % 64);
        let word = self.word(number);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn word(&mut self, number: u64) -> &mut u64 {
        let index = usize::try_from(number / 64 % (WINDOW / 64)).unwrap_or_default();
        &mut self.seen[index]
    }
}

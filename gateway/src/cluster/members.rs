//! The gateways that are there now: known by their heartbeats alone, which
//! only who has `peer.secret` can send. So no client can make a gateway call
//! an address of its choice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::session::sid::GatewayId;

#[cfg(test)]
mod tests;

/// A gateway that wasn't heard for so long is gone.
const GONE: Duration = Duration::from_secs(6);
/// Who doesn't hear even itself for so long is deaf, and knows nothing of
/// others.
const DEAF: Duration = Duration::from_secs(5);
/// How long a gateway that said goodbye is not believed to be back: older
/// messages may still be under way.
const FAREWELL: Duration = Duration::from_mins(1);

/// The gateways of the cluster, without this one.
#[derive(Default)]
pub struct Members {
    now: ArcSwap<HashMap<GatewayId, Arc<Member>>>,
}

/// Another gateway.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which.
    pub id: GatewayId,
    /// What it last said of itself.
    pub beat: Beat,
    /// Cancelled when it is no member any more.
    pub gone: CancellationToken,
}

/// What a gateway says of itself every two seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    /// Why now.
    pub kind: BeatKind,
    /// Where its peer listener is reached; none without one.
    pub peer: Option<String>,
    /// Whether that speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime: u64,
    /// Client connections that it holds.
    pub connections: u64,
    /// Whether it takes new clients.
    pub accepting: bool,
    /// Whether it is sending its clients away.
    pub draining: bool,
    /// Which configuration it has loaded.
    pub config_hash: String,
    /// Publications that are stored and that it has not seen yet.
    pub lag: u64,
}

/// Why a gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BeatKind {
    /// It is there.
    Beat,
    /// It is new: whoever hears it answers at once.
    Hello,
    /// It goes.
    Bye,
}

/// Keeps [`Members`] true. One task has it.
pub struct Roll {
    heard: HashMap<GatewayId, Heard>,
    /// When this gateway heard itself.
    own: Instant,
    /// Since when it does so without a pause.
    hearing: Instant,
    /// When it gave a NATS server up, as it did not.
    left: Option<Instant>,
}

struct Heard {
    at: Instant,
    number: u64,
    gone: bool,
}

// === impl Members ===

impl Members {
    /// A gateway, if it is there.
    pub fn get(&self, id: GatewayId) -> Option<Arc<Member>> {
        self.now.load().get(&id).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Member>> {
        self.now.load().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.now.load().len()
    }

    /// Whether this gateway is alone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn insert(&self, id: GatewayId, beat: Beat) {
        let mut next = HashMap::clone(&self.now.load());
        let gone = next.get(&id).map_or_else(CancellationToken::new, |old| old.gone.clone());
        next.insert(id, Arc::new(Member { id, beat, gone }));
        self.now.store(Arc::new(next));
    }

    fn remove(&self, id: GatewayId) {
        let mut next = HashMap::clone(&self.now.load());
        if let Some(member) = next.remove(&id) {
            self.now.store(Arc::new(next));
            member.gone.cancel();
        }
    }
}

// === impl Roll ===

impl Roll {
    /// Nobody was heard yet.
    pub fn new(now: Instant) -> Self {
        Self { heard: HashMap::new(), own: now, hearing: now, left: None }
    }

    /// This gateway heard itself.
    pub fn heard_myself(&mut self, now: Instant) {
        if now.duration_since(self.own) > DEAF {
            self.hearing = now;
        }
        self.own = now;
    }

    /// Whether to ask another NATS server, as this gateway hasn't heard itself
    /// for so long. The one that is asked then has as long again: who left it
    /// before it could carry anything would never hear itself again.
    pub fn gives_up(&mut self, patience: Duration, now: Instant) -> bool {
        let since = self.left.map_or(self.own, |left| left.max(self.own));
        let gives_up = now.duration_since(since) > patience;
        if gives_up {
            self.left = Some(now);
        }
        gives_up
    }

    /// Another gateway spoke. True: it was not a member.
    pub fn heard(
        &mut self,
        members: &Members,
        id: GatewayId,
        number: u64,
        beat: Beat,
        now: Instant,
    ) -> bool {
        if self.heard.get(&id).is_some_and(|before| number <= before.number) {
            return false;
        }
        let gone = beat.kind == BeatKind::Bye;
        self.heard.insert(id, Heard { at: now, number, gone });
        if gone {
            members.remove(id);
            return false;
        }
        let new = members.get(id).is_none();
        members.insert(id, beat);
        new
    }

    /// Removes who wasn't heard for too long; they are returned. Who is deaf
    /// removes nobody: not the others went away, but NATS.
    pub fn expire(&mut self, members: &Members, now: Instant) -> Vec<GatewayId> {
        self.heard.retain(|id, heard| {
            members.get(*id).is_some() || now.duration_since(heard.at) < FAREWELL
        });
        if now.duration_since(self.own) > DEAF {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for (id, heard) in &mut self.heard {
            // After a silence of NATS the others have their time again.
            let since = heard.at.max(self.hearing);
            if !heard.gone && now.duration_since(since) > GONE {
                heard.gone = true;
                members.remove(*id);
                expired.push(*id);
            }
        }
        expired
    }
}

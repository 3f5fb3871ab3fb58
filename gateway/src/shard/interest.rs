//! Which channels the relay is asked for: those that the hub has, those that
//! somebody is about to subscribe to, and for a while those that were left.
//!
//! A channel with subscribers is in the hub and costs nothing here.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::Shard;
use crate::channel::Channel;
use crate::error::Error;

#[cfg(test)]
mod tests;

/// How long the relay still brings a channel that nobody is subscribed to:
/// long enough that a reconnect finds it.
const LINGER: Duration = Duration::from_mins(1);
/// Channels that linger at once. Beyond it the one that was left first goes
/// before its time: who subscribes to ever new channels and leaves them must
/// not fill the memory with a minute of them.
const MOST: usize = 1 << 14;
/// Channels that are looked at when one is left.
const LEAVES: usize = 4;
/// Time between two looks when nobody leaves any.
const SWEEP: Duration = Duration::from_secs(15);
/// Channels that are looked at then before others have their turn.
const BATCH: usize = 256;

/// Channels that the relay is asked for and that the hub has not.
#[derive(Default)]
pub(super) struct Interest {
    /// Those that the relay is being asked for.
    joining: RefCell<HashMap<Channel, Rc<Notify>>>,
    /// Those that it brings because somebody is about to enter the hub, or
    /// left it.
    kept: RefCell<Kept>,
}

/// What the relay brings though the hub may not have it.
#[derive(Default)]
struct Kept {
    channels: HashMap<Channel, Why>,
    /// Those that may have no subscriber left, and since when they stand
    /// here; each once, however often it is left.
    left: VecDeque<(Channel, Instant)>,
}

/// Why the relay still brings a channel.
struct Why {
    /// Who is about to enter the hub: while there is somebody, it stays.
    held: usize,
    /// It stands in `left`.
    queued: bool,
    /// When somebody last wanted it.
    wanted: Instant,
}

/// A channel that the relay brings, for somebody who is about to enter the
/// hub. Dropped when nobody has: the channel is left.
pub struct Joined<'a> {
    shard: &'a Shard,
    channel: Channel,
}

/// A channel that the relay is being asked for. Dropped, also because the
/// client that wanted it is gone: whoever waits for the answer asks anew.
struct Joining<'a> {
    shard: &'a Shard,
    channel: &'a Channel,
    notify: Rc<Notify>,
    joined: bool,
}

// === impl Shard ===

impl Shard {
    /// The relay is asked for a channel, unless it brings it already. Ready
    /// when what is published from now on will arrive.
    pub async fn join(&self, channel: &Channel) -> Result<Joined<'_>, Error> {
        loop {
            let waiting = self.interest.joining.borrow().get(channel).cloned();
            match waiting {
                Some(waiting) => waiting.notified().await,
                None if self.is_joined(channel) => {
                    let joined = self.hold(channel);
                    self.catch_up();
                    return Ok(joined);
                }
                None => break,
            }
        }
        let notify = Rc::new(Notify::new());
        self.interest.joining.borrow_mut().insert(channel.clone(), notify.clone());
        let mut joining = Joining { shard: self, channel, notify, joined: false };
        self.shared.fanout.want(self.index, channel);
        self.shared.relay.join(channel).await?;
        // What came before it was wanted is behind the position now.
        self.catch_up();
        joining.joined = true;
        Ok(self.hold(channel))
    }

    /// Whether the relay brings a channel.
    fn is_joined(&self, channel: &Channel) -> bool {
        self.hub.borrow().has(channel) || self.interest.kept.borrow().has(channel)
    }

    /// The relay goes on to bring it while this is there.
    fn hold(&self, channel: &Channel) -> Joined<'_> {
        self.interest.kept.borrow_mut().hold(channel, Instant::now());
        Joined { shard: self, channel: channel.clone() }
    }

    /// The last subscriber of a channel in this shard is gone. The relay is
    /// told some time later, if nobody came since.
    pub fn leave(&self, channel: &Channel) {
        let now = Instant::now();
        self.interest.kept.borrow_mut().leave(channel, now);
        // More go than come, so the queue stays as short as what lingers.
        self.forget(LEAVES, now);
    }

    /// Tells the relay of channels that were left long ago, also when nobody
    /// leaves any more; for as long as the shard lives.
    pub async fn forget_left(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            while self.forget(BATCH, Instant::now()) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Looks at up to so many channels that were left. True: there may be
    /// more whose time is over.
    fn forget(&self, most: usize, now: Instant) -> bool {
        let hub = self.hub.borrow();
        let (gone, more) =
            self.interest.kept.borrow_mut().forget(most, now, |channel| hub.has(channel));
        for channel in gone {
            self.shared.fanout.unwant(self.index, &channel);
            self.shared.relay.leave(&channel);
        }
        more
    }
}

// === impl Kept ===

impl Kept {
    fn has(&self, channel: &Channel) -> bool {
        self.channels.contains_key(channel)
    }

    fn want(&mut self, channel: &Channel, now: Instant) -> &mut Why {
        let why = self.channels.entry(channel.clone());
        let why = why.or_insert(Why { held: 0, queued: false, wanted: now });
        why.wanted = now;
        why
    }

    /// Somebody is about to enter the hub.
    fn hold(&mut self, channel: &Channel, now: Instant) {
        self.want(channel, now).held += 1;
    }

    /// Somebody who was about to is in the hub, or isn't. `in_hub`: the hub
    /// has the channel, from whomever.
    fn release(&mut self, channel: &Channel, in_hub: bool) {
        let Some(why) = self.channels.get_mut(channel) else { return };
        why.held = why.held.saturating_sub(1);
        if in_hub && why.held == 0 && !why.queued {
            self.channels.remove(channel);
        }
    }

    /// Nobody is in the hub.
    fn leave(&mut self, channel: &Channel, now: Instant) {
        let queued = std::mem::replace(&mut self.want(channel, now).queued, true);
        if !queued {
            self.left.push_back((channel.clone(), now));
        }
    }

    /// Looks at up to so many that were left; those that the relay needn't
    /// bring any more, and whether there may be others.
    fn forget(
        &mut self,
        most: usize,
        now: Instant,
        in_hub: impl Fn(&Channel) -> bool,
    ) -> (SmallVec<[Channel; LEAVES]>, bool) {
        let (mut gone, mut looked) = (SmallVec::new(), 0);
        while looked < most {
            let many = self.left.len() > MOST;
            if self.left.front().is_none_or(|(_, since)| !many && now - *since < LINGER) {
                break;
            }
            let Some((channel, _)) = self.left.pop_front() else { break };
            looked += 1;
            let Some(why) = self.channels.get_mut(&channel) else { continue };
            why.queued = false;
            if why.held > 0 {
                // Whoever holds it enters the hub, or leaves it anew.
            } else if in_hub(&channel) {
                // Its last subscriber will leave it anew.
                self.channels.remove(&channel);
            } else if many || now - why.wanted >= LINGER {
                self.channels.remove(&channel);
                gone.push(channel);
            } else {
                why.queued = true;
                self.left.push_back((channel, now));
            }
        }
        if self.left.capacity() > 4 * self.left.len().max(256) {
            self.left.shrink_to_fit();
        }
        if self.channels.capacity() > 4 * self.channels.len().max(256) {
            self.channels.shrink_to_fit();
        }
        (gone, looked == most)
    }
}

// === impl Joined ===

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let in_hub = self.shard.hub.borrow().has(&self.channel);
        self.shard.interest.kept.borrow_mut().release(&self.channel, in_hub);
        if !in_hub {
            self.shard.leave(&self.channel);
        }
    }
}

// === impl Joining ===

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        let shard = self.shard;
        if !self.joined {
            shard.shared.fanout.unwant(shard.index, self.channel);
        }
        shard.interest.joining.borrow_mut().remove(self.channel);
        self.notify.notify_waiters();
    }
}

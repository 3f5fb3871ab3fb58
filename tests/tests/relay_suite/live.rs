//! Clients that are there all the time, and what goes wrong around them.

use gateway::relay::FeedItem;
use tests::relay::{Gateway, keep};

use super::*;

/// A client that is subscribed to every channel, at one gateway or, when that
/// dies, at the next.
pub struct Live {
    /// Where it began.
    start: u64,
    /// Up to where it has all.
    place: Position,
    /// Sequence, channel and number of what it got.
    got: Vec<(u64, usize, u64)>,
    /// Up to where it was told that a channel lacks something.
    told: HashMap<usize, u64>,
}

/// The channel of so many publications that none is lost by their number.
const MUCH: usize = 3;

// === impl Live ===

impl Live {
    pub fn new(start: Position) -> Self {
        Self { start: start.sequence, place: start, got: Vec::new(), told: HashMap::new() }
    }

    /// Takes what the gateway has brought.
    fn take(&mut self, gateway: &mut Gateway, publications: &[Known]) {
        for feed in &mut gateway.feeds[1..] {
            while feed.try_recv().is_ok() {}
        }
        // As a shard does: what is not handed on by then is in the queue.
        let reached = gateway.fanout.position();
        while let Ok(item) = gateway.feeds[0].try_recv() {
            match item {
                FeedItem::Publication(publication) => {
                    if let Some(position) = publication.position {
                        self.place = position;
                        self.add(&publication);
                    }
                }
                FeedItem::Lost(lost) => {
                    for lost in &lost.channels {
                        let index = CHANNELS.iter().position(|(name, ..)| *lost == channel(name));
                        let index = index.unwrap();
                        let there = publications.iter().filter(|known| known.channel == index);
                        assert!(there.count() >= CHANNELS[index].1, "{lost} can't be full");
                    }
                    for (index, (name, most, seconds)) in CHANNELS.iter().enumerate() {
                        let history = keep(name, *most, *seconds).history;
                        if lost.hits(&channel(name), history) {
                            self.told.insert(index, self.place.sequence);
                        }
                    }
                }
                FeedItem::Epoch(_) => panic!("the stream is the same"),
                FeedItem::Fenced { .. } => {}
            }
        }
        if reached.sequence > self.place.sequence {
            self.place = reached;
        }
    }

    fn add(&mut self, publication: &gateway::publication::Publication) {
        let named = |(name, ..): &(&str, usize, u64)| publication.channel == channel(name);
        let index = CHANNELS.iter().position(named).unwrap();
        let sequence = publication.position.unwrap().sequence;
        self.got.push((sequence, index, number(publication)));
    }
}

// === impl Model ===

impl Model {
    pub(super) async fn fault(
        &mut self,
        world: &mut World,
        fault: Fault,
    ) -> Result<(), TestCaseError> {
        let Some(faults) = world.faults.clone() else { return Ok(()) };
        match fault {
            Fault::Kill { gateway } => {
                let index = gateway.index(world.gateways.len());
                self.lives[index].take(&mut world.gateways[index], &self.publications);
                world.gateways[index] = faults.kill(index).await;
                self.come_back(world, index).await?;
            }
            Fault::Cut { gateway } => faults.cut(gateway.index(world.gateways.len())),
            Fault::Hole { channel, count, delete } => {
                faults.set_deaf(1, true);
                for _ in 0..count {
                    self.publish(world, channel, None, None, true).await?;
                }
                if delete {
                    self.delete(world, self.publications.len() - count).await;
                }
                faults.set_deaf(1, false);
                // Shows it.
                self.publish(world, MUCH, None, None, true).await?;
            }
            Fault::Stale { on } => faults.set_stale(on),
            Fault::Delete { which } if !self.publications.is_empty() => {
                self.delete(world, which.index(self.publications.len())).await;
            }
            Fault::Delete { .. } => {}
            Fault::Refuse { channel } => faults.refuse(CHANNELS[channel].0).await,
        }
        Ok(())
    }

    async fn delete(&mut self, world: &World, index: usize) {
        let known = &mut self.publications[index];
        known.deleted = true;
        let sequence = known.position.sequence;
        if let Some(faults) = &world.faults {
            faults.delete(sequence).await;
        }
    }

    /// The client of a gateway that died resumes at another one.
    async fn come_back(&mut self, world: &World, index: usize) -> Result<(), TestCaseError> {
        let gateway = &world.gateways[index];
        let (from, until) = (self.lives[index].place, gateway.relay.head());
        prop_assert!(until.sequence >= self.places.last().unwrap().sequence, "began too early");
        let places = (0..CHANNELS.len()).map(|channel| (channel, from)).collect();
        let replayed = replay(gateway, from, &places, until).await;
        self.check(world, from, &places, &replayed)?;
        let live = &mut self.lives[index];
        for publication in &replayed.publications {
            live.add(publication);
        }
        for (index, (name, ..)) in CHANNELS.iter().enumerate() {
            if replayed.lost.contains(&channel(name)) {
                live.told.insert(index, until.sequence);
            }
        }
        live.place = until;
        Ok(())
    }

    /// Every client has got all, each once, in order.
    pub(super) async fn end(&mut self, world: &mut World) -> Result<(), TestCaseError> {
        if world.faults.is_some() {
            // What was lost on its way shows with what comes after it.
            self.publish(world, MUCH, None, None, true).await?;
        }
        world.head_at(*self.places.last().unwrap()).await;
        // From the relay to its queues.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = world.time.now() + world.time.slack();
        for (live, gateway) in self.lives.iter_mut().zip(&mut world.gateways) {
            live.take(gateway, &self.publications);
            prop_assert!(live.got.is_sorted_by(|a, b| a.0 < b.0), "{:?}", live.got);
            let mut got = live.got.iter().peekable();
            for known in self.publications.iter().filter(|k| k.position.sequence > live.start) {
                let sequence = known.position.sequence;
                let arrived = got.next_if(|(s, ..)| *s == sequence);
                if let Some((_, channel, number)) = arrived {
                    prop_assert_eq!((*channel, *number), (known.channel, known.number));
                    continue;
                }
                let told = live.told.get(&known.channel).is_some_and(|until| sequence <= *until);
                let gone = known.deleted || known.expires <= now;
                prop_assert!(told || gone, "{} of {} is missing", known.number, known.channel);
            }
            prop_assert!(got.peek().is_none(), "one too many: {:?}", got.peek());
        }
        Ok(())
    }
}

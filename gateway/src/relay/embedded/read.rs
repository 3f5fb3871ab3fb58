//! Replays and history pages.

use std::sync::Arc;

use super::log::Place;
use super::{EmbeddedRelay, Stream, history_of};
use crate::channel::Channel;
use crate::offset::{Offset, Position};
use crate::publication::Publication;
use crate::relay::{HistoryPage, HistoryQuery, RelayError, Replay, Replayed};

// === impl EmbeddedRelay ===

impl EmbeddedRelay {
    /// The lock is taken anew for each channel, so that a long replay holds
    /// up nobody; `until` makes it one reading all the same.
    pub(super) fn read_replay(&self, request: &Replay) -> Replayed {
        let Replay { from, channels, until, last } = request;
        let mut publications = Vec::new();
        let mut lost = Vec::new();
        let known = last.is_some()
            || self.read(|stream, _, _| {
                stream.knows(*from) && stream.agrees(*from, channels.iter().map(|(c, _)| c))
            });
        if !known {
            lost.extend(channels.iter().map(|(channel, _)| channel.clone()));
            return Replayed { publications, lost };
        }
        for (channel, sequence) in channels {
            let complete = self.read(|stream, rules, now| {
                let Some(history) = history_of(rules, channel) else { return last.is_some() };
                if let Some(count) = *last {
                    if let Some(log) = stream.logs.get(channel, history, now) {
                        let latest = log.between(0, until.sequence, now).rev().take(count);
                        publications.extend(latest.cloned());
                    }
                    return true;
                }
                if *sequence > stream.head.sequence {
                    return false;
                }
                if *sequence >= until.sequence {
                    return true;
                }
                let place = stream.place(*from, *sequence);
                let complete = !stream.logs.lost(channel, place, history, now);
                if complete && let Some(log) = stream.logs.get(channel, history, now) {
                    publications.extend(log.between(*sequence, until.sequence, now).cloned());
                }
                complete
            });
            if !complete {
                lost.push(channel.clone());
            }
        }
        publications.sort_unstable_by_key(sequence_of);
        Replayed { publications, lost }
    }

    /// One page of one channel.
    pub(super) fn read_history(&self, query: &HistoryQuery) -> Result<HistoryPage, RelayError> {
        let HistoryQuery { channel, since, before, limit, newest_first } = query;
        self.read(|stream, rules, now| {
            let history = history_of(rules, channel).ok_or(RelayError::NoHistory)?;
            let mut page = HistoryPage {
                publications: Vec::new(),
                head: stream.head,
                complete: true,
                more: false,
            };
            // The highest sequence that is before `before`.
            let last = match before {
                Some(offset) if stream.places(offset, channel).is_none() => {
                    // Before another life's offset there was that life only.
                    page.complete = false;
                    return Ok(page);
                }
                Some(offset) => offset.sequence_of(channel).saturating_sub(1),
                None => u64::MAX,
            };
            let mut after = 0;
            if let Some(offset) = since {
                let place = stream.places(offset, channel);
                after = place.map_or(0, |place| place.sequence);
                page.complete = place.is_some_and(|place| {
                    place.sequence >= last || !stream.logs.lost(channel, place, history, now)
                });
            }
            if let Some(log) = stream.logs.get(channel, history, now) {
                let all = log.between(after, last, now);
                let take = limit.saturating_add(1);
                page.publications = if *newest_first {
                    all.rev().take(take).cloned().collect()
                } else {
                    all.take(take).cloned().collect()
                };
                page.more = page.publications.len() > *limit;
                page.publications.truncate(*limit);
            }
            Ok(page)
        })
    }
}

// === impl Stream ===

impl Stream {
    /// Whether a position is one of this life: not ahead of the head, and
    /// with the head's time if it is the head.
    fn knows(&self, position: Position) -> bool {
        position.epoch == self.head.epoch
            && position.sequence <= self.head.sequence
            && (position.sequence != self.head.sequence
                || position.sequence == 0
                || position.time == self.head.time)
    }

    /// Whether a position has the time of the publication that it names, as
    /// far as that one is still here in one of these channels.
    fn agrees<'a>(
        &self,
        position: Position,
        mut channels: impl Iterator<Item = &'a Channel>,
    ) -> bool {
        channels.all(|channel| {
            self.logs.time_of(channel, position.sequence).is_none_or(|time| time == position.time)
        })
    }

    /// Where an offset is in a channel; none if it is of another life.
    fn places(&self, offset: &Offset, channel: &Channel) -> Option<Place> {
        let position = offset.position;
        let sequence = offset.sequence_of(channel);
        let known = self.knows(position)
            && sequence <= self.head.sequence
            && self.agrees(position, std::iter::once(channel));
        known.then(|| self.place(position, sequence))
    }

    /// A sequence with what is known of the time when the next one came. A
    /// position's own time is exact, and holds for what is after it as well.
    fn place(&self, position: Position, sequence: u64) -> Place {
        let known = if sequence >= position.sequence { position.time } else { 0 };
        let next = self.times.at_or_before(sequence.saturating_add(1));
        Place { sequence, next: next.max(known) }
    }
}

fn sequence_of(publication: &Arc<Publication>) -> u64 {
    publication.position.map_or(0, |position| position.sequence)
}

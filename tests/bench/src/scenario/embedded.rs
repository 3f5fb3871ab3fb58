//! The gateway alone, with its embedded relay: what sessions, subscribers and
//! channels cost.

use std::time::Duration;

use super::fanout::{TOGETHER, in_channel};
use super::{Effort, Figures, Variants, Watch, figures};
use crate::contender::Contender;
use crate::dialect::Plan;
use crate::load::Load;
use crate::server::Server;

/// Channels of which a name begins with `kept.` have history.
pub(super) const HISTORY: &str =
    "channels: [{match: 'kept.>', history: {maxMessages: 10000, maxAge: 1h}}]";

/// The same publications on a channel without history, with it to sessions
/// that cannot be recovered, and with it to sessions that can.
pub(super) fn recoverable(contender: &Contender, effort: &Effort) -> anyhow::Result<Variants> {
    const PACE: Duration = Duration::from_millis(20);
    let mut variants = Variants::new();
    for (name, channel, query) in [
        ("no history", "plain.a", "&recovery=0"),
        ("history, recovery=0", "kept.a", "&recovery=0"),
        ("history, recoverable", "kept.a", ""),
    ] {
        let server = contender.start(HISTORY)?;
        let mut load = contender.load(&server)?;
        let plan = |_| Plan { query, ..in_channel(channel.to_owned()) };
        load.connect(effort.clients, TOGETHER, plan)?;
        load.publishers(8)?;
        let clients = effort.clients as u64;
        load.paced(20, PACE, |_| channel.to_owned(), clients)?;
        let watch = Watch::start(&server, &mut load)?;
        load.paced(effort.paced, PACE, |_| channel.to_owned(), clients)?;
        variants.push((name.to_owned(), watch.stop(&server, &load)?));
    }
    Ok(variants)
}

/// One publication after the other to more and more subscribers. What a
/// publish costs that nobody gets is taken off first.
pub(super) fn subscribers(contender: &Contender, effort: &Effort) -> anyhow::Result<Variants> {
    let mut variants = Variants::new();
    let mut empty = None;
    for count in [0, 1, 10, 100, 1_000, effort.idle] {
        let server = contender.start("{}")?;
        let mut load = contender.load(&server)?;
        load.connect(count, TOGETHER, |_| in_channel("all".to_owned()))?;
        load.publishers(1)?;
        // Enough of each for a clock that ticks in 10 ms.
        let publishes = (300_000 / count.max(1)).min(10_000) as u64;
        let each = |_| "all".to_owned();
        one_by_one(&mut load, publishes / 10, each, count as u64)?;
        let (publish, found) = cost(&server, &mut load, publishes, each, count as u64)?;
        let nobody = *empty.get_or_insert(publish);
        #[allow(clippy::cast_precision_loss)] // a count of clients
        let delivery = (publish - nobody) / count.max(1) as f64;
        let mut figures = figures([("publish_us", publish), ("delivery_us", delivery)]);
        figures.extend(found.into_iter().filter(|(name, _)| name == "lost"));
        variants.push((count.to_string(), figures));
    }
    Ok(variants)
}

/// 100,000 channels: memory of a subscription, and whether a delivery costs
/// more than with one channel.
#[allow(clippy::cast_precision_loss)] // counts of subscriptions
pub(super) fn channels(contender: &Contender, effort: &Effort) -> anyhow::Result<Variants> {
    const EACH: usize = 100;
    const PUBLISHES: u64 = 5_000;
    let name = |number: usize| format!("many.{number}");
    let mut variants = Variants::new();
    let mut before = 0;
    for each in [0, EACH] {
        let server = contender.start("{}")?;
        let mut load = contender.load(&server)?;
        load.connect(effort.clients, TOGETHER, |client| Plan {
            channels: (0..each).map(|index| name(client * each + index)).collect(),
            ..Plan::default()
        })?;
        load.rest(Duration::from_secs(2))?;
        let memory = server.resident_kib()?;
        if each == 0 {
            before = memory;
            continue;
        }
        let all = effort.clients * each;
        let bytes = memory.saturating_sub(before) as f64 * 1024.0 / all as f64;
        load.publishers(1)?;
        let (one, _) = cost(&server, &mut load, PUBLISHES, |_| name(7), 1)?;
        let spread = |number: u64| {
            // A step that meets each channel once.
            name(usize::try_from(number).unwrap_or_default() * 7919 % all)
        };
        let (many, _) = cost(&server, &mut load, PUBLISHES, spread, 1)?;
        variants.push((
            String::new(),
            figures([
                ("bytes_per_subscription", bytes),
                ("one_channel_us", one),
                ("all_channels_us", many),
            ]),
        ));
    }
    Ok(variants)
}

/// CPU of a publish with all its deliveries.
fn cost(
    server: &Server,
    load: &mut Load,
    publishes: u64,
    channel: impl Fn(u64) -> String,
    subscribers: u64,
) -> anyhow::Result<(f64, Figures)> {
    let watch = Watch::start(server, load)?;
    one_by_one(load, publishes, channel, subscribers)?;
    Ok(((server.cpu()? - watch.cpu).per(publishes), watch.stop(server, load)?))
}

/// Each when the one before was delivered, so that no two share a write.
fn one_by_one(
    load: &mut Load,
    publishes: u64,
    channel: impl Fn(u64) -> String,
    subscribers: u64,
) -> anyhow::Result<()> {
    for number in 0..publishes {
        load.publish(&channel(number))?;
        load.settle(load.tally.delivered + subscribers)?;
    }
    Ok(())
}

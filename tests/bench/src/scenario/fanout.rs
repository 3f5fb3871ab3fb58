//! Publications to many clients.

use std::time::Duration;

use super::{Effort, Figures, Variants, Watch, delays};
use crate::contender::Contender;
use crate::dialect::{Dialect, Plan};
use crate::load::Load;
use crate::server::Server;

/// Clients that connect at once.
pub(super) const TOGETHER: usize = 64;
/// Publishes under way at once, in a broadcast.
const IN_FLIGHT: usize = 8;
const ROOMS: usize = 100;
/// 20 a second.
const PACE: Duration = Duration::from_millis(50);
const ALL: &str = "all";

/// All clients in one channel, as fast as answers come; with a window, as fast
/// as clients get what is under way.
pub(super) fn broadcast(
    contender: &Contender,
    effort: &Effort,
    windowed: bool,
) -> anyhow::Result<Figures> {
    let server = contender.start("{}")?;
    let load = contender.load(&server)?;
    flooded(&server, load, effort, windowed.then_some(IN_FLIGHT as u64))
}

/// The broadcast and the paced work over each of the gateway's transports.
pub(super) fn transports(contender: &Contender, effort: &Effort) -> anyhow::Result<Variants> {
    let mut variants = Variants::new();
    for (name, dialect) in [
        ("Socket.IO", Dialect::SocketIo { join: "push:subscribe" }),
        ("/ws", Dialect::Plain),
        ("/sse", Dialect::Sse),
    ] {
        let server = contender.start("{}")?;
        let load = contender.speak(dialect, &server)?;
        let mut figures = steady(&server, load, effort)?;
        let server = contender.start("{}")?;
        let load = contender.speak(dialect, &server)?;
        let flooded = flooded(&server, load, effort, Some(IN_FLIGHT as u64))?;
        for (figure, value) in flooded {
            figures.insert(format!("windowed_{figure}"), value);
        }
        figures.retain(|name, _| !name.contains("generator") && name != "deliveries_per_s");
        variants.push((name.to_owned(), figures));
    }
    Ok(variants)
}

fn flooded(
    server: &Server,
    mut load: Load,
    effort: &Effort,
    window: Option<u64>,
) -> anyhow::Result<Figures> {
    load.connect(effort.clients, TOGETHER, |_| in_channel(ALL.to_owned()))?;
    load.publishers(IN_FLIGHT)?;
    let clients = effort.clients as u64;
    load.flood(effort.warm, |_| ALL.to_owned(), clients, window)?;
    let watch = Watch::start(server, &mut load)?;
    load.flood(effort.flood, |_| ALL.to_owned(), clients, window)?;
    watch.stop(server, &load)
}

/// The clients in 100 channels, one publisher over one connection.
pub(super) fn rooms(contender: &Contender, effort: &Effort) -> anyhow::Result<Figures> {
    let server = contender.start("{}")?;
    let mut load = contender.load(&server)?;
    load.connect(effort.clients, TOGETHER, |number| in_channel(room(number)))?;
    load.publishers(1)?;
    let each = (effort.clients / ROOMS) as u64;
    let next = |number: u64| room(usize::try_from(number).unwrap_or_default());
    load.flood(effort.warm, next, each, None)?;
    let watch = Watch::start(&server, &mut load)?;
    load.flood(effort.flood, next, each, None)?;
    watch.stop(&server, &load)
}

/// All clients in one channel, 20 publications a second.
pub(super) fn paced(contender: &Contender, effort: &Effort) -> anyhow::Result<Figures> {
    let server = contender.start("{}")?;
    let load = contender.load(&server)?;
    steady(&server, load, effort)
}

fn steady(server: &Server, mut load: Load, effort: &Effort) -> anyhow::Result<Figures> {
    load.connect(effort.clients, TOGETHER, |_| in_channel(ALL.to_owned()))?;
    // The next is published even where the last is not answered yet.
    load.publishers(IN_FLIGHT)?;
    let clients = effort.clients as u64;
    load.paced(20, PACE, |_| ALL.to_owned(), clients)?;
    load.tally.delays.noted = true;
    let watch = Watch::start(server, &mut load)?;
    load.paced(effort.paced, PACE, |_| ALL.to_owned(), clients)?;
    let mut figures = watch.stop(server, &load)?;
    figures.extend(delays(&mut load));
    Ok(figures)
}

/// One publish after the other to one subscriber: how long until it has it.
pub(super) fn publish(contender: &Contender, effort: &Effort) -> anyhow::Result<Figures> {
    const COUNT: u64 = 2_000;
    let server = contender.start("{}")?;
    let mut load = contender.load(&server)?;
    load.connect(1, 1, |_| in_channel(ALL.to_owned()))?;
    load.publishers(1)?;
    load.flood(effort.warm, |_| ALL.to_owned(), 1, None)?;
    load.tally.delays.noted = true;
    let watch = Watch::start(&server, &mut load)?;
    for _ in 0..COUNT {
        load.publish(ALL)?;
        let expected = load.tally.delivered + 1;
        load.settle(expected)?;
    }
    let mut figures = watch.stop(&server, &load)?;
    figures.extend(delays(&mut load));
    Ok(figures)
}

/// A client of one channel.
pub(super) fn in_channel(channel: String) -> Plan {
    Plan { channels: vec![channel], ..Plan::default() }
}

fn room(number: usize) -> String {
    format!("room.{}", number % ROOMS)
}

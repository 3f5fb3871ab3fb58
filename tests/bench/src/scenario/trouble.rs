//! Clients that do others no good: stalled ones, and many that come back at
//! once.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::embedded::HISTORY;
use super::fanout::{TOGETHER, in_channel};
use super::{Effort, Figures, Variants, Watch, delays, figures};
use crate::contender::Contender;
use crate::dialect::{MARK, Plan};
use crate::load::{DATA, Load};

const PACE: Duration = Duration::from_millis(50);
/// Channels with history of those who come back.
const CHANNELS: usize = 100;

/// The paced work with none, one and 100 of the clients stalled: the others'
/// delays. What a stalled client's kernel takes is filled first, so that the
/// gateway has to keep what comes after.
pub(super) fn stalled(contender: &Contender, effort: &Effort) -> anyhow::Result<Variants> {
    const FILL: usize = 64 << 10;
    const FILLS: u64 = 24;
    let mut variants = Variants::new();
    for count in [0, 1, 100] {
        let server = contender.start("{}")?;
        let mut load = contender.load(&server)?;
        load.connect(count, TOGETHER, |_| Plan {
            channels: vec!["all".to_owned(), "fill".to_owned()],
            stalls: true,
            ..Plan::default()
        })?;
        let others = effort.clients - count;
        load.connect(others, TOGETHER, |_| in_channel("all".to_owned()))?;
        load.publishers(8)?;
        let fill = "f".repeat(FILL);
        for _ in 0..FILLS {
            let request = load.api().request("fill", &fill);
            load.send(&request, 1)?;
            load.settle(load.tally.delivered)?;
        }
        load.paced(20, PACE, |_| "all".to_owned(), others as u64)?;
        load.tally.delays.noted = true;
        let watch = Watch::start(&server, &mut load)?;
        load.paced(effort.paced / 2, PACE, |_| "all".to_owned(), others as u64)?;
        let mut figures = watch.stop(&server, &load)?;
        figures.extend(delays(&mut load));
        variants.push((count.to_string(), figures));
    }
    Ok(variants)
}

/// 5,000 recoverable clients come back within a second, while 1,000 others get
/// 20 publications a second each.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn burst(contender: &Contender, effort: &Effort) -> anyhow::Result<Figures> {
    const RETURN: usize = 5_000;
    const WITHIN: Duration = Duration::from_secs(1);
    const WATCHED: Duration = Duration::from_secs(10);
    let server = contender.start(HISTORY)?;
    let mut load = contender.load(&server)?;
    load.connect(effort.clients, TOGETHER, |_| in_channel("all".to_owned()))?;
    load.connect(RETURN, TOGETHER, |number| Plan {
        notes: true,
        ..in_channel(format!("kept.{}", number % CHANNELS))
    })?;
    load.publishers(8)?;
    // Everybody learns an offset, goes, and misses something.
    each_channel(&mut load, RETURN as u64)?;
    let sessions = load.cut(effort.clients..effort.clients + RETURN);
    ensure!(
        sessions.len() == RETURN && sessions.iter().all(|session| !session.pid.is_empty()),
        "not all have a session to come back to"
    );
    load.rest(Duration::from_secs(1))?;
    each_channel(&mut load, 0)?;
    let mut sessions = sessions.into_iter();
    let before = load.tally.delivered;
    load.tally.delays.noted = true;
    let watch = Watch::start(&server, &mut load)?;
    let ready = load.tally.ready;
    let (mut opened, mut published, mut back) = (0, 0_u64, None);
    let begin = Instant::now();
    // A second before, so that a delay that is there anyway is seen.
    while begin.elapsed() < WATCHED {
        let since = begin.elapsed().saturating_sub(Duration::from_secs(1));
        let due = (since.as_secs_f64() / WITHIN.as_secs_f64() * RETURN as f64) as usize;
        while opened < due.min(RETURN) {
            load.open(Plan { resume: sessions.next(), ..Plan::default() })?;
            opened += 1;
        }
        if begin.elapsed() >= PACE * published as u32 && load.publish("all")? {
            published += 1;
        }
        load.turn(Some(Duration::from_millis(1)))?;
        if back.is_none() && load.tally.ready == ready + RETURN {
            back = Some(begin.elapsed().saturating_sub(Duration::from_secs(1)));
        }
    }
    // Each comes back to one publication that it missed.
    load.settle(before + published * effort.clients as u64 + RETURN as u64)?;
    let mut found = delays(&mut load);
    found.extend(watch.stop(&server, &load)?);
    found.extend(figures([
        ("back_after_ms", back.map_or(f64::NAN, |back| back.as_secs_f64() * 1e3)),
        ("not_recovered", (RETURN - load.tally.recovered.min(RETURN)) as f64),
        ("refused", (RETURN - (load.tally.ready - ready).min(RETURN)) as f64),
    ]));
    found.remove("cpu_us");
    Ok(found)
}

/// One publication to each channel with history, whose time is not noted.
fn each_channel(load: &mut Load, subscribers: u64) -> anyhow::Result<()> {
    let unstamped = format!("{}{}", char::from(MARK), "0".repeat(DATA - 1));
    let expected = load.tally.delivered + subscribers;
    for channel in 0..CHANNELS {
        let request = load.api().request(&format!("kept.{channel}"), &unstamped);
        load.send(&request, 1)?;
        load.settle(load.tally.delivered)?;
    }
    load.settle(expected)
}

//! Rows, and the runner that counts each as a test.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures_util::{FutureExt as _, StreamExt as _};

use crate::world::{Seen, World};

/// Rows that are tried at once.
const AT_ONCE: usize = 8;
/// Memory that a group may cost in all, in KiB: what the allocator keeps, and
/// no more. The rows of a group send several times as much.
const GROWTH: u64 = 48 << 10;

/// Rows that share a gateway.
pub struct Group {
    pub name: &'static str,
    /// The gateway's configuration.
    pub config: String,
    pub rows: Vec<Row>,
}

/// One case.
pub struct Row {
    pub name: String,
    pub attack: Attack,
    pub answer: Answer,
}

/// What is sent.
#[derive(Clone)]
pub enum Attack {
    /// Bytes to a new connection to the client listener.
    Client(Vec<u8>),
    /// The same from an address of this network of the machine's own
    /// (`127.1`), which no other row has; `%A`, `%B` and `%C` in the bytes
    /// become such addresses of clients, `%V` the first half of an IPv6 one.
    From(&'static str, Vec<u8>),
    /// The same to the API's.
    Api(Vec<u8>),
    /// The same to the admin listener.
    Admin(Vec<u8>),
    /// A WebSocket to a path: text messages, then these bytes as they are.
    Socket { path: String, texts: Vec<String>, bytes: Vec<u8> },
    /// A polling session: posts, each a body, then one poll.
    Polling { query: String, posts: Vec<Vec<u8>> },
    /// A request to the peer listener of another gateway, stamped so.
    Peer(crate::peers::Stamped),
}

/// What must come back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// One of these HTTP statuses; 0: the connection just ends.
    Status(&'static [u16]),
    /// One answer with this status, and the connection ends: what stands
    /// behind the request is not read as another.
    Last(u16),
    /// A status, and these words in the answer.
    Says(u16, &'static str),
    /// These words, wherever they stand.
    Words(&'static str),
    /// So many requests are served, each with 200.
    Served(usize),
    /// The connection ends without an answer.
    Cut,
    /// A WebSocket is closed with one of these codes; 1006: without one.
    Closed(&'static [u16]),
    /// A WebSocket stays, and answers a ping.
    Lives,
    /// Nothing comes, and the connection stays: the message isn't complete.
    Waits,
}

/// A row.
pub fn row(name: impl Into<String>, attack: Attack, answer: Answer) -> Row {
    Row { name: name.into(), attack, answer }
}

// === impl Answer ===

impl Answer {
    /// Whether this is it.
    pub fn fits(&self, seen: &Seen) -> bool {
        match self {
            Self::Status(wanted) => wanted.contains(&seen.status),
            Self::Last(status) => {
                let answers = seen.text.matches("HTTP/1.1 ").count();
                seen.ended && seen.status == *status && answers == 1
            }
            Self::Says(status, words) => seen.status == *status && seen.text.contains(words),
            Self::Words(words) => seen.text.contains(words),
            Self::Served(count) => seen.text.matches("HTTP/1.1 200").count() == *count,
            Self::Cut => seen.ended && seen.text.is_empty(),
            Self::Closed(wanted) => seen.ended && wanted.contains(&seen.close.unwrap_or(1006)),
            Self::Lives => seen.pong && !seen.ended,
            Self::Waits => !seen.ended && !seen.pong,
        }
    }
}

/// Runs them as `cargo test` expects it: arguments are parts of names.
pub fn run(groups: Vec<Group>) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let names =
        |group: &Group| -> Vec<String> { group.rows.iter().map(|row| full(group, row)).collect() };
    if words.iter().any(|word| word == "--list") {
        groups.iter().flat_map(names).for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = words.into_iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(&**f));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (mut passed, mut failures) = (0, Vec::new());
    for mut group in groups {
        let name = group.name;
        group.rows.retain(|row| chosen(&format!("{name}: {}", row.name)));
        if group.rows.is_empty() {
            continue;
        }
        println!("\nrunning {} tests", group.rows.len() + 1);
        for (name, wrong) in runtime.block_on(tried(group)) {
            println!("test {name} ... {}", if wrong.is_some() { "FAILED" } else { "ok" });
            match wrong {
                None => passed += 1,
                Some(wrong) => failures.push(format!("---- {name}\n{wrong}\n")),
            }
        }
    }
    for failure in &failures {
        println!("\n{failure}");
    }
    let result = if failures.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {} failed; 0 ignored\n", failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn full(group: &Group, row: &Row) -> String {
    format!("{}: {}", group.name, row.name)
}

/// Each case, and what was wrong; the last is the gateway after all of them.
async fn tried(group: Group) -> Vec<(String, Option<String>)> {
    let mut world = World::begin(&group.config, group.name == "peers").await;
    // Once for what is made at first use.
    for row in group.rows.iter().take(8) {
        let _ = AssertUnwindSafe(world.attacked(&row.attack, &row.answer)).catch_unwind().await;
    }
    let before = world.gateway.resident_kib();
    let tries = group.rows.iter().map(|row| {
        let (world, name) = (&world, full(&group, row));
        async move {
            let seen =
                AssertUnwindSafe(world.attacked(&row.attack, &row.answer)).catch_unwind().await;
            let wrong = match seen {
                Err(_) => Some("the harness failed; see above".to_owned()),
                Ok(seen) if World::is_leaked(&seen) => {
                    Some(format!("another user's data came: {seen:?}"))
                }
                Ok(seen) if !row.answer.fits(&seen) => {
                    Some(format!("wanted {:?}, got {seen:?}", row.answer))
                }
                Ok(_) => None,
            };
            (name, wrong)
        }
    });
    let mut results: Vec<_> = futures_util::stream::iter(tries).buffered(AT_ONCE).collect().await;
    let after = AssertUnwindSafe(world.is_well()).catch_unwind().await;
    let grown = world.gateway.resident_kib().saturating_sub(before);
    let wrong = match after {
        Err(_) => Some("another user noticed; see above".to_owned()),
        Ok(()) if grown > GROWTH => Some(format!("{grown} KiB more")),
        Ok(()) => None,
    };
    results.push((format!("{}: the others noticed nothing", group.name), wrong));
    results
}

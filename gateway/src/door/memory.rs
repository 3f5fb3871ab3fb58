//! What the process uses of the machine's memory, and what it may: before the
//! kernel kills it, with all who are connected, it takes nobody new.

use std::sync::Arc;
use std::time::Duration;

use gateway_config::Limits;

use super::Door;

/// Time between two looks. Connections that come meanwhile at the default
/// pace take some 100 MB at most.
const EVERY: Duration = Duration::from_millis(500);
/// Of a container's limit, what is used at most where nothing else is set:
/// the rest is for those who are connected already.
const PART: (u64, u64) = (9, 10);
/// Below this part of the mark, new ones come in again.
const CALM: (u64, u64) = (19, 20);

/// Where a container's limit stands, in either version of cgroups.
const LIMITS: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// More than any machine has: no limit, in version 1.
const NONE: u64 = 1 << 50;

/// Looks after the memory until it is dropped.
pub async fn watch(door: &Arc<Door>) {
    let container = container_limit().await;
    let mut short = false;
    loop {
        let mark = mark(&door.limits.load(), container);
        let used = used().await;
        if let Some(used) = used {
            door.metrics.memory.set(i64::try_from(used).unwrap_or(i64::MAX));
        }
        if let (Some(mark), Some(used)) = (mark, used) {
            let now_short = if short { used >= mark / CALM.1 * CALM.0 } else { used >= mark };
            if now_short != short {
                short = now_short;
                door.set_short(short);
                say(short, used, mark);
            }
        } else if short {
            short = false;
            door.set_short(false);
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn say(short: bool, used: u64, mark: u64) {
    if short {
        tracing::warn!(
            used,
            mark,
            "memory is short: no new client is taken; raise the container's limit or `limits.memory`, or run more gateways"
        );
    } else {
        tracing::info!(used, mark, "there is memory again: new clients are taken");
    }
}

/// From how many bytes on nobody new comes in.
fn mark(limits: &Limits, container: Option<u64>) -> Option<u64> {
    match limits.memory {
        0 => container.map(|limit| limit / PART.1 * PART.0),
        set => u64::try_from(set).ok(),
    }
}

/// What the kernel allows this process's container.
async fn container_limit() -> Option<u64> {
    for path in LIMITS {
        // `max`, or no such file: there is none.
        let limit = tokio::fs::read_to_string(path).await.ok();
        let limit = limit.and_then(|text| text.trim().parse().ok());
        if let Some(limit) = limit.filter(|limit| *limit < NONE) {
            return Some(limit);
        }
    }
    None
}

/// Resident bytes of this process.
async fn used() -> Option<u64> {
    let status = tokio::fs::read_to_string("/proc/self/status").await.ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

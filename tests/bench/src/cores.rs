//! Who runs on which core, so that nobody is in another's way.

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Who runs where; none: wherever the system likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cores {
    /// The server's core.
    pub server: Option<usize>,
    /// All others'.
    pub others: Option<usize>,
}

// === impl Cores ===

impl Cores {
    /// The first and the last that this process may use; none where it has
    /// only one.
    ///
    /// # Errors
    ///
    /// When the system doesn't say.
    pub fn here() -> anyhow::Result<Self> {
        let set = sched_getaffinity(None).context("sched_getaffinity")?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
        match *cores {
            [first, .., last] => Ok(Self { server: Some(first), others: Some(last) }),
            _ => Ok(Self::default()),
        }
    }
}

/// This thread, and those that it starts, run on this core alone.
///
/// # Errors
///
/// When the system refuses.
pub fn pin(core: Option<usize>) -> anyhow::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).context("sched_setaffinity")
}

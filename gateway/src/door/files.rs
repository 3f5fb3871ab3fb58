//! How many files the process may open: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that aren't clients' connections: the API's and the other listeners'
/// connections, the relay's, logs, certificates.
const RESERVE: usize = 2_100;

/// Raises the limit as far as the process may by itself, and says for how
/// many connections that is enough; warns where it is less than `wanted`.
pub fn room(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let Some(files) = files else { return usize::MAX };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let room = files.saturating_sub(RESERVE.min(files / 4)).max(1);
    if room < wanted {
        tracing::warn!(
            files,
            "the process may open {files} files, so it takes {room} connections and not the {wanted} of `limits.connections`; raise the limit (`ulimit -n`, systemd's LimitNOFILE)"
        );
    }
    room
}

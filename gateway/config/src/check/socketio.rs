//! The Socket.IO section.

use super::Findings;
use crate::{Recovery, Socketio};

/// Browsers' timers fire at once when they are set further ahead (HTML
/// standard, timers: a signed 32-bit number of milliseconds). The client
/// sets one to `pingInterval` + `pingTimeout`.
const LONGEST_TIMER_MS: u64 = i32::MAX as u64;

pub(super) fn check(socketio: &Socketio, findings: &mut Findings) {
    let path = &socketio.path;
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#%\"<>\\".contains(&b);
    if !path.starts_with('/') || !path.ends_with('/') || !path.bytes().all(plain) {
        findings.add("socketio.path", "begins and ends with `/`, as in `/socket.io/`");
    } else if path == "/" || path == "/ws/" || path == "/sse/" {
        findings.add(
            "socketio.path",
            "would stand in the way of `/ws` and `/sse`; take another, as in `/socket.io/`",
        );
    }
    for (name, period) in [
        ("pingInterval", socketio.ping_interval),
        ("pingTimeout", socketio.ping_timeout),
        ("upgradeTimeout", socketio.upgrade_timeout),
        ("connectTimeout", socketio.connect_timeout),
    ] {
        findings.longer_than_nothing(&format!("socketio.{name}"), period);
    }
    if let Recovery::On { max_disconnection } = socketio.recovery
        && max_disconnection.get().is_zero()
    {
        findings.add(
            "socketio.recovery.maxDisconnection",
            "takes a time longer than 0, as in 2m; `recovery: off` turns recovery off",
        );
    }
    let silence =
        socketio.ping_interval.as_millis().saturating_add(socketio.ping_timeout.as_millis());
    if silence > LONGEST_TIMER_MS {
        findings.add(
            "socketio.pingInterval",
            "is more than 24 days together with `pingTimeout`, which clients' timers can't hold; take 25s",
        );
    }
    namespaces(&socketio.namespaces, findings);
}

fn namespaces(namespaces: &[String], findings: &mut Findings) {
    if namespaces.is_empty() {
        findings.add("socketio.namespaces", "is empty, so nobody could connect; list `/`");
    }
    for (index, namespace) in namespaces.iter().enumerate() {
        let path = format!("socketio.namespaces[{index}]");
        // A comma ends the namespace in a packet, `?` begins its query.
        if !namespace.starts_with('/') {
            findings.add(path, format!("begins with `/`, as in `/{}`", namespace.escape_debug()));
        } else if namespace.contains([',', '?']) || namespace.chars().any(char::is_control) {
            findings.add(path, "has no `,`, no `?` and no control characters, as in `/admin`");
        } else if namespace[1..].starts_with('/') {
            // `//a`'s rooms would be `/a`'s.
            findings.add(path, "has one `/` at its start, as in `/admin`");
        } else if namespaces[..index].contains(namespace) {
            findings.add(path, format!("`{namespace}` is listed twice; remove one"));
        }
    }
}

//! `socketio`.

#[rustfmt::skip]
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "socketio: {pingInterval: 25}",
        "push.yaml:1:26: socketio.pingInterval: `25` is not a length of time; write a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "socketio: {pingInterval: 0s}",
        "push.yaml:1:26: socketio.pingInterval: takes a time longer than 0, as in 10s",
    ),
    (
        "socketio: {pingInterval: 30d}",
        "push.yaml:1:26: socketio.pingInterval: is more than 24 days together with `pingTimeout`, which clients' timers can't hold; take 25s",
    ),
    (
        "socketio: {pingInterval: fast}",
        "push.yaml:1:26: socketio.pingInterval: `fast` is not a length of time; write a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "socketio: {path: socket.io}",
        "push.yaml:1:18: socketio.path: begins and ends with `/`, as in `/socket.io/`",
    ),
    (
        "socketio: {path: /ws/}",
        "push.yaml:1:18: socketio.path: would stand in the way of `/ws` and `/sse`; take another, as in `/socket.io/`",
    ),
    (
        "socketio: {namespaces: [admin, '/a,b', /x, /x]}",
        "push.yaml:1:25: socketio.namespaces[0]: begins with `/`, as in `/admin`
push.yaml:1:32: socketio.namespaces[1]: has no `,`, no `?` and no control characters, as in `/admin`
push.yaml:1:44: socketio.namespaces[3]: `/x` is listed twice; remove one",
    ),
    (
        "socketio: {namespaces: []}",
        "push.yaml:1:12: socketio.namespaces: is empty, so nobody could connect; list `/`",
    ),
    (
        "socketio: {recovery: never}",
        "push.yaml:1:22: socketio.recovery: takes `off` or `on` or `{maxDisconnection: …}`, not `never`",
    ),
    (
        "socketio: {recovery: {maxDisconnect: 1m}}",
        "push.yaml:1:23: socketio.recovery.maxDisconnect: unknown key; did you mean `maxDisconnection`?
push.yaml:1:22: socketio.recovery.maxDisconnection: is missing; it takes a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "socketio: {recovery: {maxDisconnection: 0s}}",
        "push.yaml:1:41: socketio.recovery.maxDisconnection: takes a time longer than 0, as in 2m; `recovery: off` turns recovery off",
    ),
    (
        "socketio: {recovery: [off]}",
        "push.yaml:1:22: socketio.recovery: takes `off` or `on` or `{maxDisconnection: …}`",
    ),
    (
        "socketio: {maxPayload: 0}",
        "push.yaml:1:24: socketio.maxPayload: takes a whole number from 1 on, not `0`",
    ),
];

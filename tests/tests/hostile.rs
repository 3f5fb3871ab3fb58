//! Short forms of what `cargo run --release -p tests --bin hostile` and
//! `--bin churn` measure: the attackers do their part, are cut off, and nobody
//! else notices. How late and how much is not looked at here.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
// The good clients are a thread of their own.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use tests::Gateway;
use tests::churn::Churn;
use tests::hostile::attackers::{Attackers, Forces};
use tests::hostile::good::{Audience, Good};
use tests::hostile::{addresses, config};

/// Limits that are met within seconds.
const SOON: &str = "limits: {headerTimeout: 1s, bodyTimeout: 1s, outboxBytes: 100000}\n\
                    socketio: {pingInterval: 2s, pingTimeout: 2s, connectTimeout: 2s}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_clients_lose_nothing_while_others_attack() {
    let gateway = Gateway::start(&config(SOON));
    let (client, api) = addresses(&gateway).unwrap();
    let audience = Audience { clients: 40, channels: 10, per_second: 50 };
    let (connected, are_connected) = tokio::sync::oneshot::channel();
    let good = tokio::task::spawn_blocking(move || {
        let mut good = Good::connect(client, api, audience)?;
        let _ = connected.send(());
        good.measure(Duration::from_secs(8))
    });
    are_connected.await.expect("the good clients connect");
    let attackers = Attackers::start(client, Forces { slow: 12, deaf: 9, flood: 12, bad: 50 });
    let figures = good.await.unwrap().unwrap();
    let attacks = attackers.stop().await;
    println!("{figures:?}\n{attacks:#?}");
    assert_eq!((figures.lost(), figures.closed), (0, 0), "{figures:?}");
    assert_eq!(figures.due, 50 * 4 * 8);
    for what in [
        "slow, cut off",
        "deaf, cut off",
        "flood, cut off",
        "flood, messages",
        "bad, answered 400",
        "bad, answered 401",
        "bad, answered 403",
        "bad, answered 431",
    ] {
        assert!(attacks.get(what).is_some_and(|count| *count > 0), "{what}: {attacks:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_those_who_came_and_went() {
    let churn = Churn {
        visitors: 10,
        forces: Forces { slow: 8, deaf: 6, flood: 6, bad: 20 },
        warm: Duration::from_secs(2),
        time: Duration::from_secs(5),
        calm: Duration::from_secs(1),
        every: Duration::from_secs(1),
        socketio: "pingInterval: 1s, pingTimeout: 2s, connectTimeout: 3s",
        config: String::new(),
    };
    // It ends when no connection and no subscription is left.
    let report = churn.run().await.unwrap();
    println!("{report}");
    assert!(report.reasons().is_empty(), "{:?}", report.reasons());
    assert!(report.visits > 10, "{report}");
}

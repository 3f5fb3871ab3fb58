//! Clients that come back while publications come: nothing reaches them before
//! the answer to their CONNECT. The official client keeps an event that comes
//! before it, and hands it out again after its next recovery.

use std::time::Duration;

use tests::socketio::{Socket, Transport};
use tokio::task::JoinHandle;

use super::*;

/// Clients that come back.
const CLIENTS: u8 = 24;
/// More than a gateway that starts reads of what was before it.
const MUCH: u32 = 5_000;
/// A client that is subscribed, and then away: what it would come back with.
async fn away(gateway: &Gateway, transport: Transport) -> Value {
    let mut socket = Socket::connect(gateway, transport).await;
    socket.subscribe("short").await;
    socket.subscribe("kept.busy").await;
    let credentials = json!({"pid": socket.pid()});
    socket.close_engine().await;
    credentials
}

/// Publishes all the time.
fn busy(app: async_nats::Client) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            for _ in 0..5 {
                app.publish("push.pub.kept.busy", "\"busy\"".into()).await.unwrap();
            }
            app.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

/// Comes back, and the first that it gets.
async fn first(gateway: &Gateway, transport: Transport, credentials: &Value) -> String {
    let connect = format!("40{credentials}");
    match transport {
        Transport::Polling => {
            let session = Polling::open(gateway).await;
            assert_eq!(session.post(connect).await.text(), "ok");
            session.packets().await.remove(0)
        }
        Transport::WebSocket => {
            let mut socket = tests::engineio::open(gateway).await;
            socket.send(&connect).await;
            socket.text().await
        }
    }
}

/// Whether their sessions can be restored the gateway learns from NATS, and
/// meanwhile their other subscription is in force.
#[tokio::test]
async fn who_cannot_be_restored_gets_nothing_before_the_answer() {
    let nats = Nats::single();
    let config = format!(
        "peer: {{secret: {SECRET}}}\nrelay: {{url: '{}'}}\nchannels:\n\
         - {{match: short, history: {{maxMessages: 2, maxAge: 1h}}}}\n\
         - {{match: 'kept.>', history: {{maxMessages: 1000, maxAge: 1h}}}}\n",
        nats.url()
    );
    let before = Gateway::start(&config);
    before.ready().await;
    let mut all = Vec::new();
    for number in 0..CLIENTS {
        let transport = Transport::ALL[usize::from(number % 2)];
        all.push((transport, away(&before, transport).await));
    }
    for number in 0..5 {
        say(&before, "short", number).await;
    }
    let app = async_nats::connect(nats.url()).await.unwrap();
    for _ in 0..MUCH {
        app.publish("push.pub.kept.else", "1".into()).await.unwrap();
    }
    app.flush().await.unwrap();
    say(&before, "kept.else", 1).await;
    // It does not remember what was before all that, and has to ask.
    let gateway = Gateway::start(&config);
    gateway.ready().await;
    let busy = busy(app);
    let mut early = Vec::new();
    for (transport, credentials) in all {
        let first = first(&gateway, transport, &credentials).await;
        if !first.starts_with("40{") {
            early.push((transport, first));
        }
    }
    busy.abort();
    let lost = metric(&gateway, "push_recoveries_total{outcome=\"lost\"}").await;
    assert_eq!(lost, Some(f64::from(CLIENTS)), "none could be restored");
    assert!(early.is_empty(), "{} of {CLIENTS} got something first: {early:?}", early.len());
}

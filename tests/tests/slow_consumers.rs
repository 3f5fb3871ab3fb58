//! Clients that don't keep up, on channels whose rule says what then: they
//! stay, are told what they missed, and cost others nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::Gateway;
use tests::api::{metric, publish, say, status};
use tests::patience::eventually;
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::sse::Sse;

/// More than the kernel keeps for a connection, in pieces of [`PIECE`].
const COUNT: u64 = 400;
const PIECE: usize = 50_000;

/// A client of any kind, that reads when it is asked to.
enum Client {
    Socketio(Box<Socket>),
    Plain(Box<Plain>),
    Sse(Box<Sse>),
}

/// What a client read.
#[derive(Debug)]
enum Heard {
    Publication { channel: String, number: u64 },
    Dropped(Value),
    Other,
}

/// All that a client read of one channel.
#[derive(Debug, Default)]
struct Tally {
    got: u64,
    told: u64,
    newest: Option<u64>,
}

fn rules(policy: &str) -> String {
    format!(
        r#"
limits: {{outboxBytes: 300000, outboxMessages: 1000}}
socketio: {{pingInterval: 60s, pingTimeout: 60s}}
channels:
- {{match: "flood.>", slowConsumer: {policy}}}
- {{match: "log.>", history: {{maxMessages: 1000, maxAge: 1h}}}}
"#
    )
}

impl Client {
    async fn all(gateway: &Gateway) -> Vec<(&'static str, Self)> {
        let sse = Sse::open(&format!("{}/sse?channel=flood.a", gateway.client()), &[]).await;
        let mut all = vec![
            ("websocket", Self::socketio(gateway, Transport::WebSocket).await),
            ("polling", Self::socketio(gateway, Transport::Polling).await),
            ("/ws", Self::Plain(Box::new(Plain::connect(gateway).await))),
            ("/sse", Self::Sse(Box::new(sse.unwrap()))),
        ];
        for (_, client) in &mut all {
            client.subscribe("flood.a").await;
        }
        all
    }

    async fn socketio(gateway: &Gateway, transport: Transport) -> Self {
        Self::Socketio(Box::new(Socket::connect(gateway, transport).await))
    }

    async fn subscribe(&mut self, channel: &str) {
        match self {
            Self::Socketio(socket) => {
                // Every publication says its channel.
                socket.subscribe(json!({"channel": channel, "meta": true})).await;
            }
            Self::Plain(plain) => {
                plain.call("subscribe", &json!({"channel": channel})).await.unwrap();
            }
            Self::Sse(_) => {}
        }
    }

    async fn next(&mut self) -> Heard {
        match self {
            Self::Socketio(socket) => {
                let mut event = socket.event().await;
                if event.name == "push:dropped" {
                    return Heard::Dropped(event.args.swap_remove(0));
                }
                if event.name != "e" {
                    return Heard::Other;
                }
                Heard::publication(&event.args[1]["channel"], &event.args[0])
            }
            Self::Plain(plain) => {
                let text = plain.socket().text().await;
                let mut frame: Value = serde_json::from_str(&text).unwrap();
                match (frame["event"].as_str(), frame.get("channel")) {
                    (Some("push:dropped"), None) => Heard::Dropped(frame["data"].take()),
                    (Some("e"), Some(channel)) => Heard::publication(channel, &frame["data"]),
                    _ => Heard::Other,
                }
            }
            Self::Sse(sse) => {
                let block = sse.event().await;
                let data = block.json();
                match block.event.as_deref() {
                    Some("push:dropped") => Heard::Dropped(data),
                    Some("e") => Heard::publication(&data["channel"], &data["data"]),
                    _ => Heard::Other,
                }
            }
        }
    }

    /// Reads until this publication of `flood.a`.
    async fn read_to(&mut self, last: u64, policy: &str) -> BTreeMap<String, Tally> {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        loop {
            match self.next().await {
                Heard::Publication { channel, number } => {
                    let end = channel == "flood.a" && number == last;
                    let tally = tallies.entry(channel).or_default();
                    // All before it came, or was told of.
                    assert_eq!(tally.got + tally.told, number, "{tally:?}");
                    assert!(tally.newest < Some(number), "{number} in {tally:?}");
                    tally.newest = Some(number);
                    tally.got += 1;
                    if end {
                        return tallies;
                    }
                }
                Heard::Dropped(notice) => {
                    assert_eq!(notice["policy"], policy, "{notice}");
                    let channel = notice["channel"].as_str().unwrap().to_owned();
                    let count = notice["count"].as_u64().unwrap();
                    assert!(count > 0);
                    tallies.entry(channel).or_default().told += count;
                }
                Heard::Other => {}
            }
        }
    }
}

impl Heard {
    fn publication(channel: &Value, data: &Value) -> Self {
        let number = data.get(0).unwrap_or(data).as_u64().unwrap();
        Self::Publication { channel: channel.as_str().unwrap().to_owned(), number }
    }
}

async fn dropped(gateway: &Gateway, policy: &str) -> f64 {
    let name = format!("push_deliveries_dropped_total{{policy=\"{policy}\"}}");
    metric(gateway, &name).await.unwrap_or_default()
}

async fn who_does_not_keep_up_stays(policy: &str) {
    let gateway = Gateway::start(&rules(policy));
    let mut stuck = Client::all(&gateway).await;
    let mut good = Socket::connect(&gateway, Transport::WebSocket).await;
    good.subscribe("flood.a").await;
    let data = "x".repeat(PIECE);
    for number in 0..COUNT {
        say(&gateway, "flood.a", json!([number, data])).await;
        assert_eq!(good.app_event().await.args[0][0], number, "nothing is missed by who reads");
    }
    let mut told = 0;
    for (name, client) in &mut stuck {
        let tallies = client.read_to(COUNT - 1, policy).await;
        let tally = &tallies["flood.a"];
        assert!(tally.told > 0, "{name} was to be slow: {tally:?}");
        told += tally.told;
    }
    let counted = dropped(&gateway, policy).await;
    assert!((counted - f64::from(u32::try_from(told).unwrap())).abs() < 0.5, "{counted}, {told}");
    // They are all still there, and get what comes next.
    say(&gateway, "flood.a", json!([COUNT, "after"])).await;
    for (name, client) in &mut stuck {
        let Heard::Publication { number, .. } = client.next().await else {
            panic!("{name}: something else came");
        };
        assert_eq!(number, COUNT, "{name}");
    }
    assert_eq!(status(&gateway).await["connections"], 5);
    assert!(metric(&gateway, "push_slow_consumers_total").await.unwrap_or_default() < 0.5);
}

#[tokio::test]
async fn of_the_oldest_so_many_go_as_must() {
    who_does_not_keep_up_stays("dropOldest").await;
}

#[tokio::test]
async fn of_latest_the_newest_comes() {
    who_does_not_keep_up_stays("latest").await;
}

/// Between two polls one of each channel waits, and what is told stands
/// before it, in the order in which the channels began to wait.
#[tokio::test]
async fn a_polling_client_gets_the_latest_of_each_channel() {
    let gateway = Gateway::start(&rules("latest"));
    let mut socket = Socket::connect(&gateway, Transport::Polling).await;
    for channel in ["flood.a", "flood.b", "calm"] {
        socket.subscribe(channel).await;
    }
    for number in 0..10 {
        for channel in ["flood.a", "flood.b"] {
            say(&gateway, channel, json!({channel: number})).await;
        }
    }
    say(&gateway, "calm", json!("end")).await;
    eventually("all to wait", || async {
        metric(&gateway, "push_deliveries_total").await.unwrap_or_default() > 20.5
    })
    .await;
    let mut heard = Vec::new();
    while heard.last() != Some(&json!("end")) {
        let event = socket.event().await;
        if event.name != "push:offset" {
            heard.push(event.args[0].clone());
        }
    }
    let told = |channel| json!({"channel": channel, "policy": "latest", "count": 9});
    let expected = [
        told("flood.a"),
        told("flood.b"),
        json!({"flood.a": 9}),
        json!({"flood.b": 9}),
        json!("end"),
    ];
    assert_eq!(heard, expected);
}

/// The harness has no mercy with half of an event.
#[tokio::test]
async fn an_event_and_its_attachments_go_together() {
    for policy in ["dropOldest", "latest"] {
        let gateway = Gateway::start(&rules(policy));
        let mut socket = Socket::connect(&gateway, Transport::WebSocket).await;
        socket.subscribe("flood.a").await;
        let bytes = json!({"base64": "QUJD".repeat(PIECE / 4)});
        for number in 0..COUNT {
            let args = json!([number, bytes, bytes]);
            publish(&gateway, &json!({"channel": "flood.a", "event": "e", "args": args})).await;
        }
        let (mut got, mut told) = (0, 0);
        loop {
            let event = socket.event().await;
            if event.name == "push:dropped" {
                told += event.args[0]["count"].as_u64().unwrap();
            } else if event.name == "e" {
                assert_eq!(event.args[0], got + told, "{policy}");
                assert_eq!(event.args[2]["_binary"].as_array().unwrap().len(), PIECE / 4 * 3);
                got += 1;
                if event.args[0] == COUNT - 1 {
                    break;
                }
            }
        }
        assert!(told > 0, "{policy}");
        assert_eq!(got + told, COUNT, "{policy}");
    }
}

/// What has history is never dropped for it, and a recovery finds all of it:
/// a loss on another channel is no gap, and a text of another channel, which
/// may have overtaken it, is no place to resume from.
#[tokio::test]
async fn a_loss_is_no_gap_in_what_has_history() {
    for policy in ["dropOldest", "latest"] {
        for transport in Transport::ALL {
            let gateway = Gateway::start(&rules(policy));
            let mut socket = Socket::connect(&gateway, transport).await;
            for channel in ["flood.a", "log.a"] {
                socket.subscribe(channel).await;
            }
            let data = "x".repeat(PIECE);
            let mut logged = 0;
            for number in 0..COUNT {
                if number % 20 == 5 {
                    say(&gateway, "log.a", logged).await;
                    logged += 1;
                }
                say(&gateway, "flood.a", format!("{number} {data}")).await;
            }
            let (mut got, mut told, mut next) = (0, 0, 0);
            let mut last = None;
            while last != Some(COUNT - 1) {
                let event = socket.event().await;
                match (&*event.name, event.args[0].as_str()) {
                    ("push:dropped", _) => told += event.args[0]["count"].as_u64().unwrap(),
                    ("e", Some(text)) => {
                        last = text.split(' ').next().and_then(|number| number.parse().ok());
                        got += 1;
                    }
                    ("e", None) => {
                        assert_eq!(event.args[0], next, "{policy}, {transport:?}");
                        next += 1;
                    }
                    _ => {}
                }
            }
            assert!(told > 0, "{policy}, {transport:?}");
            assert_eq!(got + told, COUNT, "{policy}, {transport:?}");
            let credentials = socket.credentials();
            let sid = socket.sid().to_owned();
            socket.close_engine().await;
            for _ in 0..3 {
                say(&gateway, "log.a", logged).await;
                logged += 1;
            }
            let auth = Some(&credentials);
            let mut socket = Socket::join(&gateway, transport, "/", auth).await.unwrap();
            assert_eq!(socket.sid(), sid, "it is the same session: {policy}, {transport:?}");
            while next < logged {
                assert_eq!(socket.app_event().await.args[0], next, "{policy}, {transport:?}");
                next += 1;
            }
        }
    }
}

/// Without a rule, or where the rule says so, it is as it was.
#[tokio::test]
async fn elsewhere_a_slow_client_is_disconnected() {
    let gateway = Gateway::start(&rules("dropOldest"));
    let mut stuck = Client::all(&gateway).await;
    for (_, client) in &mut stuck {
        client.subscribe("calm").await;
    }
    let data = "x".repeat(PIECE);
    for number in 0..COUNT {
        say(&gateway, "calm", json!([number, data])).await;
    }
    // The stream has not subscribed to it, and a polling client learns it with
    // its next poll.
    eventually("two are left", || async { status(&gateway).await["connections"] == 2 }).await;
    for (name, client) in &mut stuck {
        if let ("polling", Client::Socketio(socket)) = (*name, client) {
            socket.closed().await;
        }
    }
    eventually("one is left", || async { status(&gateway).await["connections"] == 1 }).await;
    assert!(dropped(&gateway, "dropOldest").await < 0.5);
}

/// A change of the rule holds for who is connected.
#[tokio::test]
async fn a_rule_may_change_while_a_client_is_stuck() {
    let gateway = Gateway::start(&rules("disconnect"));
    let mut client = Client::socketio(&gateway, Transport::Polling).await;
    client.subscribe("flood.a").await;
    std::fs::write(gateway.config_file(), rules("dropOldest")).unwrap();
    eventually("the new rule", || async {
        let name = "push_config_reloads_total{outcome=\"applied\"}";
        metric(&gateway, name).await.unwrap_or_default() > 0.5
    })
    .await;
    let data = "x".repeat(PIECE);
    for number in 0..20 {
        say(&gateway, "flood.a", json!([number, data])).await;
    }
    let tallies = client.read_to(19, "dropOldest").await;
    assert!(tallies["flood.a"].told > 0, "{tallies:?}");
}

//! The fan-out, as sessions with different rules see it.

#![allow(clippy::unwrap_used)]

use arcstr::ArcStr;
use gateway_config::SlowConsumer;
use tokio::sync::oneshot;

use super::*;
use crate::publication::Value;

fn rule(slow_consumer: SlowConsumer) -> Rule {
    Rule { history: None, client_publish: None, anonymous: None, slow_consumer, max_payload: 1_000 }
}

fn publication(channel: &Channel, text: &str, position: Option<Position>) -> Arc<Publication> {
    Arc::new(Publication {
        channel: channel.clone(),
        event: "e".into(),
        args: std::iter::once(Value::json(text)).collect(),
        spread: false,
        id: None,
        time: 0,
        position,
        except: Vec::new(),
    })
}

/// A hub, and a session on a channel with this rule that polls.
fn world(slow_consumer: SlowConsumer) -> (Hub, Channel, Rc<Subscriber>) {
    let namespaces: Arc<[ArcStr]> = Arc::new(["/".into()]);
    let start = Position { epoch: 1, sequence: 5, time: 1 };
    let mut hub = Hub::new(start, namespaces, Metrics::default());
    let form = Form { protocol: Protocol::Socketio, namespace: 0, meta: false, recoverable: true };
    let outbox = Outbox::new(OutboxLimits { bytes: 10_000, messages: 3 });
    let subscriber = Subscriber::new("s".into(), form, outbox);
    let channel = Channel::new("a").unwrap();
    hub.subscribe(&channel, &rule(slow_consumer), &subscriber, false);
    (hub, channel, subscriber)
}

fn polled(subscriber: &Subscriber) -> String {
    let (sender, mut receiver) = oneshot::channel();
    subscriber.outbox.attach_poll(sender);
    String::from_utf8(receiver.try_recv().unwrap().to_vec()).unwrap()
}

/// The client library takes the last text of an event for its place. A newer
/// publication that overtakes others must not name one behind them.
#[test]
fn what_may_overtake_others_names_no_place() {
    let (mut hub, channel, subscriber) = world(SlowConsumer::Latest);
    hub.deliver(&publication(&channel, "x", None), true);
    assert_eq!(polled(&subscriber), r#"42["e","x",null]"#);
    let (mut hub, channel, subscriber) = world(SlowConsumer::DropOldest);
    hub.deliver(&publication(&channel, "x", None), true);
    assert_eq!(polled(&subscriber), r#"42["e","x","1-5-1"]"#);
}

/// A client resumes past what is stored, so that must not be missed, whatever
/// a rule says by now.
#[test]
fn what_is_stored_is_never_dropped() {
    for slow_consumer in [SlowConsumer::DropOldest, SlowConsumer::Latest] {
        let (mut hub, channel, subscriber) = world(slow_consumer);
        for sequence in 6..10 {
            let place = Position { epoch: 1, sequence, time: 2 };
            hub.deliver(&publication(&channel, "x", Some(place)), true);
        }
        assert_eq!(subscriber.outbox.ended(), Some(CloseReason::SlowConsumer));
    }
}

#[test]
fn a_changed_rule_holds_at_once() {
    let (mut hub, channel, subscriber) = world(SlowConsumer::Disconnect);
    hub.refresh_rules(|_| rule(SlowConsumer::DropOldest));
    for _ in 0..10 {
        hub.deliver(&publication(&channel, "x", None), true);
    }
    assert_eq!(subscriber.outbox.ended(), None);
    hub.refresh_rules(|_| rule(SlowConsumer::Disconnect));
    hub.deliver(&publication(&channel, "last", None), true);
    let got = polled(&subscriber);
    assert!(got.contains(r#"{"channel":"a","count":8,"policy":"dropOldest"}"#), "{got}");
    assert!(got.ends_with(r#"42["e","last","1-5-1"]"#), "{got}");
    for _ in 0..4 {
        hub.deliver(&publication(&channel, "x", None), true);
    }
    assert_eq!(subscriber.outbox.ended(), Some(CloseReason::SlowConsumer));
}

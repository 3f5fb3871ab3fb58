#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;

use super::*;
use crate::channel::Channel;
use crate::publication::{Args, Value};

fn make(event: &str, args: Args, spread: bool) -> Publication {
    Publication {
        channel: Channel::new("orders.1").unwrap(),
        event: event.into(),
        args,
        spread,
        id: None,
        time: 0,
        position: None,
        except: Vec::new(),
    }
}

fn json(text: &'static str) -> Value {
    Value::Json(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_publication_is_an_event() {
    let one = make("created", Args::from_iter([json("{\"n\":1}")]), false);
    assert_eq!(
        publication(&one, Some("a-b-c")),
        "id: a-b-c\nevent: created\ndata: {\"channel\":\"orders.1\",\"data\":{\"n\":1}}\n\n"
    );
    assert_eq!(
        publication(&one, None),
        "event: created\ndata: {\"channel\":\"orders.1\",\"data\":{\"n\":1}}\n\n"
    );
    let spread = make(
        "m",
        Args::from_iter([json("1"), Value::Binary(Bytes::from_static(&[1, 2, 3]))]),
        true,
    );
    assert_eq!(
        publication(&spread, None),
        "event: m\ndata: {\"channel\":\"orders.1\",\"args\":[1,{\"base64\":\"AQID\"}]}\n\n"
    );
}

#[test]
fn line_breaks_never_end_a_field() {
    let pretty = make(
        "a\nid: forged",
        Args::from_iter([json("{\r\n  \"a\": [1,\n2],\r\"b\": \"\\n\"\n}")]),
        false,
    );
    let text =
        String::from_utf8(publication(&pretty, Some("o\r\nevent: forged")).to_vec()).unwrap();
    let lines: Vec<_> = text.split('\n').collect();
    assert_eq!(lines[0], "id: o  event: forged");
    assert_eq!(lines[1], "event: a id: forged");
    let data: serde_json::Value =
        serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data, json!({"channel": "orders.1", "data": {"a": [1, 2], "b": "\n"}}));
    assert_eq!(&lines[3..], ["", ""]);
    assert!(!text.contains('\r'));
}

#[test]
fn the_other_forms() {
    assert_eq!(position("a-b-c"), "id: a-b-c\n\n");
    assert_eq!(comment("keep\nalive"), ": keep alive\n\n");
    assert_eq!(
        notice("push:expiring", &json!({"in": 5})),
        "event: push:expiring\ndata: {\"in\":5}\n\n"
    );
    assert_eq!(retry(2500), "retry: 2500\n\n");
}

//! The requests of `/ws`, beside `serde_json`'s own reading of them.

use bytes::Bytes;
use gateway::protocol::json::{Command, Request, ok, parse, parse_value};
use gateway::publication::Value;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "json", planted: "`last` loses what doesn't fit 8 bits", check };

fn check(data: &[u8], planted: bool) {
    if let Some(request) = parsed(data, planted) {
        same(&request, data);
    } else if let Ok(text) = std::str::from_utf8(data)
        && let Ok(raw) = serde_json::from_str::<&RawValue>(text)
    {
        value(raw.get());
    }
}

fn parsed(data: &[u8], planted: bool) -> Option<Request> {
    let mut request = match parse(data) {
        Ok(request) => request,
        Err((_, error)) => {
            assert!(!error.message.is_empty() && error.message.len() < data.len() + 500);
            return None;
        }
    };
    if planted && let Command::Subscribe { last: Some(last), .. } = &mut request.command {
        *last &= 0xff;
    }
    Some(request)
}

fn same(request: &Request, data: &[u8]) {
    // Its numbers may be beyond what `serde_json` keeps.
    let Ok(whole) = serde_json::from_slice::<Json>(data) else { return };
    let text = |name: &str, field: &str| whole[name][field].as_str().map(str::to_owned);
    let count = |name: &str, field: &str| {
        whole[name][field].as_u64().map(|number| usize::try_from(number).unwrap())
    };
    match &request.command {
        Command::Connect { token } => assert_eq!(*token, text("connect", "token")),
        Command::Subscribe { channel, since, last } => {
            assert_eq!(Some(channel.clone()), text("subscribe", "channel"));
            assert_eq!(*since, text("subscribe", "since"));
            assert_eq!(*last, count("subscribe", "last"));
        }
        Command::Unsubscribe { channel } => {
            assert_eq!(Some(channel.clone()), text("unsubscribe", "channel"));
        }
        Command::Publish { channel, event, args, spread, id } => {
            assert_eq!(Some(channel.clone()), text("publish", "channel"));
            assert_eq!(*event, text("publish", "event"));
            assert_eq!(*id, text("publish", "id"));
            let given = whole["publish"].get("args").and_then(Json::as_array);
            assert_eq!(given.map_or(1, Vec::len), args.len());
            assert_eq!(given.is_some(), *spread);
        }
        Command::Presence { channel } => {
            assert_eq!(Some(channel.clone()), text("presence", "channel"));
        }
        Command::History { channel, since, before, limit, .. } => {
            assert_eq!(Some(channel.clone()), text("history", "channel"));
            assert_eq!(*since, text("history", "since"));
            assert_eq!(*before, text("history", "before"));
            assert_eq!(*limit, count("history", "limit"));
        }
        Command::Refresh { token } => {
            assert_eq!(Some(token.clone()), text("refresh", "token"));
        }
    }
    let answer = ok(request.id.as_ref(), &serde_json::json!({}));
    let answer: Json = serde_json::from_slice(answer.payload()).unwrap();
    assert_eq!(answer.get("id"), whole.get("id"));
}

/// A value is bytes or stays as it is.
fn value(text: &str) {
    match parse_value(text) {
        Value::Json(same) => assert_eq!(same, text),
        Value::Binary(bytes) => {
            let parsed: Json = serde_json::from_str(text).unwrap();
            let object = parsed.as_object().unwrap();
            assert_eq!(object.len(), 1);
            let encoded = object["base64"].as_str().unwrap();
            assert_eq!(encoded.len(), bytes.len().div_ceil(3) * 4);
            assert_eq!(parse_value(&format!(r#"{{"base64":"{encoded}"}}"#)), {
                Value::Binary(Bytes::clone(&bytes))
            });
        }
    }
}

//! What gateways tell each other over NATS: heartbeats and questions. Only
//! who has the secret is read at all; but a version may differ.

use gateway::cluster::ask::{Answer, Question};
use gateway::cluster::heartbeat::{joined, split};
use gateway::cluster::members::Beat;
use gateway::relay::sessions::SessionRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "peers",
    planted: "a message is split at the last line's end and not at the first",
    check,
};

fn check(data: &[u8], planted: bool) {
    if let Some((stamp, json)) = parted(data, planted) {
        assert!(!stamp.contains('\n'), "a stamp is one line");
        assert_eq!(joined(stamp, json), data);
        reads::<Beat>(json);
        reads::<Question>(json);
        reads::<Answer>(json);
    } else {
        reads::<SessionRecord>(data);
    }
}

fn parted(data: &[u8], planted: bool) -> Option<(&str, &[u8])> {
    if planted && let Some(end) = data.iter().rposition(|byte| *byte == b'\n') {
        return Some((std::str::from_utf8(&data[..end]).ok()?, &data[end + 1..]));
    }
    split(data)
}

/// What is read and written again is read the same.
fn reads<T: Serialize + DeserializeOwned>(json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(json) else { return };
    let text = serde_json::to_vec(&value).unwrap();
    let again: T = serde_json::from_slice(&text).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), text);
}

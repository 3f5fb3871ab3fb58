//! The stream of all history: its settings follow from the channel rules.

use std::collections::BTreeMap;

use gateway_config::{History, Pattern};

use super::api::{Api, ApiError, LIMITED, Republish, StreamConfig, StreamInfo};
use super::connect::ConnectError;
use super::subjects::{ANCHOR, Subjects, TICK};
use crate::rules::{Rules, USER_HISTORY};

#[cfg(test)]
mod tests;

/// The metadata key of the configuration's generation.
const GENERATION: &str = "push-generation";
/// How long an id is remembered: the default of `JetStream`, said aloud.
const DUPLICATE_WINDOW: u64 = 120 * 1_000_000_000;

/// What the stream should be.
pub fn wanted(subjects: &Subjects, rules: &Rules) -> StreamConfig {
    let histories = || rules.histories().map(|(_, history)| history).chain([USER_HISTORY]);
    let most = histories().map(|history: History| history.max_messages).max().unwrap_or(1);
    let oldest = histories().map(|history| history.max_age).max().unwrap_or_default();
    let generation = rules.generation();
    let mut config = StreamConfig {
        name: subjects.stream(),
        subjects: covering(rules).iter().map(|subject| subjects.publish(subject)).collect(),
        retention: "limits".to_owned(),
        storage: "file".to_owned(),
        discard: "old".to_owned(),
        num_replicas: rules.replicas(),
        max_msgs: -1,
        max_bytes: rules
            .history_bytes()
            .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        max_msgs_per_subject: i64::try_from(most).unwrap_or(i64::MAX),
        max_age: oldest.as_millis().saturating_mul(1_000_000),
        // Never longer than the age: the server refuses that.
        duplicate_window: DUPLICATE_WINDOW.min(oldest.as_millis().saturating_mul(1_000_000)),
        allow_direct: true,
        allow_msg_ttl: true,
        // One `Nats-Rollup` header would erase a channel.
        allow_rollup_hdrs: false,
        // They force rollups on, and replace stored messages.
        allow_msg_schedules: false,
        republish: Some(Republish {
            src: subjects.all_published(),
            dest: subjects.all_live(),
            headers_only: false,
        }),
        metadata: BTreeMap::from([(GENERATION.to_owned(), generation.to_string())]),
    };
    if rules.history_bytes().is_some() {
        limit(&mut config);
    }
    config
}

/// What a stream needs that may lose its beginning. It stays when the limit
/// is taken away: what it lost is lost.
fn limit(config: &mut StreamConfig) {
    config.metadata.insert(LIMITED.to_owned(), "true".to_owned());
    let published = config.republish.as_ref().and_then(|republish| republish.src.strip_suffix('>'));
    let Some(anchor) = published.map(|published| format!("{published}{ANCHOR}")) else { return };
    if !config.subjects.iter().any(|subject| covers(subject, &anchor)) {
        config.subjects.push(anchor);
        config.subjects.sort();
    }
}

/// The fewest subjects that cover every rule with history and share nothing,
/// and always the ticks and the users. Rules that cross were refused.
fn covering(rules: &Rules) -> Vec<String> {
    let always = |text: &str| Pattern::new(text).ok();
    let mut patterns: Vec<Pattern> =
        rules.histories().map(|(pattern, _)| pattern.clone()).collect();
    patterns.extend(always("$user.>"));
    patterns.extend(always(TICK));
    let mut kept: Vec<String> = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let subject = pattern.to_subject();
        let covered = patterns.iter().enumerate().any(|(other_index, other)| {
            let other = other.to_subject();
            // Of two equal ones the first stays.
            let equal = other == subject;
            other_index != index && covers(&other, &subject) && (!equal || other_index < index)
        });
        if !covered {
            kept.push(subject);
        }
    }
    kept.sort();
    kept
}

/// Whether a subject with wildcards takes all that another takes. Unlike a
/// rule's, NATS' wildcards take tokens that begin with `$` too.
pub fn covers(a: &str, b: &str) -> bool {
    let mut theirs = b.split('.');
    for ours in a.split('.') {
        match (ours, theirs.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (token, Some(other)) if token == other && token != "*" => {}
            _ => return false,
        }
    }
    theirs.next().is_none()
}

/// The stream as it was found.
pub enum Found {
    /// It is what is wanted, or newer.
    Ready(Box<StreamInfo>),
    /// It is of an older configuration.
    Older {
        /// As it is.
        now: Box<StreamConfig>,
        /// As it should be.
        update: Box<StreamConfig>,
    },
}

/// Makes the stream, or sees that it is the one that is wanted; brings it up
/// to date if this configuration is newer.
pub async fn ensure(api: &Api, wanted: &StreamConfig) -> Result<StreamInfo, ConnectError> {
    match look(api, wanted).await? {
        Found::Ready(info) => Ok(*info),
        Found::Older { update, .. } => Ok(api.update(&update).await?),
    }
}

/// Makes the stream, or sees whether it is the one that is wanted.
pub async fn look(api: &Api, wanted: &StreamConfig) -> Result<Found, ConnectError> {
    let info = match api.info(&wanted.name).await {
        Ok(info) => info,
        Err(error) if error.is_no_stream() => match api.create(wanted).await {
            Ok(info) => info,
            // Another gateway may have been first, with other settings. Not
            // all servers of a cluster know of a new stream at once.
            Err(ApiError::Refused { .. }) => api.info(&wanted.name).await?,
            Err(error) => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
    let mut wanted = wanted.clone();
    if info.config.metadata.contains_key(LIMITED) {
        limit(&mut wanted);
    }
    let differs = differences(&wanted, &info.config);
    let generation =
        |config: &StreamConfig| -> Option<u64> { config.metadata.get(GENERATION)?.parse().ok() };
    let Some(theirs) = generation(&info.config) else {
        return Err(ConnectError::Foreign { stream: wanted.name });
    };
    let ours = generation(&wanted).unwrap_or(0);
    if ours < theirs || (differs.is_empty() && ours == theirs) {
        // A newer configuration rules; this gateway will get it too.
        return Ok(Found::Ready(Box::new(info)));
    }
    if ours == theirs {
        return Err(ConnectError::Settings {
            stream: wanted.name,
            differs: differs.join(", "),
            generation: ours,
        });
    }
    let mut config = wanted;
    // The server keeps metadata of its own there.
    for (key, value) in &info.config.metadata {
        if key.starts_with("_nats.") {
            config.metadata.insert(key.clone(), value.clone());
        }
    }
    Ok(Found::Older { now: Box::new(info.config), update: Box::new(config) })
}

/// The names of the settings that differ.
fn differences(wanted: &StreamConfig, found: &StreamConfig) -> Vec<String> {
    let json = |config: &StreamConfig| {
        let mut config = config.clone();
        config.subjects.sort();
        config.metadata.clear();
        serde_json::to_value(config).unwrap_or_default()
    };
    let (wanted, found) = (json(wanted), json(found));
    let Some(wanted) = wanted.as_object() else { return Vec::new() };
    wanted
        .iter()
        .filter(|(key, value)| found.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect()
}

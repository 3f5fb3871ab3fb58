//! Which channels are followed and how far each has been heard. Text in, text
//! out; no I/O.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::output::one_line;

#[cfg(test)]
mod tests;

/// The channels and how far each has been heard, over all connections.
pub(super) struct Following {
    channels: Vec<Followed>,
    served: bool,
}

struct Followed {
    name: String,
    start: Start,
    /// It has history, so a connection's end loses nothing.
    history: bool,
}

/// Where the next subscription to a channel begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Start {
    /// With what comes.
    Now,
    /// With so many of the latest.
    Last(usize),
    /// After an offset.
    Since(String),
}

/// What a message of the gateway says to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// `CHANNEL EVENT DATA`
    Publication(String),
    /// For stderr.
    Note(String),
    /// To be tried on another connection.
    Retry(String),
    /// To be given up.
    Refused(String),
}

/// A message of the gateway; one of several forms.
#[derive(Deserialize)]
struct Frame<'a> {
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    ok: Option<Subscribed<'a>>,
    error: Option<Refusal<'a>>,
    channel: Option<Cow<'a, str>>,
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    offset: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Subscribed<'a> {
    offset: Option<Cow<'a, str>>,
    recovered: Option<bool>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    code: Cow<'a, str>,
    message: Cow<'a, str>,
    #[serde(default)]
    retry: bool,
}

// === impl Following ===

impl Following {
    /// Channels, each once, and where all of them begin.
    pub(super) fn new(names: &[String], since: Option<&str>, last: Option<usize>) -> Self {
        let start = match (since, last) {
            (Some(offset), _) => Start::Since(offset.to_owned()),
            (None, Some(count)) => Start::Last(count),
            (None, None) => Start::Now,
        };
        let mut channels: Vec<Followed> = Vec::with_capacity(names.len());
        for name in names {
            if !channels.iter().any(|channel| channel.name == *name) {
                let start = start.clone();
                channels.push(Followed { name: name.clone(), start, history: false });
            }
        }
        Self { channels, served: false }
    }

    /// Whether a subscription was in force since the last connection began.
    pub(super) fn was_served(&self) -> bool {
        self.served
    }

    /// What to send on a new connection. A request's id is the channel's
    /// place in the list.
    pub(super) fn requests(&mut self) -> Vec<String> {
        self.served = false;
        let request = |(id, channel): (usize, &Followed)| {
            let mut subscribe = json!({ "channel": channel.name });
            match &channel.start {
                Start::Now => {}
                Start::Last(count) => subscribe["last"] = json!(count),
                Start::Since(offset) => subscribe["since"] = json!(offset),
            }
            json!({ "id": id, "subscribe": subscribe }).to_string()
        };
        self.channels.iter().enumerate().map(request).collect()
    }

    /// Takes a message in.
    pub(super) fn hear(&mut self, text: &str) -> Vec<Told> {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            return vec![Told::Note(format!("not understood: {}", one_line(text)))];
        };
        let request = frame.id.and_then(|id| id.get().parse::<usize>().ok());
        match frame {
            Frame { error: Some(error), .. } => vec![self.refused(request, &error)],
            Frame { ok: Some(ok), .. } => self.subscribed(request, ok),
            Frame { channel: Some(name), event: Some(event), data, args, offset, .. } => {
                let channel = self.channels.iter_mut().find(|channel| channel.name == name);
                if let (Some(channel), Some(offset)) = (channel, offset) {
                    channel.history = true;
                    channel.start = Start::Since(offset.into_owned());
                }
                let data = data.or(args).map_or("null", RawValue::get);
                vec![Told::Publication(one_line(&format!("{name} {event} {data}")))]
            }
            // The session's position: from there every channel can resume.
            Frame { offset: Some(offset), channel: None, .. } => {
                for channel in self.channels.iter_mut().filter(|channel| channel.history) {
                    channel.start = Start::Since(offset.clone().into_owned());
                }
                Vec::new()
            }
            _ => vec![Told::Note(format!("the gateway says: {}", one_line(text)))],
        }
    }

    fn subscribed(&mut self, request: Option<usize>, ok: Subscribed<'_>) -> Vec<Told> {
        let Some(channel) = request.and_then(|id| self.channels.get_mut(id)) else {
            return Vec::new();
        };
        self.served = true;
        let mut told = Vec::new();
        let lost = ok.recovered == Some(false) && matches!(channel.start, Start::Since(_));
        if lost {
            told.push(Told::Note(one_line(&format!(
                "{}: some publications are lost, history no longer reaches back to where this began",
                channel.name
            ))));
        }
        match ok.offset {
            Some(offset) => {
                channel.history = true;
                // Otherwise a replay follows, and this is beyond its end: if
                // the connection broke in it, the rest would be skipped.
                if lost || channel.start == Start::Now {
                    channel.start = Start::Since(offset.into_owned());
                }
            }
            // Without history nothing can be resumed.
            None => channel.start = Start::Now,
        }
        told
    }

    fn refused(&self, request: Option<usize>, error: &Refusal<'_>) -> Told {
        let name = request.and_then(|id| self.channels.get(id)).map(|channel| &channel.name);
        let name = name.map_or_else(String::new, |name| format!("{name}: "));
        let why = one_line(&format!("{name}{} ({})", error.message, error.code));
        if error.retry { Told::Retry(why) } else { Told::Refused(why) }
    }
}

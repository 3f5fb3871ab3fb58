//! The Socket.IO commands: `push:subscribe` and the like.

use std::rc::Rc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::Session;
use super::history::History;
use super::subscribe::{Pending, SubscribeRequest, Subscribed};
use crate::channel::Channel;
use crate::error::{Error, ErrorCode, form};
use crate::offset::Offset;
use crate::protocol::json::Order;
use crate::protocol::socketio::Event;
use crate::publication::{Args, DEFAULT_EVENT, NewPublication, Value};
use crate::relay::HistoryQuery;

/// Publications in a `history` answer that doesn't say how many.
pub const DEFAULT_HISTORY_LIMIT: usize = 100;

/// What a command answers.
pub enum Answer<'a> {
    /// All there is.
    Now(Result<Body, Error>),
    /// A subscription: the answer goes out, then it is settled.
    Pending(serde_json::Value, Pending<'a>),
}

/// An answer's body.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// A few words of the gateway's own.
    Short(serde_json::Value),
    /// What was published.
    History(History),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ChannelForm<T> {
    Name(String),
    Object(T),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscribeForm {
    channel: String,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    last: Option<usize>,
    #[serde(default)]
    meta: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnsubscribeForm {
    channel: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishForm<'a> {
    channel: String,
    #[serde(default)]
    event: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    args: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    id: Option<String>,
}

/// `history` in every client protocol.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryForm {
    /// The channel, as the client calls it.
    pub channel: String,
    /// Only what is after this offset.
    #[serde(default)]
    pub since: Option<String>,
    /// Only what is before this offset.
    #[serde(default)]
    pub before: Option<String>,
    /// At most so many.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Which end comes first.
    #[serde(default)]
    pub order: Option<Order>,
}

/// Runs one command.
pub async fn run<'a>(session: &'a Rc<Session>, event: &Event) -> Answer<'a> {
    match event.name.as_str() {
        "push:subscribe" => subscribe(session, &event.args).await,
        "push:publish" => {
            let answer = publish(session, &event.args, &event.attachments).await;
            Answer::Now(answer.map(Body::Short))
        }
        "push:history" => Answer::Now(history(session, &event.args).await.map(Body::History)),
        other => Answer::Now(run_now(session, other, &event.args).await.map(Body::Short)),
    }
}

async fn run_now(
    session: &Rc<Session>,
    name: &str,
    args: &Args,
) -> Result<serde_json::Value, Error> {
    match name {
        "push:unsubscribe" => {
            let form: ChannelForm<UnsubscribeForm> = first(args)?;
            let channel = match form {
                ChannelForm::Name(channel) | ChannelForm::Object(UnsubscribeForm { channel }) => {
                    channel
                }
            };
            session.unsubscribe(&channel).await?;
            Ok(serde_json::json!({ "ok": true, "channel": channel }))
        }
        "push:refresh" => {
            let token: String = first(args)?;
            let mut answer = session.refresh(&token).await?;
            answer["ok"] = true.into();
            Ok(answer)
        }
        "push:presence" => Err(presence_unavailable()),
        other => Err(Error::new(
            ErrorCode::BadRequest,
            format!(
                "there is no command `{other}`; there are push:subscribe, push:unsubscribe, \
                 push:publish, push:history, push:refresh and push:presence"
            ),
        )),
    }
}

async fn history(session: &Rc<Session>, args: &Args) -> Result<History, Error> {
    let mut answer = session.history_of(first(args)?).await?;
    answer.ok = Some(true);
    Ok(answer)
}

/// Presence has no part in this version.
pub fn presence_unavailable() -> Error {
    Error::new(ErrorCode::Unavailable, "presence is not available in this version")
}

async fn subscribe<'a>(session: &'a Rc<Session>, args: &Args) -> Answer<'a> {
    let request = match subscribe_request(args) {
        Ok(request) => request,
        Err(error) => return Answer::Now(Err(error)),
    };
    match session.subscribe(&request).await {
        Ok((subscribed, pending)) => {
            let mut body = subscribed.to_json(&request.channel);
            body["ok"] = true.into();
            Answer::Pending(body, pending)
        }
        Err(error) => Answer::Now(Err(error)),
    }
}

fn subscribe_request(args: &Args) -> Result<SubscribeRequest, Error> {
    Ok(match first::<ChannelForm<SubscribeForm>>(args)? {
        ChannelForm::Name(channel) => SubscribeRequest { channel, ..Default::default() },
        ChannelForm::Object(form) => SubscribeRequest {
            channel: form.channel,
            since: form.since.as_deref().map(str::parse).transpose()?,
            last: form.last,
            meta: form.meta,
        },
    })
}

async fn publish(
    session: &Rc<Session>,
    args: &Args,
    attachments: &[Bytes],
) -> Result<serde_json::Value, Error> {
    let form: PublishForm<'_> = serde_json::from_slice(json_of(args)?).map_err(bad_request)?;
    let value = |raw: &RawValue| argument(raw, attachments);
    let (list, spread) = match (form.data, &form.args) {
        (Some(data), None) => (SmallVec::from_iter([value(data)?]), false),
        (None, Some(args)) => {
            (args.iter().map(|raw| value(raw)).collect::<Result<Args, Error>>()?, true)
        }
        // `data: null` and no data are the same to a handler.
        (None, None) => (SmallVec::from_iter([Value::null()]), false),
        (Some(_), Some(_)) => {
            return Err(
                Error::new(ErrorCode::BadRequest, "pass `data` or `args`, not both").field("args")
            );
        }
    };
    let mut publication = NewPublication::new(
        Channel::new(&form.channel)?,
        form.event.as_deref().unwrap_or(DEFAULT_EVENT),
        Value::null(),
    );
    publication.args = list;
    publication.spread = spread;
    publication.id = form.id.map(Into::into);
    let has_id = publication.id.is_some();
    let published = session.publish(publication).await?;
    Ok(published.to_json(has_id))
}

/// One argument of a publication: its JSON text as it came, or the binary
/// that it stands for.
fn argument(raw: &RawValue, attachments: &[Bytes]) -> Result<Value, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Placeholder {
        #[serde(rename = "_placeholder")]
        is: bool,
        num: usize,
    }
    if let Ok(Placeholder { is: true, num }) = serde_json::from_str(raw.get()) {
        return attachments
            .get(num)
            .cloned()
            .map(Value::Binary)
            .ok_or_else(|| Error::new(ErrorCode::BadRequest, "the binary data is missing"));
    }
    if !attachments.is_empty() && raw.get().contains("_placeholder") {
        return Err(Error::new(
            ErrorCode::BadRequest,
            "binary inside an object can't be published; pass it as the data itself, or as one of `args`",
        )
        .field("data"));
    }
    Ok(Value::Json(Bytes::copy_from_slice(raw.get().as_bytes())))
}

fn json_of(args: &Args) -> Result<&[u8], Error> {
    match args.first() {
        Some(Value::Json(text)) => Ok(text),
        Some(Value::Binary(_)) => {
            Err(Error::new(ErrorCode::BadRequest, "the command's argument is binary; pass JSON"))
        }
        None => Err(Error::new(ErrorCode::BadRequest, "the command has no argument")),
    }
}

fn first<T: DeserializeOwned>(args: &Args) -> Result<T, Error> {
    serde_json::from_slice(json_of(args)?).map_err(bad_request)
}

#[allow(clippy::needless_pass_by_value)] // The form that `map_err` takes.
fn bad_request(error: serde_json::Error) -> Error {
    let words = form(&error);
    Error::new(ErrorCode::BadRequest, format!("the command's argument is not of its form: {words}"))
}

// === impl Session ===

impl Session {
    /// `history` in every client protocol.
    pub async fn history_of(&self, form: HistoryForm) -> Result<History, Error> {
        let offset = |text: Option<String>| -> Result<Option<Offset>, Error> {
            Ok(text.as_deref().map(str::parse).transpose()?)
        };
        let query = HistoryQuery {
            // Replaced by the channel that the name resolves to.
            channel: Channel::new(&form.channel)?,
            since: offset(form.since)?,
            before: offset(form.before)?,
            limit: form.limit.unwrap_or(DEFAULT_HISTORY_LIMIT),
            newest_first: form.order == Some(Order::Descending),
        };
        self.history(&form.channel, query).await
    }
}

// === impl Subscribed ===

impl Subscribed {
    /// The answer's body, but for `ok`.
    pub fn to_json(&self, channel: &str) -> serde_json::Value {
        let mut body = serde_json::json!({ "channel": channel, "recovered": self.recovered });
        if let Some(offset) = self.offset {
            body["offset"] = offset.to_string().into();
        }
        body
    }
}

impl crate::publication::Published {
    /// The answer's body.
    pub fn to_json(&self, has_id: bool) -> serde_json::Value {
        let mut body = serde_json::json!({ "ok": true });
        if let Some(position) = self.position {
            body["offset"] = position.to_string().into();
        } else if has_id {
            body["deduplicated"] = false.into();
        }
        if self.duplicate {
            body["duplicate"] = true.into();
        }
        body
    }
}

//! `POST /v1/publish`'s body, and the publications that it asks for.

use std::collections::HashSet;

use gateway_config::{Limits, Scope};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::fields::{Except, MAX_EXCEPT, Ttl, except_schema, present, ttl_schema, value};
use crate::api::request::{Caller, user_channel};
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::protocol::socketio::check_args;
use crate::publication::{Args, DEFAULT_EVENT, NewPublication, Value, check_event};
use crate::rules::Rules;

/// Longest id of a publication or a socket, in bytes.
const MAX_ID_BYTES: usize = 200;
/// Binary arguments of one publication. A Socket.IO client refuses a packet
/// with more attachments (socket.io-parser, `maxAttachments`), and would meet
/// it again at every recovery.
const MAX_BINARY_ARGS: usize = 10;

/// A publication, and to whom. Exactly one of `channel`, `channels`, `user`,
/// `users` and `all` says to whom; exactly one of `data` and `args` says what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
#[schema(example = json!({"channel": "news", "event": "headline", "data": {"text": "hello"}, "id": "n-1"}))]
pub struct PublishRequest {
    /// One channel.
    #[schema(example = "news", min_length = 1, max_length = 200, nullable = false)]
    channel: Option<String>,
    /// Several channels; each gets a publication of its own.
    #[schema(example = json!(["news", "sports"]), min_items = 1, nullable = false)]
    channels: Option<Vec<String>>,
    /// One user: every session whose token has this `sub`.
    #[schema(example = "auth0|7", min_length = 1, max_length = 194, nullable = false)]
    user: Option<String>,
    /// Several users.
    #[schema(example = json!(["ann", "bob"]), min_items = 1, nullable = false)]
    users: Option<Vec<String>>,
    /// `true`: every session.
    #[schema(example = true, nullable = false)]
    all: Option<bool>,
    /// The event's name. Names that Socket.IO or the gateway keep for
    /// themselves are refused: `connect`, `connect_error`, `disconnect`,
    /// `disconnecting`, `newListener`, `removeListener` and `push:…`.
    #[schema(
        example = "headline",
        default = "message",
        min_length = 1,
        max_length = 200,
        nullable = false
    )]
    event: Option<String>,
    /// What subscribers get: any JSON, passed on byte for byte. An object
    /// with the single key `base64` and valid base64 (RFC 4648, section 4,
    /// with padding) stands for those bytes.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, example = json!({"text": "hello"}))]
    data: Option<Box<RawValue>>,
    /// The same for events with any number of arguments; each as in `data`.
    /// At most 10 may be binary.
    #[schema(value_type = Option<Vec<serde_json::Value>>, example = json!(["hello", 3]), nullable = false)]
    args: Option<Vec<Box<RawValue>>>,
    /// Makes a retry harmless on channels with history: a publication with an
    /// id that the channel has seen lately is not delivered again.
    #[schema(example = "order-17-paid", min_length = 1, max_length = 200, nullable = false)]
    id: Option<String>,
    /// How long history keeps it, at least one second: whole seconds, or a
    /// text such as `10s` or `2m`. Without it, as long as the channel's rule says.
    #[schema(schema_with = ttl_schema)]
    ttl: Option<Ttl>,
    /// Socket ids that don't get it: one, or a list of up to 1000.
    #[schema(schema_with = except_schema)]
    except: Option<Except>,
    /// `false`: subscribers get it now, history doesn't keep it.
    #[schema(default = true, nullable = false)]
    store: Option<bool>,
}

/// What a request asks for, checked: one publication for each target.
#[derive(Debug)]
pub struct Order {
    /// To whom, in the request's words and order.
    pub targets: Vec<Target>,
    /// Whether one target was named, not a list.
    pub single: bool,
    /// Whether it carries an id.
    pub has_id: bool,
    template: NewPublication,
}

/// One target.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the request named it.
    pub name: TargetName,
    /// Where it is published.
    pub channel: Channel,
}

/// A target as the request named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetName {
    /// A channel.
    Channel,
    /// Everyone.
    All,
    /// A user's id.
    User(String),
}

// === impl PublishRequest ===

impl PublishRequest {
    /// Checks everything that can be checked before anything is published:
    /// the names, what the key allows, the sizes. So a request that is wrong
    /// in one place publishes nothing.
    pub fn check(self, caller: &Caller, rules: &Rules, limits: &Limits) -> Result<Order, Error> {
        let (targets, single) = self.targets(limits)?;
        for (index, target) in targets.iter().enumerate() {
            caller.check(Scope::Publish, Some(&target.channel)).map_err(|error| {
                let field = match (&target.name, single) {
                    (TargetName::All, _) => "all".to_owned(),
                    (TargetName::Channel, true) => "channel".to_owned(),
                    (TargetName::Channel, false) => format!("channels[{index}]"),
                    (TargetName::User(_), true) => "user".to_owned(),
                    (TargetName::User(_), false) => format!("users[{index}]"),
                };
                error.field(field)
            })?;
        }
        let event = self.event.as_deref().unwrap_or(DEFAULT_EVENT);
        check_event(event).map_err(|error| error.field("event"))?;
        if let Some(id) = &self.id {
            check_id(id).map_err(|error| error.field("id"))?;
        }
        let except = self.except.map_or_else(Vec::new, |Except(ids)| ids);
        if except.len() > MAX_EXCEPT {
            let words = format!("`except` has {} ids; {MAX_EXCEPT} at most", except.len());
            return Err(Error::new(ErrorCode::BadRequest, words).field("except"));
        }
        except.iter().try_for_each(|id| check_id(id)).map_err(|error| error.field("except"))?;
        let (args, spread) = arguments(self.data, self.args)?;
        let has_id = self.id.is_some();
        let Some(first) = targets.first() else { return Err(no_target()) };
        let template = NewPublication {
            channel: first.channel.clone(),
            event: event.into(),
            args,
            spread,
            id: self.id.map(String::into_boxed_str),
            ttl: self.ttl.map(|Ttl(milliseconds)| milliseconds),
            store: self.store.unwrap_or(true),
            except: except.into_iter().map(String::into_boxed_str).collect(),
        };
        let size = template.size();
        for target in &targets {
            let max = rules.of(&target.channel).max_payload;
            if size > max {
                let words = format!(
                    "event and data are {size} bytes; the channel `{}` takes {max} at most \
                     (maxPayload of its rule, or limits.publicationBytes)",
                    target.channel
                );
                let field = if spread { "args" } else { "data" };
                return Err(Error::new(ErrorCode::PayloadTooLarge, words).field(field));
            }
        }
        Ok(Order { targets, single, has_id, template })
    }

    /// To whom; and whether it is one target and not a list.
    fn targets(&self, limits: &Limits) -> Result<(Vec<Target>, bool), Error> {
        let all = self.all == Some(true);
        let kinds = [
            self.channel.is_some(),
            self.channels.is_some(),
            self.user.is_some(),
            self.users.is_some(),
            all,
        ];
        if kinds.iter().filter(|given| **given).count() > 1 {
            return Err(Error::new(
                ErrorCode::BadRequest,
                "more than one of `channel`, `channels`, `user`, `users` and `all` is given; \
                 pass one",
            ));
        }
        let to_channel = |name: &String, field: String| {
            let channel = Channel::new(name).map_err(|error| Error::from(error).field(field))?;
            Ok(Target { name: TargetName::Channel, channel })
        };
        let to_user = |id: &String, field: String| {
            let channel = user_channel(id).map_err(|error| error.field(field))?;
            Ok(Target { name: TargetName::User(id.clone()), channel })
        };
        if let Some(name) = &self.channel {
            Ok((vec![to_channel(name, "channel".into())?], true))
        } else if let Some(names) = &self.channels {
            Ok((each("channels", names, limits, to_channel)?, false))
        } else if let Some(id) = &self.user {
            Ok((vec![to_user(id, "user".into())?], true))
        } else if let Some(ids) = &self.users {
            Ok((each("users", ids, limits, to_user)?, false))
        } else if all {
            Ok((vec![Target { name: TargetName::All, channel: Channel::all() }], true))
        } else {
            Err(no_target())
        }
    }
}

// === impl Order ===

impl Order {
    /// The publications, one for each target, in their order. They share the
    /// bytes of the arguments.
    pub fn publications(&self) -> impl Iterator<Item = NewPublication> {
        self.targets.iter().map(|target| NewPublication {
            channel: target.channel.clone(),
            ..self.template.clone()
        })
    }
}

fn no_target() -> Error {
    Error::new(
        ErrorCode::BadRequest,
        "no target; pass one of `channel`, `channels`, `user`, `users` and `all: true`",
    )
}

/// A list of targets: not empty, not too long, each name once.
fn each(
    field: &'static str,
    names: &[String],
    limits: &Limits,
    target: impl Fn(&String, String) -> Result<Target, Error>,
) -> Result<Vec<Target>, Error> {
    let refuse = |words: String| Err(Error::new(ErrorCode::BadRequest, words).field(field));
    if names.is_empty() {
        return refuse(format!("`{field}` is empty; name at least one"));
    }
    if names.len() > limits.batch {
        return refuse(format!(
            "`{field}` has {} names; {} at most in one request (limits.batch)",
            names.len(),
            limits.batch
        ));
    }
    let mut seen = HashSet::with_capacity(names.len());
    let mut targets = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if !seen.insert(name) {
            return refuse(format!("`{}` stands twice in `{field}`", name.escape_debug()));
        }
        targets.push(target(name, format!("{field}[{index}]"))?);
    }
    Ok(targets)
}

/// The id of a publication or a socket.
fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorCode::BadRequest,
            format!("an id has 1 to {MAX_ID_BYTES} bytes and no control characters"),
        ));
    }
    Ok(())
}

/// The arguments, and whether they came as `args`.
fn arguments(
    data: Option<Box<RawValue>>,
    args: Option<Vec<Box<RawValue>>>,
) -> Result<(Args, bool), Error> {
    match (data, args) {
        (Some(data), None) => Ok((Args::from_iter([value(data)]), false)),
        (None, Some(list)) => {
            let args: Args = list.into_iter().map(value).collect();
            let binary = args.iter().filter(|arg| matches!(arg, Value::Binary(_))).count();
            if binary > MAX_BINARY_ARGS {
                return Err(Error::new(
                    ErrorCode::BadRequest,
                    format!(
                        "`args` has {binary} binary values; Socket.IO clients take \
                         {MAX_BINARY_ARGS} at most in one event"
                    ),
                )
                .field("args"));
            }
            // A client would take it for a placeholder, now and at every recovery.
            check_args(&args)?;
            Ok((args, true))
        }
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorCode::BadRequest, "both `data` and `args` are given; pass one")
                .field("args"))
        }
        (None, None) => Err(Error::new(
            ErrorCode::BadRequest,
            "no `data`; pass any JSON as `data`, or `args: []` for an event without data",
        )
        .field("data")),
    }
}

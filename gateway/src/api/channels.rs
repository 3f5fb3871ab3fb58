//! `GET /v1/channels` and `/v1/channels/{channel}`: who is subscribed.

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_config::{Pattern, Scope};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ApiState;
use super::answers;
use super::problem::{Problem, Refusals};
use super::request::{Caller, ChannelPath, QueryText, parse_limit};
use crate::channel::Channel;
use crate::cluster::ask::Question;
use crate::error::{Error, ErrorCode};
use crate::relay::HistoryQuery;

/// Channels in one answer, unless the caller says otherwise; and at most.
const LIMIT: (usize, usize) = (100, 1000);

/// Which channels to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChannelsQuery {
    /// Only channels that match: `*` is one token, a last `>` the rest.
    /// A pattern that begins with a wildcard doesn't match names that begin
    /// with `$`.
    #[serde(rename = "match")]
    #[param(example = "orders.>")]
    matches: Option<String>,
    /// At most so many, up to 1000.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// Where the last answer stopped: its `next`.
    cursor: Option<String>,
}

/// A channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"channel": "orders.7", "subscribers": 3, "history": true}))]
pub struct ChannelSummary {
    /// Its name.
    channel: String,
    /// Sessions that are subscribed to it, on every gateway.
    subscribers: u64,
    /// Whether its publications are kept, by the rules.
    history: bool,
}

/// A page of channels, in the order of their names.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChannelList {
    /// Channels with at least one subscriber that the key may read.
    channels: Vec<ChannelSummary>,
    /// Pass it as `cursor` to get the rest. Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "b3JkZXJzLjc", nullable = false)]
    next: Option<String>,
    /// Gateways that did not answer within a second; what they hold is
    /// missing. Absent when all did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    missing: Vec<String>,
}

/// One channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"channel": "orders.7", "subscribers": 3, "history": true, "offset": "mj5z1c0w-4-mj5z1c2k"}))]
pub struct ChannelDetail {
    /// The channel.
    #[serde(flatten)]
    summary: ChannelSummary,
    /// Offset of the last publication that its history holds. Absent without
    /// history, or when it holds none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    offset: Option<String>,
    /// Gateways that did not answer within a second; what they hold is
    /// missing. Absent when all did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    missing: Vec<String>,
}

/// List channels
///
/// The channels that have a subscriber on any gateway, in the order of their
/// names. Channels that the key may not touch are left out.
#[utoipa::path(
    get, path = "/v1/channels", tag = "channels", operation_id = "listChannels",
    params(ChannelsQuery),
    responses((status = 200, description = "A page of channels", body = ChannelList), Refusals),
)]
pub async fn list(
    State(api): State<ApiState>,
    caller: Caller,
    query: QueryText,
) -> Result<Json<ChannelList>, Problem> {
    caller.check(Scope::Read, None)?;
    let query: ChannelsQuery = query.parse()?;
    let limit = parse_limit(query.limit.as_deref(), LIMIT.0, LIMIT.1)?;
    let pattern = query.matches.as_deref().map(Pattern::new).transpose();
    let pattern = pattern
        .map_err(|error| Error::new(ErrorCode::BadRequest, error.to_string()).field("match"))?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    // Whatever is among the first of all is among the first of each gateway
    // that has it.
    let question = Question::Channels {
        matches: pattern,
        allowed: caller.channels().to_vec(),
        after,
        limit: limit + 1,
    };
    let answers = api.cluster.ask(question).await?;
    let missing = answers::missing(&answers);
    let mut channels: Vec<_> = answers::channels(answers).into_iter().collect();
    let more = channels.len() > limit;
    channels.truncate(limit);
    let last = channels.last().filter(|_| more);
    let next = last.map(|(channel, _)| URL_SAFE_NO_PAD.encode(channel));
    let rules = api.rules.load();
    let history =
        |name: &str| Channel::new(name).is_ok_and(|channel| rules.of(&channel).history.is_some());
    let channels = channels
        .into_iter()
        .map(|(channel, subscribers)| ChannelSummary {
            history: history(&channel),
            channel,
            subscribers,
        })
        .collect();
    Ok(Json(ChannelList { channels, next, missing }))
}

/// Read a channel
///
/// A channel's subscribers on every gateway, and where its history stands. A
/// channel that nobody is subscribed to has 0; it needs no creation.
#[utoipa::path(
    get, path = "/v1/channels/{channel}", tag = "channels", operation_id = "getChannel",
    params(("channel" = String, Path, description = "The channel's name, percent-encoded; `/` is `%2F`", example = "orders.7")),
    responses((status = 200, description = "The channel", body = ChannelDetail), Refusals),
)]
pub async fn detail(
    State(api): State<ApiState>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
) -> Result<Json<ChannelDetail>, Problem> {
    caller.check(Scope::Read, Some(&channel))?;
    let answers = api.cluster.ask(Question::Subscribers(channel.to_string())).await?;
    let subscribers = answers::count(&answers);
    let missing = answers::missing(&answers);
    let history = api.rules.load().of(&channel).history.is_some();
    let offset = if history {
        let query = HistoryQuery {
            channel: channel.clone(),
            since: None,
            before: None,
            limit: 1,
            newest_first: true,
        };
        let page = api.relay.history(query).await?;
        page.publications.first().and_then(|last| last.position).map(|p| p.to_string())
    } else {
        None
    };
    let summary = ChannelSummary { channel: channel.to_string(), subscribers, history };
    Ok(Json(ChannelDetail { summary, offset, missing }))
}

/// Read a channel's presence
///
/// Who is on a channel. Not available in this version: every call is answered
/// with `unavailable`.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/presence", tag = "channels", operation_id = "getPresence",
    params(("channel" = String, Path, description = "The channel's name, percent-encoded; `/` is `%2F`", example = "orders.7")),
    responses(Refusals),
)]
pub async fn presence(caller: Caller, ChannelPath(channel): ChannelPath) -> Result<(), Problem> {
    caller.check(Scope::Read, Some(&channel))?;
    Err(Error::new(ErrorCode::Unavailable, "presence is not available in this version").into())
}

/// The channel's name after which the next page begins.
fn read_cursor(cursor: &str) -> Result<String, Error> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| {
        let words = "not a cursor; pass the `next` of the last answer, unchanged";
        Error::new(ErrorCode::BadRequest, words).field("cursor")
    })
}

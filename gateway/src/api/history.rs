//! `GET /v1/channels/{channel}/history`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_config::Scope;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::ApiState;
use super::problem::{Problem, ProblemBody, Refusals};
use super::request::{Caller, ChannelPath, QueryText, parse_limit};
use crate::error::{Error, ErrorCode};
use crate::offset::Offset;
use crate::publication::{Publication, Value};
use crate::relay::{HistoryQuery, RelayError};

/// Publications in one answer, unless the caller says otherwise; and at most.
const LIMIT: (usize, usize) = (100, 1000);

/// Bytes of events and data in one answer; a page ends early at this, so that
/// a thousand large publications don't become one answer of a gigabyte.
const PAGE_BYTES: usize = 8 << 20;

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// Only what was published after this offset.
    #[param(example = "mj5z1c0w-4-mj5z1c2k")]
    since: Option<String>,
    /// Only what was published before this offset.
    before: Option<String>,
    /// At most so many, up to 1000. Fewer come if they are large.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `oldest` or `newest` first.
    #[param(value_type = Option<Order>)]
    order: Option<String>,
}

/// Which end of the history comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HistoryOrder)]
pub enum Order {
    /// The oldest first.
    #[default]
    Oldest,
    /// The newest first.
    Newest,
}

/// A publication as it is kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StoredPublication, example = json!({
    "channel": "orders.7", "event": "paid", "data": {"amount": 12}, "id": "order-7-paid",
    "time": "2026-01-02T03:04:05.678Z", "offset": "mj5z1c0w-4-mj5z1c2k"
}))]
pub struct Stored {
    /// Where it was published.
    channel: String,
    /// The event's name.
    event: String,
    /// What was published as `data`, byte for byte; binary data as `{"base64": "…"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    data: Option<Arg>,
    /// What was published as `args`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<serde_json::Value>>, nullable = false)]
    args: Option<Vec<Arg>>,
    /// The publisher's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<String>,
    /// When it was published, UTC (RFC 3339).
    #[schema(format = DateTime)]
    time: String,
    /// Its place: pass it as `since` or `before`.
    offset: String,
}

/// A part of a channel's history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HistoryAnswer {
    /// The publications, in the order asked for.
    publications: Vec<Stored>,
    /// How far the stream reached when it was read: what is published from
    /// now on comes after this offset.
    #[schema(example = "mj5z1c0w-9-mj5z1d3m")]
    offset: String,
    /// `false`: something that followed `since` is gone, trimmed by the
    /// channel's rule or lost with the stream's former life.
    complete: bool,
    /// There is more: pass it as `since`, with `order=newest` as `before`.
    /// Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "mj5z1c0w-4-mj5z1c2k", nullable = false)]
    next: Option<String>,
}

/// One argument, as JSON.
#[derive(Clone, Debug)]
struct Arg(Value);

/// Read a channel's history
///
/// What was published to the channel, as far as its rule keeps it.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/history", tag = "channels", operation_id = "getHistory",
    params(
        ("channel" = String, Path, description = "The channel's name, percent-encoded; `/` is `%2F`", example = "orders.7"),
        HistoryParams,
    ),
    responses(
        (status = 200, description = "A part of the history", body = HistoryAnswer),
        (status = 404, description = "The channel has no history", body = ProblemBody, content_type = "application/problem+json"),
        Refusals,
    ),
)]
pub async fn history(
    State(api): State<ApiState>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
    query: QueryText,
) -> Result<Json<HistoryAnswer>, Problem> {
    caller.check(Scope::Read, Some(&channel))?;
    let query: HistoryParams = query.parse()?;
    let limit = parse_limit(query.limit.as_deref(), LIMIT.0, LIMIT.1)?;
    let order = read_order(query.order.as_deref())?;
    let since = read_offset(query.since.as_deref(), "since")?;
    let before = read_offset(query.before.as_deref(), "before")?;
    if api.rules.load().of(&channel).history.is_none() {
        return Err(RelayError::NoHistory.into());
    }
    let newest_first = order == Order::Newest;
    let query = HistoryQuery { channel, since, before, limit, newest_first };
    let page = api.relay.history(query).await?;
    let fitting = fitting(&page.publications);
    let more = page.more || fitting < page.publications.len();
    let publications: Vec<Stored> =
        page.publications.iter().take(fitting).map(|p| Stored::new(p)).collect();
    let next = publications.last().filter(|_| more).map(|last| last.offset.clone());
    Ok(Json(HistoryAnswer {
        publications,
        offset: page.head.to_string(),
        complete: page.complete,
        next,
    }))
}

/// How many of the publications fit into one answer; at least one.
fn fitting(publications: &[Arc<Publication>]) -> usize {
    let mut bytes = 0;
    let too_many = publications.iter().position(|publication| {
        bytes += publication.event.len() + publication.args.iter().map(Value::len).sum::<usize>();
        bytes > PAGE_BYTES
    });
    too_many.map_or(publications.len(), |index| index.max(1))
}

fn read_order(text: Option<&str>) -> Result<Order, Error> {
    match text {
        None | Some("oldest") => Ok(Order::Oldest),
        Some("newest") => Ok(Order::Newest),
        Some(_) => {
            Err(Error::new(ErrorCode::BadRequest, "`order` is `oldest` or `newest`").field("order"))
        }
    }
}

fn read_offset(text: Option<&str>, field: &'static str) -> Result<Option<Offset>, Error> {
    text.map(|text| text.parse().map_err(|error| Error::from(error).field(field))).transpose()
}

// === impl Stored ===

impl Stored {
    fn new(publication: &Publication) -> Self {
        let mut args: Vec<Arg> = publication.args.iter().cloned().map(Arg).collect();
        let single = !publication.spread && args.len() == 1;
        let data = if single { args.pop() } else { None };
        Self {
            channel: publication.channel.to_string(),
            event: publication.event.to_string(),
            data,
            args: (!single).then_some(args),
            id: publication.id.as_deref().map(str::to_owned),
            time: rfc3339(publication.time),
            offset: publication.position.unwrap_or_default().to_string(),
        }
    }
}

// === impl Arg ===

impl Serialize for Arg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Binary {
            base64: String,
        }
        match &self.0 {
            Value::Json(text) => {
                let raw: &RawValue = serde_json::from_slice(text).map_err(S::Error::custom)?;
                raw.serialize(serializer)
            }
            Value::Binary(bytes) => Binary { base64: STANDARD.encode(bytes) }.serialize(serializer),
        }
    }
}

/// Milliseconds since 1970 as `2026-01-02T03:04:05.678Z`.
pub fn rfc3339(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of the year 0, so that a leap day ends a
    // year and months have a regular pattern from there: 400 years are one
    // era of 146 097 days (the proleptic Gregorian calendar of ISO 8601).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        era * 400 + year + next_year,
        clock / 3600,
        clock / 60 % 60,
        clock % 60,
        milliseconds % 1000,
    )
}

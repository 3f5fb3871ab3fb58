//! `POST /v1/publish` and `POST /v1/batch`.
//!
//! # Layout
//!
//! - [`request`]: a publish request's body, and all checks of it
//! - [`fields`]: its fields that have more than one form
//! - [`run`]: publishing a list in order

use axum::Json;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use gateway_config::Scope;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::ApiState;
use super::problem::{BodyRefusals, Problem, ProblemBody};
use super::request::{Caller, parse_json, read_body};
use crate::error::{Error, ErrorCode};
use crate::publication::Published;

pub mod fields;
pub mod request;
pub mod run;

pub use request::PublishRequest;
use request::{Order, TargetName};
use run::{Outcome, count_refused, publish_all};

/// Bodies of a batch may be as large as those of so many publishes.
const BATCH_BODIES: usize = 16;

/// What a publisher learns of one publication. Empty when there is nothing
/// to learn.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"offset": "mj5z1c0w-4-mj5z1c2k"}))]
pub struct Receipt {
    /// Its place in history, from which a client can resume; absent on a
    /// channel without history and with `store: false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "mj5z1c0w-4-mj5z1c2k", nullable = false)]
    offset: Option<String>,
    /// `true`: the id had been seen. This one was not delivered again, and
    /// the offset is the first one's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(example = true, required = false)]
    duplicate: bool,
    /// `false`: there is an `id`, but the channel has no history, so a retry
    /// would be delivered again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = false, nullable = false)]
    deduplicated: Option<bool>,
}

/// What became of the publication for one of several targets: its receipt, or
/// its `error`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"channel": "news", "offset": "mj5z1c0w-4-mj5z1c2k"}))]
pub struct TargetResult {
    /// The channel, where the request named channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    channel: Option<String>,
    /// The user, where the request named users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<String>,
    #[serde(flatten)]
    receipt: Receipt,
    /// Why it was not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<ProblemBody>,
}

/// The answer to a publish: a receipt for `channel`, `user` and `all`;
/// `results` for `channels` and `users`.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"offset": "mj5z1c0w-4-mj5z1c2k"}))]
pub struct PublishAnswer {
    #[serde(flatten)]
    receipt: Receipt,
    /// One for each target, in the request's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    results: Option<Vec<TargetResult>>,
}

/// Many publish requests in one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub struct BatchRequest<'a> {
    /// The publish requests, up to `limits.batch` (1000).
    #[serde(borrow)]
    #[schema(value_type = Vec<PublishRequest>)]
    publications: Vec<&'a RawValue>,
}

/// What became of one request of a batch: the answer that it would have had
/// alone.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": 200, "offset": "mj5z1c0w-4-mj5z1c2k"}))]
pub struct BatchResult {
    /// The HTTP status that it would have had alone.
    #[schema(example = 200)]
    status: u16,
    #[serde(flatten)]
    answer: PublishAnswer,
    /// Why it was refused, if its status is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<ProblemBody>,
}

/// The answer to a batch, in the request's order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    /// One for each request.
    results: Vec<BatchResult>,
}

/// Publish
///
/// Publishes to one or several channels or users, or to everyone. All targets
/// are checked before anything is published: if one of them is refused, the
/// whole request is, and nothing was published. After that each target stands
/// for itself: with a list of targets the answer is 200 as soon as one of them
/// got its publication, and each of the others has its `error`; it is an error
/// only if none did. With an `id` it is safe to send the whole request again.
///
/// 200 for a channel with history means that the publication is stored.
#[utoipa::path(
    post, path = "/v1/publish", tag = "publish", operation_id = "publish",
    request_body = PublishRequest,
    responses((status = 200, description = "Published", body = PublishAnswer), BodyRefusals),
)]
pub async fn publish(
    State(api): State<ApiState>,
    caller: Caller,
    request: Request,
) -> Result<Json<PublishAnswer>, Problem> {
    let (parts, body) = request.into_parts();
    run_publish(&api, &caller, &parts.headers, body).await
}

/// The same for a request that has not been through the router.
pub(super) async fn answer_publish<B>(
    api: &ApiState,
    headers: &HeaderMap,
    body: B,
) -> Result<Json<PublishAnswer>, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let caller = Caller::of(api, headers)?;
    run_publish(api, &caller, headers, body).await
}

async fn run_publish<B>(
    api: &ApiState,
    caller: &Caller,
    headers: &HeaderMap,
    body: B,
) -> Result<Json<PublishAnswer>, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    caller.check(Scope::Publish, None)?;
    let refused = |problem: Problem| {
        count_refused(api, problem.error());
        problem
    };
    let limits = api.limits.load_full();
    let limit = publish_body_limit(limits.publication_bytes);
    let body = read_body(headers, body, limit, limits.body_timeout.get()).await.map_err(refused)?;
    let request: PublishRequest = parse_json(&body).map_err(refused)?;
    drop(body);
    let order = request.check(caller, &api.rules.load(), &limits);
    let order = order.map_err(|error| refused(error.into()))?;
    let outcomes = publish_all(api, order.publications().collect()).await;
    answer(&order, outcomes).map(Json)
}

/// Publish many
///
/// Many publish requests in one, each with its own result, in order. A refused
/// one does not touch the others; the answer is 200 whatever became of them.
/// Publications to the same channel are published in the order of the list;
/// when one of them fails and may be tried again, those after it on the same
/// channel are not tried, so that sending the failed ones again keeps the order.
#[utoipa::path(
    post, path = "/v1/batch", tag = "publish", operation_id = "batch",
    request_body = BatchRequest,
    responses((status = 200, description = "Each request's own result", body = BatchAnswer), BodyRefusals),
)]
pub async fn batch(
    State(api): State<ApiState>,
    caller: Caller,
    request: Request,
) -> Result<Json<BatchAnswer>, Problem> {
    caller.check(Scope::Publish, None)?;
    let limits = api.limits.load_full();
    let (parts, body) = request.into_parts();
    let limit =
        publish_body_limit(limits.publication_bytes).saturating_mul(limits.batch.min(BATCH_BODIES));
    let body = read_body(&parts.headers, body, limit, limits.body_timeout.get()).await?;
    let BatchRequest { publications } = parse_json(&body)?;
    if publications.len() > limits.batch {
        let words = format!(
            "the batch has {} publications; {} at most (limits.batch)",
            publications.len(),
            limits.batch
        );
        return Err(Error::new(ErrorCode::PayloadTooLarge, words).field("publications").into());
    }
    let rules = api.rules.load_full();
    let orders: Vec<Result<Order, Problem>> = publications
        .into_iter()
        .map(|text| {
            let request: PublishRequest = parse_json(text.get().as_bytes())?;
            Ok(request.check(&caller, &rules, &limits)?)
        })
        .collect();
    drop(body);
    for problem in orders.iter().filter_map(|order| order.as_ref().err()) {
        count_refused(&api, problem.error());
    }
    let accepted = orders.iter().filter_map(|order| order.as_ref().ok());
    let list = accepted.flat_map(Order::publications).collect();
    let mut outcomes = publish_all(&api, list).await.into_iter();
    let results = orders
        .into_iter()
        .map(|order| {
            let answered = order.and_then(|order| {
                let own = outcomes.by_ref().take(order.targets.len()).collect();
                answer(&order, own)
            });
            match answered {
                Ok(answer) => BatchResult { status: 200, answer, error: None },
                Err(problem) => BatchResult {
                    status: problem.status().as_u16(),
                    answer: PublishAnswer::default(),
                    error: Some(problem.body()),
                },
            }
        })
        .collect();
    Ok(Json(BatchAnswer { results }))
}

/// The largest body of one publish: base64 makes a third more of it, names
/// and ids come on top.
fn publish_body_limit(publication_bytes: usize) -> usize {
    publication_bytes.saturating_mul(2).saturating_add(64 << 10)
}

/// What the caller learns: an error only if nothing was published.
fn answer(order: &Order, outcomes: Vec<Outcome>) -> Result<PublishAnswer, Problem> {
    if outcomes.iter().all(Result::is_err)
        && let Some(Err(error)) = outcomes.first()
    {
        return Err(error.clone().into());
    }
    if order.single {
        let published = outcomes.iter().flatten().next();
        let receipt = published.map(|published| receipt(published, order.has_id));
        return Ok(PublishAnswer { receipt: receipt.unwrap_or_default(), results: None });
    }
    let results = order.targets.iter().zip(outcomes).map(|(target, outcome)| {
        let (channel, user) = match &target.name {
            TargetName::Channel | TargetName::All => (Some(target.channel.to_string()), None),
            TargetName::User(id) => (None, Some(id.clone())),
        };
        let (receipt, error) = match outcome {
            Ok(published) => (receipt(&published, order.has_id), None),
            Err(error) => (Receipt::default(), Some(Problem::from(error).body())),
        };
        TargetResult { channel, user, receipt, error }
    });
    Ok(PublishAnswer { receipt: Receipt::default(), results: Some(results.collect()) })
}

fn receipt(published: &Published, has_id: bool) -> Receipt {
    Receipt {
        offset: published.position.map(|position| position.to_string()),
        duplicate: published.duplicate,
        deduplicated: (has_id && published.position.is_none() && !published.duplicate)
            .then_some(false),
    }
}

//! `/v1/users/…`: a user's sessions, on every gateway.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use gateway_config::Scope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiState;
use super::answers;
use super::problem::{Problem, Refusals};
use super::request::{Caller, UserPath, parse_json, read_body, user_channel};
use super::tokens;
use crate::channel::Channel;
use crate::cluster::ask::{Answer, Question};
use crate::error::Error;
use crate::relay::{Mark, MarkKind};
use crate::session::user::{UserCommand, UserSession};
use crate::watch;

/// Bytes of a body of these calls.
const BODY_MOST: usize = 4 << 10;

/// A user's sessions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UserDetail {
    /// The user's id.
    #[schema(example = "auth0|7")]
    user: String,
    /// The sessions, by gateway and id; at most 1000 of each thread of a
    /// gateway.
    sessions: Vec<UserSession>,
    /// Gateways that did not answer within a second; what they hold is
    /// missing. Absent when all did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    missing: Vec<String>,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"sessions": 2}))]
pub struct Done {
    /// How many sessions it changed.
    sessions: u64,
    /// Gateways that did not answer within a second; whether it is done there
    /// is not known. Repeat the call; it does nothing twice. Absent when all
    /// answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    missing: Vec<String>,
}

/// How to disconnect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(example = json!({"reconnect": false}))]
pub struct Disconnect {
    /// True: the connections are closed, and clients come back by themselves,
    /// with a fresh look at their token. False: Socket.IO and WebSocket
    /// clients are told to stay away, and nothing is kept for them. Event
    /// streams always come back, as long as their token is good.
    #[serde(default = "yes")]
    #[schema(default = true)]
    reconnect: bool,
    /// Refuses the user's tokens until this time, in seconds since 1970: those
    /// that were issued (claim `iat`) before this call or in the same second,
    /// and those that don't say when. Give the latest `exp` that they may
    /// have. Absent: the user may come back with the same token.
    #[serde(default)]
    #[schema(example = 1_893_456_000_u64, nullable = false)]
    revoke_until: Option<u64>,
}

/// For how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"seconds": 600}))]
pub struct Watch {
    /// Seconds, a day at most; 0 ends it.
    seconds: u64,
}

/// Which channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"channel": "orders.7"}))]
pub struct OneChannel {
    /// Its full name.
    channel: String,
}

const fn yes() -> bool {
    true
}

/// Read a user
///
/// A user's sessions on every gateway.
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "users", operation_id = "getUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    responses((status = 200, description = "The user's sessions; none when it is not connected", body = UserDetail), Refusals),
)]
pub async fn detail(
    State(api): State<ApiState>,
    caller: Caller,
    UserPath(user): UserPath,
) -> Result<Json<UserDetail>, Problem> {
    caller.check(Scope::Read, Some(&user_channel(&user)?))?;
    let answers = api.cluster.ask(Question::Sessions(user.clone())).await?;
    let missing = answers::missing(&answers);
    let lists = answers.answers.into_iter().map(|answer| match answer {
        Answer::Sessions(sessions) => sessions,
        _ => Vec::new(),
    });
    let mut sessions: Vec<UserSession> = lists.flatten().collect();
    sessions.sort_unstable_by(|a, b| (&a.gateway, &a.id).cmp(&(&b.gateway, &b.id)));
    Ok(Json(UserDetail { user, sessions, missing }))
}

/// Disconnect a user
///
/// Closes the connections of a user's sessions on every gateway. Whether the
/// user may come back, and with which token, the body says; it is `{}` at
/// least: no web page can send JSON to another origin unasked.
#[utoipa::path(
    post, path = "/v1/users/{user}/disconnect", tag = "users", operation_id = "disconnectUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    request_body = Disconnect,
    responses((status = 200, description = "Done", body = Done), Refusals),
)]
pub async fn disconnect(
    State(api): State<ApiState>,
    caller: Caller,
    UserPath(user): UserPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    caller.check(Scope::Admin, Some(&user_channel(&user)?))?;
    let body = read(&api, &headers, body).await?;
    let Disconnect { reconnect, revoke_until } = parse_json(&body)?;
    let revoke_until =
        revoke_until.map(|seconds| tokens::until(seconds, "revokeUntil")).transpose()?;
    let mut done = Done::default();
    let mark = |kind, until| Mark { kind, of: user.clone(), at: tokens::now(), until };
    if !reconnect && let Some(forgotten) = api.forgotten_after {
        // Sessions whose clients are away now are not found, but marked.
        let until = tokens::now().saturating_add(forgotten);
        done.join(tokens::run(&api, mark(MarkKind::Sessions, until)).await?);
    }
    if !reconnect || revoke_until.is_none() {
        let command = UserCommand::Disconnect { reconnect };
        done.join(run(&api, user.clone(), command).await?.0);
    }
    if let Some(until) = revoke_until {
        done.join(tokens::run(&api, mark(MarkKind::User, until)).await?);
    }
    Ok(Json(done))
}

/// Watch a user
///
/// Every gateway that is there logs for some time what a user's clients do:
/// connects, subscriptions, refusals, disconnects; never what is published.
#[utoipa::path(
    post, path = "/v1/users/{user}/debug", tag = "users", operation_id = "debugUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    request_body = Watch,
    responses((status = 200, description = "Done; `sessions` is how many the user has", body = Done), Refusals),
)]
pub async fn debug(
    State(api): State<ApiState>,
    caller: Caller,
    UserPath(user): UserPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    caller.check(Scope::Admin, Some(&user_channel(&user)?))?;
    let body = read(&api, &headers, body).await?;
    let Watch { seconds } = parse_json(&body)?;
    if seconds > watch::LONGEST.as_secs() {
        let words = "a user is watched for a day (86400 seconds) at most; repeat the call then";
        return Err(Error::new(crate::error::ErrorCode::BadRequest, words).field("seconds").into());
    }
    let answers = api.cluster.ask(Question::Watch(user, seconds)).await?;
    Ok(Json(Done::new(answers::count(&answers), answers::missing(&answers))))
}

/// Subscribe a user
///
/// Subscribes a user's sessions, on every gateway, to a channel, whatever
/// their token grants. It lasts as long as the session: a new token, or a
/// recovery of the session, ends it unless the token grants the channel.
/// Sessions that begin later are not subscribed.
#[utoipa::path(
    post, path = "/v1/users/{user}/subscribe", tag = "users", operation_id = "subscribeUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    request_body = OneChannel,
    responses((status = 200, description = "Done", body = Done), Refusals),
)]
pub async fn subscribe(
    State(api): State<ApiState>,
    caller: Caller,
    UserPath(user): UserPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let channel = channel(&api, &caller, &user, &headers, body).await?;
    run(&api, user, UserCommand::Subscribe(channel)).await
}

/// Unsubscribe a user
///
/// Ends the subscription of a user's sessions, on every gateway, to a
/// channel. The clients are told, by `push:unsubscribed`.
#[utoipa::path(
    post, path = "/v1/users/{user}/unsubscribe", tag = "users", operation_id = "unsubscribeUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    request_body = OneChannel,
    responses((status = 200, description = "Done", body = Done), Refusals),
)]
pub async fn unsubscribe(
    State(api): State<ApiState>,
    caller: Caller,
    UserPath(user): UserPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let channel = channel(&api, &caller, &user, &headers, body).await?;
    run(&api, user, UserCommand::Unsubscribe(channel)).await
}

/// The channel that the body names, if the caller may touch it and the user.
async fn channel(
    api: &ApiState,
    caller: &Caller,
    user: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    caller.check(Scope::Admin, Some(&user_channel(user)?))?;
    let body = read(api, headers, body).await?;
    let OneChannel { channel } = parse_json(&body)?;
    let channel = Channel::new(&channel).map_err(|error| Error::from(error).field("channel"))?;
    if channel.is_system() {
        let words = "channels that begin with `$` belong to the system; choose another name";
        return Err(Error::new(crate::error::ErrorCode::Forbidden, words).field("channel").into());
    }
    caller.check(Scope::Admin, Some(&channel))?;
    Ok(channel.to_string())
}

pub(super) async fn read(
    api: &ApiState,
    headers: &HeaderMap,
    body: Body,
) -> Result<bytes::Bytes, Problem> {
    let timeout = api.limits.load().body_timeout.get();
    read_body(headers, body, BODY_MOST, timeout).await
}

async fn run(api: &ApiState, user: String, command: UserCommand) -> Result<Json<Done>, Problem> {
    let answers = api.cluster.ask(Question::User(user, command)).await?;
    Ok(Json(Done::new(answers::count(&answers), answers::missing(&answers))))
}

// === impl Done ===

impl Done {
    pub(super) fn new(sessions: u64, missing: Vec<String>) -> Self {
        Self { sessions, missing }
    }

    /// What was done by both.
    fn join(&mut self, other: Self) {
        self.sessions += other.sessions;
        for gateway in other.missing {
            if !self.missing.contains(&gateway) {
                self.missing.push(gateway);
            }
        }
    }
}

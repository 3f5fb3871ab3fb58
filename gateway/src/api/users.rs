//! `/v1/users/…`: not available yet; the calls are there so that an app
//! learns it in words.

use gateway_config::Scope;

use super::problem::{Problem, Refusals};
use super::request::{Caller, UserPath};
use crate::error::{Error, ErrorCode};

/// Read a user
///
/// A user's sessions. Not available in this version: every call is answered
/// with `unavailable`.
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "users", operation_id = "getUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    responses(Refusals),
)]
pub async fn detail(caller: Caller, _user: UserPath) -> Result<(), Problem> {
    caller.check(Scope::Read, None)?;
    unavailable("reading a user's sessions is")
}

/// Disconnect a user
///
/// Ends a user's sessions. Not available in this version: every call is
/// answered with `unavailable`.
#[utoipa::path(
    post, path = "/v1/users/{user}/disconnect", tag = "users", operation_id = "disconnectUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    responses(Refusals),
)]
pub async fn disconnect(caller: Caller, _user: UserPath) -> Result<(), Problem> {
    caller.check(Scope::Admin, None)?;
    unavailable("disconnecting a user is")
}

/// Subscribe a user
///
/// Subscribes a user's sessions to a channel. Not available in this version:
/// every call is answered with `unavailable`.
#[utoipa::path(
    post, path = "/v1/users/{user}/subscribe", tag = "users", operation_id = "subscribeUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    responses(Refusals),
)]
pub async fn subscribe(caller: Caller, _user: UserPath) -> Result<(), Problem> {
    caller.check(Scope::Admin, None)?;
    unavailable("subscribing a user is")
}

/// Unsubscribe a user
///
/// Ends the subscription of a user's sessions to a channel. Not available in
/// this version: every call is answered with `unavailable`.
#[utoipa::path(
    post, path = "/v1/users/{user}/unsubscribe", tag = "users", operation_id = "unsubscribeUser",
    params(("user" = String, Path, description = "The user's id, percent-encoded", example = "auth0%7C7")),
    responses(Refusals),
)]
pub async fn unsubscribe(caller: Caller, _user: UserPath) -> Result<(), Problem> {
    caller.check(Scope::Admin, None)?;
    unavailable("unsubscribing a user is")
}

fn unavailable(what: &str) -> Result<(), Problem> {
    let words = format!("{what} not available in this version");
    Err(Error::new(ErrorCode::Unavailable, words).into())
}

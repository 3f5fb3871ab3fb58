//! `/v1/tokens/…`: a token that is refused before its time is over.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use gateway_config::Scope;
use serde::Deserialize;
use utoipa::ToSchema;

use super::ApiState;
use super::answers;
use super::problem::{BodyRefusals, Problem};
use super::request::{Caller, parse_json};
use super::users::{Done, read};
use crate::auth::revocation::unix_millis;
use crate::cluster::ask::Question;
use crate::error::{Error, ErrorCode};
use crate::relay::{Mark, MarkKind};

/// The end of year 9999, in seconds. Later ones were meant in milliseconds.
const LAST_SECOND: u64 = 253_402_300_799;
/// Longest `jti`, in bytes.
const MAX_TOKEN_ID_BYTES: usize = 256;

/// A token's id in the path, percent-decoded.
pub struct TokenPath(pub String);

/// Until when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"expires": 1_893_456_000}))]
pub struct Revoke {
    /// The token's `exp`, in seconds since 1970; if you don't know it, the
    /// latest that it may have. Until then it is refused.
    expires: u64,
}

// === impl TokenPath ===

impl FromRequestParts<ApiState> for TokenPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        let refuse = |words: &'static str| Error::new(ErrorCode::BadRequest, words).field("token");
        let Path(id) = Path::<String>::from_request_parts(parts, api)
            .await
            .map_err(|_| refuse("the token's id in the path is not UTF-8"))?;
        if id.is_empty() || id.len() > MAX_TOKEN_ID_BYTES {
            return Err(refuse("a token's id (its claim `jti`) has 1 to 256 bytes").into());
        }
        Ok(Self(id))
    }
}

/// Revoke a token
///
/// Closes the sessions that use a token, on every gateway, and refuses it
/// from now on, also on gateways that start later, until its own time is
/// over. The token is named by its claim `jti`, never sent itself. Clients
/// are told `token_revoked`; with another good token they may come back and
/// resume.
#[utoipa::path(
    post, path = "/v1/tokens/{token}/revoke", tag = "users", operation_id = "revokeToken",
    params(("token" = String, Path, description = "The token's claim `jti`, percent-encoded", example = "b1f7c2")),
    request_body = Revoke,
    responses((status = 200, description = "Done", body = Done), BodyRefusals),
)]
pub async fn revoke(
    State(api): State<ApiState>,
    caller: Caller,
    TokenPath(token): TokenPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    caller.check(Scope::Admin, None)?;
    if !caller.channels().is_empty() {
        let words = "a key that is limited to some channels can't revoke tokens, which may be \
            good for others; use one without `channels`";
        return Err(Error::new(ErrorCode::Forbidden, words).into());
    }
    let body = read(&api, &headers, body).await?;
    let Revoke { expires } = parse_json(&body)?;
    let until = until(expires, "expires")?;
    let mark = Mark { kind: MarkKind::Token, of: token, at: now(), until };
    Ok(Json(run(&api, mark).await?))
}

/// A time from a body, in milliseconds, and some more: clocks differ, and so
/// may what gateways give a token beyond its `exp`.
pub fn until(seconds: u64, field: &'static str) -> Result<u64, Error> {
    const MORE: u64 = 5 * 60 * 1_000;
    let refuse = |words: &'static str| Error::new(ErrorCode::BadRequest, words).field(field);
    if seconds > LAST_SECOND {
        return Err(refuse(
            "the time is after the year 9999; it is in seconds since 1970, not in milliseconds",
        ));
    }
    let until = seconds * 1_000 + MORE;
    if until <= now() {
        return Err(refuse(
            "the time is over already; it is in seconds since 1970, and a token whose `exp` is \
             over needs no revocation",
        ));
    }
    Ok(until)
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    unix_millis(std::time::SystemTime::now())
}

/// Lets the cluster keep a mark, and every gateway follow it.
pub async fn run(api: &ApiState, mark: Mark) -> Result<Done, Problem> {
    let most = api.limits.load().revocations;
    if api.auth.revocations().len() >= most {
        api.auth.revocations().purge();
    }
    if api.auth.revocations().len() >= most {
        let words = format!(
            "as many revocations as are remembered ({most}, limits.revocations) are in force; \
             nothing was done. Raise the limit on every gateway"
        );
        return Err(Error::new(ErrorCode::Unavailable, words).into());
    }
    let kept = api.relay.keep(&mark).await;
    // Also when it can't be kept: who is here goes at once.
    let answers = api.cluster.ask(Question::Revoke(mark)).await?;
    if let Err(error) = kept {
        let words = format!(
            "the gateways that are there follow it, but it can't be kept for those that start \
             later: {error}; repeat the call"
        );
        return Err(Error::new(ErrorCode::Unavailable, words).into());
    }
    Ok(Done::new(answers::count(&answers), answers::missing(&answers)))
}

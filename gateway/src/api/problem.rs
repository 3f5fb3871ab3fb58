//! Errors as HTTP answers: `application/problem+json`, RFC 9457.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::error::{Error, ErrorCode};
use crate::relay::RelayError;

/// Media type of every error's body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// After so many seconds a refused request may be tried again; the value of
/// `Retry-After` with every 503.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// What a 401 says of how to come back (RFC 9110, section 11.6.1).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"pushcluster\"");

/// An error as the HTTP API answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    error: Error,
    /// The status, where HTTP has one that is more exact than the code's own.
    status: StatusCode,
}

/// The error code of an answer, for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Refusal(pub ErrorCode);

/// What went wrong, and what to do (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of error; made of `code`.
    #[serde(rename = "type")]
    #[schema(example = "urn:pushcluster:error:channel_invalid")]
    kind: String,
    /// The kind of error in a few words, always the same for a code.
    #[schema(example = "Not a channel's name")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 400, minimum = 400, maximum = 599)]
    status: u16,
    /// What went wrong this time, and what to do.
    #[schema(example = "a channel's name is 201 bytes long; 200 at most")]
    detail: Cow<'static, str>,
    /// The error code, the same in every protocol.
    #[schema(schema_with = code_schema)]
    code: &'static str,
    /// Whether the same request may succeed later.
    #[schema(example = false)]
    retry: bool,
    /// The field or parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "channels[2]", nullable = false)]
    field: Option<Cow<'static, str>>,
}

/// The errors that any call of the API may answer, for its description.
pub struct Refusals;

/// The errors of a call that takes a body.
pub struct BodyRefusals;

// === impl Problem ===

impl Problem {
    /// An error with a status of its own.
    pub fn with_status(error: Error, status: StatusCode) -> Self {
        Self { error, status }
    }

    /// The request is not of the form that the call takes.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Error::new(ErrorCode::BadRequest, detail).into()
    }

    /// The error itself.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its JSON form.
    pub fn body(&self) -> ProblemBody {
        let code = self.error.code;
        ProblemBody {
            kind: format!("urn:pushcluster:error:{}", code.as_str()),
            title: title(code),
            status: self.status.as_u16(),
            detail: self.error.message.clone(),
            code: code.as_str(),
            retry: code.retry(),
            field: self.error.field.clone(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        // Every code's status is a valid one.
        let status =
            StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { error, status }
    }
}

impl From<RelayError> for Problem {
    fn from(error: RelayError) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response.extensions_mut().insert(Refusal(self.error.code));
        response
    }
}

/// A code in a few words.
const fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadRequest => "The request is not of the form that this call takes",
        ErrorCode::Unauthorized => "No valid API key",
        ErrorCode::TokenExpired => "The token's time is over",
        ErrorCode::TokenRevoked => "The token was revoked",
        ErrorCode::Forbidden => "Not allowed",
        ErrorCode::ChannelInvalid => "Not a channel's name",
        ErrorCode::EventInvalid => "Not an event's name",
        ErrorCode::EventReserved => "The event's name is reserved",
        ErrorCode::OffsetInvalid => "Not an offset",
        ErrorCode::NotFound => "No such thing",
        ErrorCode::MethodNotAllowed => "The path doesn't take this method",
        ErrorCode::PayloadTooLarge => "Larger than the limit",
        ErrorCode::NoHandler => "No handler for the event",
        ErrorCode::LimitConnections => "As many connections as allowed",
        ErrorCode::LimitSubscriptions => "As many subscriptions as allowed",
        ErrorCode::RateLimited => "Too many requests",
        ErrorCode::Unavailable => "Not available",
        ErrorCode::Internal => "A fault of the gateway's own",
    }
}

// === the errors in the API's description ===

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        described(&[
            (
                400,
                "The request is not of the form that this call takes; `field` names what is wrong",
            ),
            (401, "No API key, or one that isn't known"),
            (403, "The key doesn't allow this, or the `Host` is not this machine's"),
            (500, "A fault of the gateway's own"),
            (503, "Not now, or not in this version; `Retry-After` says when to try again"),
        ])
    }
}

impl IntoResponses for BodyRefusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let mut responses = Refusals::responses();
        responses.extend(described(&[
            (408, "The body did not arrive in time"),
            (413, "The body, or a publication in it, is larger than its limit"),
            (415, "The body is not `application/json`"),
        ]));
        responses
    }
}

/// One answer for each status, all of them problems.
fn described(list: &[(u16, &str)]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let answer = |words: &str| {
        let schema = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new().description(words).content(PROBLEM_JSON, content).build()
    };
    list.iter().map(|(status, words)| (status.to_string(), answer(words).into())).collect()
}

/// The list of codes.
fn code_schema() -> RefOr<utoipa::openapi::Schema> {
    let codes = ErrorCode::ALL.map(ErrorCode::as_str);
    let RefOr::T(utoipa::openapi::Schema::Object(mut object)) = String::schema() else {
        return String::schema();
    };
    object.enum_values = Some(codes.iter().map(|code| (*code).into()).collect());
    object.description = Some("The error code, the same in every protocol.".to_owned());
    object.examples = vec!["channel_invalid".into()];
    utoipa::openapi::Schema::Object(object).into()
}

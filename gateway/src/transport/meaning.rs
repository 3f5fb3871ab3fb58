//! Requests that two programs could read in two ways: one in front of the
//! gateway and the gateway would not agree for whom such a request is.
//!
//! That lengths differ or a header is folded is found by the parser before.
//! Of a length beside chunks the parser drops the length, as RFC 9112,
//! section 6.3, lets it.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, Version};

use super::request::{ResponseBody, problem};
use crate::error::{Error, ErrorCode};

/// What is in doubt.
pub fn doubt(version: Version, headers: &HeaderMap) -> Option<Error> {
    let bad = |words: &'static str| Some(Error::new(ErrorCode::BadRequest, words));
    // RFC 9112, section 3.2.
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => bad("there are two `Host` headers; send one"),
        (None, _) if version >= Version::HTTP_11 => bad("there is no `Host` header; send one"),
        _ => None,
    }
}

/// The answer. Nothing behind such a request is read: nobody knows where it
/// begins.
pub fn refuse(error: &Error) -> Response<ResponseBody> {
    let mut answer = problem(error);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests;

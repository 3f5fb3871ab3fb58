//! Which web pages may call: the `Origin` header, and what a browser asks
//! before (CORS), as the reference server's `cors` option answers it.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::request::{ResponseBody, response};

/// What an origin may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not a web page.
    NoOrigin,
    /// Any page may call: `*`.
    Any,
    /// This page may call.
    Listed(HeaderValue),
    /// This page may not.
    Refused,
}

/// Looks at a request's `Origin`.
pub fn judge(allowed: &[String], headers: &HeaderMap) -> Verdict {
    let Some(origin) = headers.get(header::ORIGIN) else { return Verdict::NoOrigin };
    let text = origin.to_str().unwrap_or_default();
    if allowed.iter().any(|entry| entry != "*" && entry.eq_ignore_ascii_case(text)) {
        return Verdict::Listed(origin.clone());
    }
    if allowed.iter().any(|entry| entry == "*") { Verdict::Any } else { Verdict::Refused }
}

// === impl Verdict ===

impl Verdict {
    /// Tells the browser.
    pub fn mark(&self, headers: &mut HeaderMap) {
        match self {
            Self::Any => {
                let any = HeaderValue::from_static("*");
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
            }
            Self::Listed(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                let allow = HeaderValue::from_static("true");
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allow);
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
            Self::NoOrigin | Self::Refused => {}
        }
    }

    /// The answer to a preflight.
    pub fn preflight(&self, request: &HeaderMap) -> Response<ResponseBody> {
        let mut answer = response(204, "text/plain", bytes::Bytes::new());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        self.mark(headers);
        if !matches!(self, Self::Refused) {
            let methods = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
                let vary = HeaderValue::from_static("Access-Control-Request-Headers");
                headers.append(header::VARY, vary);
            }
        }
        answer
    }
}

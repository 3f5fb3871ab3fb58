//! Which web pages may call: the `Origin` header, and what a browser asks
//! before (CORS), as the reference server's `cors` option answers it.
//!
//! The gateway sets no cookie and reads none, so a page of another origin has
//! nothing of the user's to abuse; the list keeps pages from using the
//! gateway at all.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::request::{ResponseBody, response};

#[cfg(test)]
mod tests;

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
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Verdict::NoOrigin };
    // No browser sends two.
    let text = if origins.next().is_none() { origin.to_str().unwrap_or_default() } else { "" };
    if allowed.iter().any(|entry| entry != "*" && is(entry, text)) {
        return Verdict::Listed(origin.clone());
    }
    if allowed.iter().any(|entry| entry == "*") { Verdict::Any } else { Verdict::Refused }
}

/// Whether an origin is the one of the list, or one under it:
/// `https://*.example.com`.
fn is(entry: &str, origin: &str) -> bool {
    let Some((scheme, parent)) = entry.split_once('*') else {
        return entry.eq_ignore_ascii_case(origin);
    };
    let (Some(begin), Some(rest)) = (origin.get(..scheme.len()), origin.get(scheme.len()..)) else {
        return false;
    };
    let Some(split) = rest.len().checked_sub(parent.len()) else { return false };
    let (Some(host), Some(end)) = (rest.get(..split), rest.get(split..)) else { return false };
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    begin.eq_ignore_ascii_case(scheme)
        && end.eq_ignore_ascii_case(parent)
        && host.split('.').all(label)
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
                // `null` is every page that likes to be it.
                if origin != "null" {
                    let allow = HeaderValue::from_static("true");
                    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allow);
                }
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
            Self::Refused => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
            Self::NoOrigin => {}
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

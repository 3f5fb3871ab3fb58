//! One list of errors for every protocol: Socket.IO acks and `CONNECT_ERROR`,
//! `/ws` errors, problem+json.

use std::borrow::Cow;
use std::fmt::Write as _;

#[cfg(test)]
mod tests;

/// What went wrong, as clients compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is not of the form that the call takes.
    BadRequest,
    /// No token or key, or one that isn't valid.
    Unauthorized,
    /// The token's time is over.
    TokenExpired,
    /// The token was revoked.
    TokenRevoked,
    /// The token or key is valid and doesn't allow this.
    Forbidden,
    /// Not a channel's name.
    ChannelInvalid,
    /// Not an event's name.
    EventInvalid,
    /// An event name that is the protocol's or the gateway's own.
    EventReserved,
    /// Not an offset.
    OffsetInvalid,
    /// No such thing.
    NotFound,
    /// The HTTP method isn't one that the path takes.
    MethodNotAllowed,
    /// Larger than the limit.
    PayloadTooLarge,
    /// No rule names a handler for the event.
    NoHandler,
    /// The gateway holds as many connections as it may.
    LimitConnections,
    /// The session holds as many subscriptions as it may.
    LimitSubscriptions,
    /// Too many requests.
    RateLimited,
    /// Not now, or not in this version.
    Unavailable,
    /// A fault of the gateway's own.
    Internal,
}

/// An error as a client sees it: what, why and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}", code = code.as_str())]
pub struct Error {
    /// What.
    pub code: ErrorCode,
    /// In words, with what to do.
    pub message: Cow<'static, str>,
    /// The field at fault, for problem+json.
    pub field: Option<Cow<'static, str>>,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// Every code, for the reference.
    pub const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::Forbidden,
        Self::ChannelInvalid,
        Self::EventInvalid,
        Self::EventReserved,
        Self::OffsetInvalid,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::PayloadTooLarge,
        Self::NoHandler,
        Self::LimitConnections,
        Self::LimitSubscriptions,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::Forbidden => "forbidden",
            Self::ChannelInvalid => "channel_invalid",
            Self::EventInvalid => "event_invalid",
            Self::EventReserved => "event_reserved",
            Self::OffsetInvalid => "offset_invalid",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::NoHandler => "no_handler",
            Self::LimitConnections => "limit_connections",
            Self::LimitSubscriptions => "limit_subscriptions",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later.
    pub const fn retry(self) -> bool {
        matches!(
            self,
            Self::LimitConnections | Self::RateLimited | Self::Unavailable | Self::Internal
        )
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::ChannelInvalid
            | Self::EventInvalid
            | Self::EventReserved
            | Self::OffsetInvalid => 400,
            Self::Unauthorized | Self::TokenExpired | Self::TokenRevoked => 401,
            Self::Forbidden => 403,
            Self::NotFound | Self::NoHandler => 404,
            Self::MethodNotAllowed => 405,
            Self::PayloadTooLarge => 413,
            Self::LimitSubscriptions | Self::RateLimited => 429,
            Self::LimitConnections | Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// What it means and what to do, for the reference.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::BadRequest => {
                "The request is not of the form that the call takes. Correct it; the message and \
                 `field` name what is wrong."
            }
            Self::Unauthorized => {
                "No token or API key, or one that isn't valid. A client gets a valid token from \
                 its app and connects anew; an app checks its key."
            }
            Self::TokenExpired => {
                "The token was valid and its time is over. Get a new one, then `refresh` or \
                 connect anew."
            }
            Self::TokenRevoked => {
                "An app revoked the token, or all tokens that its user had. Get a new one and \
                 connect anew; if that is refused too, the user is to stay out."
            }
            Self::Forbidden => {
                "The token, key or web origin is known and may not do this. Change the token's \
                 claim `channels`, the key's `scopes` and `channels`, the channel's rule, or \
                 `client.allowedOrigins`."
            }
            Self::ChannelInvalid => {
                "Not a channel's name: 1 to 200 bytes of UTF-8 without control characters."
            }
            Self::EventInvalid => "Not an event's name: 1 to 200 bytes without control characters.",
            Self::EventReserved => {
                "The event's name is Socket.IO's (`connect`, `disconnect`, …) or the gateway's \
                 (`push:…`). Choose another."
            }
            Self::OffsetInvalid => {
                "Not an offset. Pass one that a gateway gave, unchanged; or begin without one."
            }
            Self::NotFound => {
                "No such path, no such subscription, or a channel without history. The message \
                 says which."
            }
            Self::MethodNotAllowed => {
                "The path takes another HTTP method; the header `Allow` of the API and the admin \
                 listener says which."
            }
            Self::PayloadTooLarge => {
                "Larger than a limit. Send less, or raise the setting that the message names."
            }
            Self::NoHandler => {
                "A Socket.IO event with an ack that nothing answers. Clients publish with \
                 `push:publish`; no other event has a receiver in this version."
            }
            Self::LimitConnections => {
                "The gateway, the address or the user has as many connections as it may, too \
                 many come at once, memory is short, or the gateway drains; the message names the \
                 setting. Wait and try again; another gateway may have room."
            }
            Self::LimitSubscriptions => {
                "The session holds as many subscriptions as it may (`limits.subscriptions`). \
                 Unsubscribe from some, or open another connection."
            }
            Self::RateLimited => {
                "More than a limit allows: messages or bytes of a connection \
                 (`limits.messagesPerSecond`, `limits.bytesPerSecond`), or new connections of an \
                 address (`limits.connectRatePerAddress`). Send less; wait and try again."
            }
            Self::Unavailable => {
                "Not now: the gateway stops, is behind, or can't reach the token issuer. Wait and \
                 try again. Where the message says `not available in this version`, don't."
            }
            Self::Internal => {
                "A fault of the gateway's own. Try again; if it stays, report it with the \
                 gateway's log."
            }
        }
    }
}

/// Every code as a Markdown table; `docs/errors.md` holds it.
pub fn reference() -> String {
    let mut table = String::from("| Code | Retry | HTTP | What to do |\n|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let again = if code.retry() { "yes" } else { "no" };
        // Writing into a String does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {again} | {} | {} |",
            code.as_str(),
            code.status(),
            code.advice(),
        );
    }
    table
}

/// What is wrong with a JSON text's form, without repeating what stands
/// there: it may be a token, or what somebody publishes.
pub fn form(error: &serde_json::Error) -> String {
    let words = error.to_string();
    for (begin, end, instead) in [
        ("string \"", "\", expected", "a string"),
        ("unknown variant `", "`, expected", "another word"),
    ] {
        if let Some(from) = words.find(begin)
            && let Some(to) = words.rfind(end)
            && from < to
        {
            return format!("{}{instead}{}", &words[..from], &words[to + 1..]);
        }
    }
    words
}

// === impl Error ===

impl Error {
    /// An error with its words.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// The same, naming the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// `{"code":…,"message":…,"retry":…}`, the form of acks, `/ws` and
    /// `CONNECT_ERROR`'s `data`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code.as_str(),
            "message": self.message,
            "retry": self.code.retry(),
        })
    }
}

impl From<crate::channel::ChannelError> for Error {
    fn from(error: crate::channel::ChannelError) -> Self {
        Self::new(ErrorCode::ChannelInvalid, error.to_string()).field("channel")
    }
}

impl From<crate::offset::OffsetError> for Error {
    fn from(error: crate::offset::OffsetError) -> Self {
        Self::new(ErrorCode::OffsetInvalid, error.to_string()).field("since")
    }
}

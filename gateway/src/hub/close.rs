//! Why connections end.

/// Why a connection ends. The name is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The socket was closed by the other side.
    TransportClose,
    /// The socket failed.
    TransportError,
    /// The client said goodbye.
    ClientClose,
    /// No answer to a ping.
    PingTimeout,
    /// Bytes that aren't the protocol's.
    ParseError,
    /// Joined no namespace in time.
    ConnectTimeout,
    /// The gateway closes it: a protocol rule or an operator's word.
    ForcedClose,
    /// Too much waited for it.
    SlowConsumer,
    /// The gateway drains.
    Drain,
    /// Another connection took the session over.
    Fenced,
    /// The token's time is over.
    TokenExpired,
    /// The token was revoked.
    TokenRevoked,
    /// What it missed can't be had any more, or not now.
    Resync,
    /// It sends more than it may, and doesn't stop.
    RateLimited,
    /// A fault of the gateway's own.
    Panic,
}

// === impl CloseReason ===

impl CloseReason {
    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TransportClose => "transport_close",
            Self::TransportError => "transport_error",
            Self::ClientClose => "client_close",
            Self::PingTimeout => "ping_timeout",
            Self::ParseError => "parse_error",
            Self::ConnectTimeout => "connect_timeout",
            Self::ForcedClose => "forced_close",
            Self::SlowConsumer => "slow_consumer",
            Self::Drain => "drain",
            Self::Fenced => "fenced",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::Resync => "resync",
            Self::RateLimited => "rate_limited",
            Self::Panic => "panic",
        }
    }
}

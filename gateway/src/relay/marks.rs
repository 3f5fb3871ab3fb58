//! What the cluster remembers for a while of tokens and users: which tokens
//! are refused though their time isn't over, which sessions nobody gets back.

use serde::{Deserialize, Serialize};

/// One thing to remember until its time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// What is refused.
    pub kind: MarkKind,
    /// The token's id, or the user.
    pub of: String,
    /// When it was made, in milliseconds since 1970: what is older is refused.
    pub at: u64,
    /// How long it holds, in milliseconds since 1970.
    pub until: u64,
}

/// What a mark refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MarkKind {
    /// One token, by its `jti`.
    Token,
    /// All of a user's tokens that were issued before.
    User,
    /// All of a user's sessions that began before: nobody recovers them.
    Sessions,
}

// === impl Mark ===

impl Mark {
    /// Both at once: nothing that one of them refuses is let in.
    #[must_use]
    pub fn joined(mut self, other: &Self) -> Self {
        self.at = self.at.max(other.at);
        self.until = self.until.max(other.until);
        self
    }
}

// === impl MarkKind ===

impl MarkKind {
    /// A word for names of keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::User => "user",
            Self::Sessions => "sessions",
        }
    }
}

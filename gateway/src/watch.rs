//! Users whose doings are logged for a while, for whoever looks for a fault.
//! What they publish or get is not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::error::{Error, ErrorCode};

#[cfg(test)]
mod tests;

/// Users that may be watched at once, so that a log stays one.
const MOST: usize = 100;
/// How long a user may be watched at a time.
pub const LONGEST: Duration = Duration::from_hours(24);

/// Who is watched, and until when.
#[derive(Debug, Default)]
pub struct Watched {
    /// Read at every connect and subscribe, and mostly empty.
    users: ArcSwap<HashMap<Box<str>, Instant>>,
}

// === impl Watched ===

impl Watched {
    /// Watches a user for so long; zero ends it.
    ///
    /// Errors: `unavailable` when as many are watched as may be.
    pub fn watch(&self, user: &str, period: Duration) -> Result<(), Error> {
        let now = Instant::now();
        let mut users = HashMap::clone(&self.users.load());
        users.retain(|_, until| *until > now);
        if period.is_zero() {
            users.remove(user);
        } else {
            users.insert(user.into(), now + period.min(LONGEST));
        }
        if users.len() > MOST {
            return Err(Error::new(
                ErrorCode::Unavailable,
                format!("{MOST} users are watched already; end one with `seconds: 0`"),
            ));
        }
        tracing::info!(user, seconds = period.as_secs(), "a user is watched");
        // Two calls at once: the later one's list holds, as if it had been
        // alone. Whoever asks sees it in the log.
        self.users.store(users.into());
        Ok(())
    }

    /// Whether a user is watched now.
    pub fn is(&self, user: Option<&str>) -> bool {
        let users = self.users.load();
        if users.is_empty() {
            return false;
        }
        user.and_then(|user| users.get(user)).is_some_and(|until| *until > Instant::now())
    }

    /// Says why a user is refused, if it is watched.
    pub fn refused(&self, user: Option<&str>, protocol: &str, error: &Error) {
        if self.is(user) {
            let code = error.code.as_str();
            tracing::info!(user, protocol, code, "a watched user is refused: {}", error.message);
        }
    }
}

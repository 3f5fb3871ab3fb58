//! How long a test waits before it gives up.

use std::future::Future;
use std::time::Duration;

/// Longest wait for something that must happen. Generous: on a busy machine a
/// test must fail for what the gateway does, not for how fast it does it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test listens before it believes that nothing comes.
pub const QUIET: Duration = Duration::from_millis(300);

/// Waits for something that must happen.
///
/// # Panics
///
/// After [`PATIENCE`], naming what was waited for.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Listens for a moment: true when nothing came.
///
/// It proves little about what comes later, so use it only where the wrong
/// thing would come at once.
pub async fn quiet<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(QUIET, future).await.is_err()
}

/// Asks again and again until the answer is yes.
///
/// # Panics
///
/// After [`PATIENCE`], naming what was waited for.
pub async fn eventually<F, Fut>(what: &str, mut ask: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    patiently(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

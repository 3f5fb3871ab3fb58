//! The token of the admin listener: read from a file, and read again when
//! that has changed.
//!
//! It is looked at when a request comes, so that it holds from the first
//! moment to the last, also while the gateway waits for NATS. Kubernetes
//! updates a mounted file by swapping a directory; reading finds that, too.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::http::HeaderMap;

use crate::auth::keys::bearer;
use crate::error::{Error, ErrorCode};
use crate::metrics::{Metrics, OutcomeLabel};

#[cfg(test)]
mod tests;

/// The file is read again after so long, when somebody asks.
const FRESH: Duration = Duration::from_secs(1);

/// Who may ask the admin listener for more than health and metrics.
pub struct AdminToken {
    path: PathBuf,
    metrics: Metrics,
    known: ArcSwap<Known>,
}

/// The file at the last look.
struct Known {
    at: Instant,
    /// Digests: of one length, so that comparing says nothing of the tokens'.
    tokens: Vec<Digest>,
    /// Why the file is not what is in force, as it was last said.
    refused: Option<String>,
}

/// Why a file has no token.
#[derive(Debug, thiserror::Error)]
#[error("can't read a token from {path}: {why}; check `admin.tokenFile`")]
pub struct TokenError {
    path: PathBuf,
    why: String,
}

// === impl AdminToken ===

impl AdminToken {
    /// Reads the file for the first time.
    pub fn open(path: &Path, metrics: Metrics) -> Result<Self, TokenError> {
        let content = std::fs::read(path).map_err(|error| error.to_string());
        let tokens = content
            .and_then(|content| tokens(&content))
            .map_err(|why| TokenError { path: path.to_owned(), why })?;
        let known = ArcSwap::from_pointee(Known { at: Instant::now(), tokens, refused: None });
        Ok(Self { path: path.to_owned(), metrics, known })
    }

    /// Whether a request carries the token.
    ///
    /// Errors: `unauthorized` without it, or with another one.
    pub async fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        self.look().await;
        let Some(presented) = bearer(headers) else {
            return Err(Error::new(
                ErrorCode::Unauthorized,
                "this needs the token in the file that `admin.tokenFile` names; send `Authorization: Bearer <token>`",
            ));
        };
        let presented = digest(&SHA256, presented);
        let known = self.known.load();
        // All are compared, so that the time says nothing of which was near.
        let fitting = known.tokens.iter().fold(false, |found, token| {
            found | verify_slices_are_equal(token.as_ref(), presented.as_ref()).is_ok()
        });
        if fitting {
            return Ok(());
        }
        let words = "this is not the token in the file that `admin.tokenFile` names";
        Err(Error::new(ErrorCode::Unauthorized, words))
    }

    /// Reads the file again, unless that was just done.
    async fn look(&self) {
        let known = self.known.load_full();
        if known.at.elapsed() < FRESH {
            return;
        }
        let content = tokio::fs::read(&self.path).await.map_err(|error| error.to_string());
        let next = match content.and_then(|content| tokens(&content)) {
            Ok(tokens) => {
                let same = tokens.len() == known.tokens.len()
                    && tokens.iter().zip(&known.tokens).all(|(a, b)| a.as_ref() == b.as_ref());
                if !same {
                    tracing::info!("the admin listener's token has changed");
                    self.count("applied");
                }
                Known { at: Instant::now(), tokens, refused: None }
            }
            Err(why) => {
                if known.refused.as_deref() != Some(&why) {
                    tracing::warn!(
                        "the admin listener's token can't be read again, the old one stays: {}: {why}",
                        self.path.display()
                    );
                    self.count("refused");
                }
                Known { at: Instant::now(), tokens: known.tokens.clone(), refused: Some(why) }
            }
        };
        self.known.store(next.into());
    }

    fn count(&self, outcome: &'static str) {
        self.metrics.config_reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

/// One a line, so that an old and a new one can be good at the same time.
fn tokens(content: &[u8]) -> Result<Vec<Digest>, String> {
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let tokens: Vec<_> =
        lines.filter(|line| !line.is_empty()).map(|line| digest(&SHA256, line)).collect();
    if tokens.is_empty() {
        return Err(
            "the file is empty; write a token into it, as from `openssl rand -hex 32`".into()
        );
    }
    Ok(tokens)
}

//! Channel rules that change while the gateway runs: the stream follows them,
//! and channels go over to where they come from then.
//!
//! What the stream covers decides where a channel comes from, and who changes
//! the stream says so on `P.ctl.stream`: a gateway whose own configuration is
//! still the old one must know it too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::api::{ApiError, StreamConfig, StreamInfo};
use super::connect::ConnectError;
use super::{JetStreamRelay, kept_by, stream};
use crate::rules::Rules;

/// Time between two looks at the rules.
const EVERY: Duration = Duration::from_secs(1);
/// How long the others have to subscribe to what the stream will not have.
const NOTICE: Duration = Duration::from_millis(500);
/// How long a change that was announced may take before the stream is asked.
const CHANGE: Duration = Duration::from_secs(5);
/// Time between two attempts to ask for the stream's end.
const RETRY: Duration = Duration::from_millis(250);

/// What holds for the relay: rules for which the stream was made ready, and
/// what it covers.
pub struct Effective {
    pub rules: Arc<Rules>,
    pub coverage: Coverage,
}

/// What the stream stores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Channels as subjects, with wildcards.
    subjects: Vec<String>,
    /// A sequence after which it holds.
    since: u64,
    /// What it will store in a moment.
    coming: Option<Vec<String>>,
}

/// What is said on `P.ctl.stream`.
#[derive(Serialize, Deserialize)]
struct News {
    /// The stream's subjects.
    subjects: Vec<String>,
    /// They hold after this sequence. Absent: in a moment.
    since: Option<u64>,
}

// === impl Effective ===

impl Effective {
    /// Whether a channel, given as a subject, comes from the feed.
    pub fn by_feed(&self, subject: &str) -> bool {
        kept_by(&self.rules.of_subject(subject)).is_some() && self.coverage.has(subject)
    }
}

// === impl Coverage ===

impl Coverage {
    /// Whether the stream has a channel, and will have it.
    pub fn has(&self, subject: &str) -> bool {
        let any = |subjects: &[String]| subjects.iter().any(|ours| stream::covers(ours, subject));
        any(&self.subjects) && self.coming.as_deref().is_none_or(any)
    }
}

// === impl JetStreamRelay ===

impl JetStreamRelay {
    /// Brings the stream in line with the rules, as soon as they change; and
    /// hears what other gateways do with it.
    pub(super) async fn follow_rules(&self, mut news: Subscriber) {
        let mut look = tokio::time::interval(EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut coming: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if let Err(error) = self.apply_rules().await {
                        tracing::warn!(%error, "the stream doesn't follow the new channel rules");
                    }
                    if coming.is_some_and(|since| since.elapsed() >= CHANGE)
                        && let Ok(info) = self.api.info(&self.stream).await
                    {
                        coming = None;
                        self.retake(None, Some(self.coverage_of(&info)));
                    }
                }
                Some(message) = news.next() => {
                    let Ok(news) = serde_json::from_slice::<News>(&message.payload) else { continue };
                    self.doubt_limit();
                    let before = self.effective.load().coverage.clone();
                    let after = if let Some(since) = news.since {
                        coming = None;
                        Coverage { subjects: news.subjects, since, coming: None }
                    } else {
                        coming = Some(Instant::now());
                        Coverage { coming: Some(news.subjects), ..before }
                    };
                    self.retake(None, Some(after));
                }
            }
        }
    }

    /// Asks where the stream ends, for channels that go over to the feed.
    pub(super) async fn follow_cuts(&self) {
        loop {
            let Some(due) = self.crossings.cut_due() else {
                self.cut.notified().await;
                continue;
            };
            tokio::time::sleep_until(due.into()).await;
            let asked = Instant::now();
            match self.api.info(&self.stream).await {
                Ok(info) => self.crossings.cut(info.state.last_seq, asked),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Brings the stream in line with the rules, if they are other ones than
    /// before.
    pub(super) async fn apply_rules(&self) -> Result<(), ConnectError> {
        let changed = |rules: &Arc<Rules>| !Arc::ptr_eq(&self.effective.load().rules, rules);
        if !changed(&self.rules.load()) {
            return Ok(());
        }
        let _alone = self.applying.lock().await;
        let rules = self.rules.load_full();
        if !changed(&rules) {
            return Ok(());
        }
        let wanted = stream::wanted(&self.subjects, &rules);
        let info = match stream::look(&self.api, &wanted).await {
            Ok(stream::Found::Ready(info)) => Ok(*info),
            Ok(stream::Found::Older { now, update }) => {
                self.update(&now, &update).await.map_err(ConnectError::from)
            }
            Err(error) => Err(error),
        };
        match info {
            Err(error) if error.passes() => Err(error),
            Err(error) => {
                self.retake(Some(rules), None);
                Err(error)
            }
            Ok(info) => {
                self.note_limit(&info.config);
                self.retake(Some(rules), Some(self.coverage_of(&info)));
                Ok(())
            }
        }
    }

    /// Changes the stream. Who is subscribed to what it will not have any
    /// more hears of it before.
    async fn update(
        &self,
        now: &StreamConfig,
        update: &StreamConfig,
    ) -> Result<StreamInfo, ApiError> {
        let subjects = self.channels_of(update);
        let narrower = self
            .channels_of(now)
            .iter()
            .any(|old| !subjects.iter().any(|new| stream::covers(new, old)));
        if narrower {
            let before = self.effective.load().coverage.clone();
            self.say(&News { subjects: subjects.clone(), since: None }).await;
            self.retake(None, Some(Coverage { coming: Some(subjects.clone()), ..before }));
            tokio::time::sleep(NOTICE).await;
        }
        let info = self.api.update(update).await?;
        self.say(&News { subjects, since: Some(info.state.last_seq) }).await;
        Ok(info)
    }

    async fn say(&self, news: &News) {
        let Ok(json) = serde_json::to_vec(news) else { return };
        // Who doesn't hear it sees it at its next look at the stream.
        let say = self.api.client().publish(self.subjects.news(), json.into());
        let _ = tokio::time::timeout(NOTICE, say).await;
    }

    /// The stream was looked at: it may have been changed unheard.
    pub(super) fn note_stream(&self, info: &StreamInfo) {
        self.note_limit(&info.config);
        let found = self.coverage_of(info);
        let known = self.effective.load().coverage.clone();
        if known.coming.is_none() && known.subjects != found.subjects {
            self.retake(None, Some(found));
        }
    }

    /// From here on other rules hold, or another stream. Channels that come
    /// from elsewhere then begin to go over.
    fn retake(&self, rules: Option<Arc<Rules>>, coverage: Option<Coverage>) {
        let mut interests = self.interests.lock();
        let before = self.effective.load_full();
        let after = Arc::new(Effective {
            rules: rules.unwrap_or_else(|| before.rules.clone()),
            coverage: coverage.unwrap_or_else(|| before.coverage.clone()),
        });
        // They overrule what follows.
        interests.cross(&after, &self.crossings);
        self.effective.store(after.clone());
        drop(interests);
        if !Arc::ptr_eq(&before.rules, &after.rules) {
            // It left out what had no history then.
            self.ring.forget();
        }
        self.interests.wake();
        self.cut.notify_one();
    }

    /// Whether the feed has brought all that the stream will ever have of a
    /// channel that leaves it.
    pub(super) fn is_complete(&self, subject: &str) -> bool {
        let effective = self.effective.load();
        let coverage = &effective.coverage;
        let covers = |ours: &String| stream::covers(ours, subject);
        if coverage.coming.is_some() {
            // It may have it for a moment yet.
            return false;
        }
        coverage.subjects.iter().any(covers) || self.ring.head().sequence >= coverage.since
    }

    pub(super) fn coverage_of(&self, info: &StreamInfo) -> Coverage {
        Coverage {
            subjects: self.channels_of(&info.config),
            since: info.state.last_seq,
            coming: None,
        }
    }

    fn channels_of(&self, config: &StreamConfig) -> Vec<String> {
        let channels =
            config.subjects.iter().filter_map(|subject| self.subjects.channel_of(subject));
        channels.map(str::to_owned).collect()
    }
}

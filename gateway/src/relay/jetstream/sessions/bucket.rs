//! A key-value bucket, as NATS clients of every language know it (`nats kv`
//! reads it).

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::relay::jetstream::api::{Api, ApiError, Get, Stored};

/// How long the mark of a deleted record stays, in seconds.
const TOMBSTONE_TTL: &str = "60";

/// A bucket.
pub struct Bucket {
    api: Api,
    stream: String,
    prefix: String,
}

/// A value, and the revision that wrote it.
pub struct Found {
    pub revision: u64,
    pub value: Bytes,
}

// === impl Bucket ===

impl Bucket {
    pub fn new(api: Api, name: &str) -> Self {
        Self { api, stream: format!("KV_{name}"), prefix: format!("$KV.{name}.") }
    }

    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Makes the bucket if there is none.
    pub async fn ensure(&self, replicas: usize) -> Result<(), ApiError> {
        match self.api.info(&self.stream).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_no_stream() => {}
            Err(error) => return Err(error),
        }
        let config = serde_json::json!({
            "name": self.stream,
            "subjects": [format!("{}>", self.prefix)],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": replicas,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msgs_per_subject": 1,
            "max_age": 0,
            "duplicate_window": 120_000_000_000_u64,
            "allow_direct": true,
            "allow_msg_ttl": true,
            "allow_rollup_hdrs": true,
            "deny_delete": true,
        });
        match self.api.create_raw(&self.stream, &config).await {
            Ok(()) => Ok(()),
            // Another gateway was first.
            Err(ApiError::Refused { .. }) => self.api.info(&self.stream).await.map(drop),
            Err(error) => Err(error),
        }
    }

    /// Writes; with a revision, only over it. `ttl`: milliseconds.
    pub async fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<u64>,
        revision: Option<u64>,
    ) -> Result<u64, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(ttl) = ttl {
            headers.insert("Nats-TTL", ttl.div_ceil(1_000).max(1).to_string().as_str());
        }
        if let Some(revision) = revision {
            expecting(&mut headers, revision);
        }
        let ack = self.api.publish(format!("{}{key}", self.prefix), headers, value).await?;
        Ok(ack.seq)
    }

    /// Deletes what a revision wrote. A mark stays for a minute.
    pub async fn delete(&self, key: &str, revision: u64) -> Result<(), ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        headers.insert("Nats-TTL", TOMBSTONE_TTL);
        expecting(&mut headers, revision);
        self.api.publish(format!("{}{key}", self.prefix), headers, Bytes::new()).await.map(drop)
    }

    /// A value, of some replica if it has one. One that is behind costs a
    /// second question, never a wrong answer: what is written over a value
    /// must name its revision, and that there is none only the leader may say.
    pub async fn get(&self, key: &str) -> Result<Option<Found>, ApiError> {
        let subject = format!("{}{key}", self.prefix);
        match self.api.last_of(&self.stream, &subject).await.map(|stored| stored.and_then(found)) {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) | Err(_) => self.get_from_leader(key).await,
        }
    }

    /// A value as the leader has it.
    pub async fn get_from_leader(&self, key: &str) -> Result<Option<Found>, ApiError> {
        let subject = format!("{}{key}", self.prefix);
        let get = Get { last_by_subj: Some(&subject), ..Get::default() };
        Ok(self.api.get_from_leader(&self.stream, &get).await?.and_then(found))
    }

    /// Keys from a revision on, with their values, in the order of their
    /// revisions.
    pub async fn page(
        &self,
        from: u64,
        keys: &str,
        count: usize,
    ) -> Result<(Vec<(String, Found)>, Option<u64>), ApiError> {
        let filter = format!("{}{keys}", self.prefix);
        let batch = self.api.batch(&self.stream, from, &filter, count).await?;
        let next = batch.last().map(|last| last.sequence + 1);
        let entries = batch.into_iter().filter_map(|stored| {
            let key = stored.subject.strip_prefix(&self.prefix)?.to_owned();
            Some((key, found(stored)?))
        });
        Ok((entries.collect(), next))
    }
}

/// None: it was deleted.
fn found(stored: Stored) -> Option<Found> {
    let operation = stored.headers.as_ref().and_then(|headers| headers.get_last("KV-Operation"));
    operation.is_none().then_some(Found { revision: stored.sequence, value: stored.payload })
}

/// With headers that make a write one of this revision only.
fn expecting(headers: &mut HeaderMap, revision: u64) {
    headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string().as_str());
}

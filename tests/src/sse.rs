//! A reader of `/sse`, by the rules of the HTML standard ("Server-sent
//! events", interpreting an event stream).

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;

use crate::http::{Reply, client};
use crate::patience::patiently;

/// Headers of a client that doesn't insist on an event stream: it is refused
/// by the answer's status.
pub const ANYTHING: [(&str, &str); 1] = [("accept", "*/*")];

/// An open event stream.
pub struct Sse {
    chunks: BoxStream<'static, Result<bytes::Bytes, reqwest::Error>>,
    buffer: Vec<u8>,
    /// The last `id:` seen, which a browser would send as `Last-Event-ID`.
    pub last_event_id: Option<String>,
    /// The answer's headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// What a block of lines said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// `id:`
    pub id: Option<String>,
    /// `event:`
    pub event: Option<String>,
    /// `data:`, lines joined by a newline.
    pub data: Option<String>,
    /// `retry:`
    pub retry: Option<String>,
    /// Lines that begin with a colon.
    pub comments: Vec<String>,
}

// === impl Sse ===

impl Sse {
    /// Opens a stream; the answer, when it isn't one.
    ///
    /// # Panics
    ///
    /// When there is no answer at all.
    pub async fn open(url: &str, headers: &[(&str, &str)]) -> Result<Self, Reply> {
        // The answer never ends, so there is no limit of time.
        let mut request = client().get(url);
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", "text/event-stream");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = patiently("an event stream's head", request.send())
            .await
            .unwrap_or_else(|error| panic!("no answer: {error:?}"));
        let status = response.status().as_u16();
        let headers: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let is_stream = headers
            .iter()
            .any(|(name, value)| name == "content-type" && value.starts_with("text/event-stream"));
        if status != 200 || !is_stream {
            let body = patiently("an answer's body", response.bytes())
                .await
                .map(|body| body.to_vec())
                .unwrap_or_default();
            return Err(Reply { status, headers, body });
        }
        let chunks = response.bytes_stream().boxed();
        Ok(Self { chunks, buffer: Vec::new(), last_event_id: None, headers })
    }

    /// The next block of lines, whatever it holds; none at the end.
    ///
    /// # Panics
    ///
    /// When nothing comes, or it isn't UTF-8.
    pub async fn block(&mut self) -> Option<Block> {
        patiently("an event", self.listen()).await
    }

    /// The same without a limit of time, for use with `quiet`.
    ///
    /// # Panics
    ///
    /// When what comes isn't UTF-8.
    pub async fn listen(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let block = Block::parse(std::str::from_utf8(&text).expect("UTF-8"));
                if block.id.is_some() {
                    self.last_event_id.clone_from(&block.id);
                }
                return Some(block);
            }
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next block with `data:`: comments and resume points are skipped.
    ///
    /// # Panics
    ///
    /// When the stream ends or nothing comes.
    pub async fn event(&mut self) -> Block {
        loop {
            let block = self.block().await.expect("the stream goes on");
            if block.data.is_some() {
                return block;
            }
        }
    }
}

// === impl Block ===

impl Block {
    /// `data:` as JSON.
    ///
    /// # Panics
    ///
    /// When it isn't.
    pub fn json(&self) -> Value {
        let data = self.data.as_deref().unwrap_or_default();
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{data:?}: {error}"))
    }

    fn parse(text: &str) -> Self {
        let mut block = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "" if line.starts_with(':') => block.comments.push(value),
                "id" => block.id = Some(value),
                "event" => block.event = Some(value),
                "retry" => block.retry = Some(value),
                "data" => match &mut block.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(&value);
                    }
                    None => block.data = Some(value),
                },
                _ => (),
            }
        }
        block
    }
}

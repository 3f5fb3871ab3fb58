//! What a publication carries: whose it is, and when it was due.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The form of one run's publications: `{"bench":"RUN","due":MICROSECONDS,"pad":"…"}`.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    /// All up to the number. Nothing else that is published begins so.
    mark: Arc<str>,
    size: usize,
    /// The run's begin; `due` counts from here.
    begun: Instant,
}

// === impl Stamp ===

impl Stamp {
    /// Of a new run, with so many bytes of data.
    pub(super) fn new(size: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = format!("{:x}-{:x}", now.as_micros(), std::process::id());
        Self { mark: format!(r#"{{"bench":"{run}","due":"#).into(), size, begun: Instant::now() }
    }

    /// The data of a publication that is due now or was due at `due`.
    pub(super) fn data(&self, due: Instant) -> String {
        let due = due.saturating_duration_since(self.begun).as_micros();
        let mut data = format!(r#"{}{due},"pad":""#, self.mark);
        let end = r#""}"#;
        let pad = self.size.saturating_sub(data.len() + end.len());
        data.extend(std::iter::repeat_n('.', pad));
        data.push_str(end);
        data
    }

    /// How long after it was due each publication in these bytes has come.
    pub(super) fn delays(&self, bytes: &[u8], mut tell: impl FnMut(Duration)) {
        let now = self.begun.elapsed();
        let mark = self.mark.as_bytes();
        let mut rest = bytes;
        while let Some(at) = find(rest, mark) {
            rest = &rest[at + mark.len()..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            let due = digits.fold(0_u64, |sum, byte| {
                sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'))
            });
            tell(now.saturating_sub(Duration::from_micros(due)));
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

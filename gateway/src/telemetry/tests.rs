#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log(level: &str, format: LogFormat) -> Log {
    Log { level: level.to_owned(), format }
}

#[test]
fn json_lines_are_objects_and_the_level_can_change() {
    let lines = Lines::default();
    let writer = lines.clone();
    let (subscriber, handle) =
        subscriber(&log("warn", LogFormat::Json), false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("not yet");
        handle.set_level("info").unwrap();
        tracing::info!(channel = "orders.eu", "published");
        assert!(handle.set_level("gateway=loud").is_err());
        tracing::info!("still here");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2, "{text}");
    assert_eq!(events[0]["message"], "published");
    assert_eq!(events[0]["channel"], "orders.eu");
    assert_eq!(events[0]["level"], "INFO");
}

#[test]
fn text_lines_have_no_colour_in_a_file() {
    let lines = Lines::default();
    let writer = lines.clone();
    let (subscriber, _handle) =
        subscriber(&log("info", LogFormat::Text), false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || tracing::warn!("slow"));
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("WARN") && text.contains("slow") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_level_that_is_none_is_refused() {
    assert!(subscriber(&log("gateway=loud", LogFormat::Text), false, std::io::stderr).is_err());
}

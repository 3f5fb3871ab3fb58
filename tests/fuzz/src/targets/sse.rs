//! Event streams, read as the HTML standard says a browser does: a
//! publication is one event, whatever is in it.

use bytes::Bytes;
use gateway::channel::Channel;
use gateway::protocol::sse;
use gateway::publication::{Args, Publication, Value, check_event};
use serde_json::value::RawValue;

use super::Target;
use crate::input::Input;

pub(super) const TARGET: Target =
    Target { name: "sse", planted: "a carriage return in the data is left as it is", check };

fn check(data: &[u8], planted: bool) {
    let mut input = Input::new(data);
    let (channel, event, offset) = (input.text(), input.text(), input.text());
    let json = input.text();
    comment(event);
    let Ok(name) = Channel::new(channel) else { return };
    if check_event(event).is_err() {
        return;
    }
    let Ok(raw) = serde_json::from_str::<&RawValue>(json) else { return };
    let publication = Publication {
        channel: name,
        event: event.into(),
        args: Args::from_iter([Value::Json(Bytes::copy_from_slice(raw.get().as_bytes()))]),
        spread: false,
        id: None,
        time: 0,
        position: None,
        except: Vec::new(),
    };
    let offset = Some(offset).filter(|offset| !offset.is_empty() && !offset.contains('\0'));
    let mut stream = sse::publication(&publication, offset).to_vec();
    if planted && let Some(at) = raw.get().find('\r') {
        let start = stream.len() - 3 - raw.get().len();
        stream[start + at] = b'\r';
    }
    let one_line = |text: &str| text.replace(['\n', '\r'], " ");
    let expected = Event {
        id: offset.map(one_line),
        kind: event.to_owned(),
        data: format!(
            r#"{{"channel":{},"data":{}}}"#,
            serde_json::to_string(channel).unwrap(),
            one_line(raw.get())
        ),
    };
    assert_eq!(read(&stream), [expected]);
}

fn comment(text: &str) {
    assert_eq!(read(&sse::comment(text)), []);
}

#[derive(Debug, Default, PartialEq)]
struct Event {
    id: Option<String>,
    kind: String,
    data: String,
}

/// HTML standard, 9.2.6.
fn read(stream: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(stream).expect("a stream is UTF-8");
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    assert!(text.ends_with("\n\n"), "it ends where an event may end");
    let mut events = Vec::new();
    let mut event = Event::default();
    let mut lines = 0;
    for line in text.split('\n') {
        if line.is_empty() {
            if lines > 0 {
                events.push(std::mem::take(&mut event));
            }
            lines = 0;
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => continue,
            "id" => event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut event.kind),
            "data" => event.data.push_str(value),
            other => panic!("a field `{other}`"),
        }
        lines += 1;
    }
    events
}

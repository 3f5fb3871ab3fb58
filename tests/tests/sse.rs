//! `/sse`: Server-Sent Events.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::process::Stdio;

use serde_json::json;
use tests::api::{metric, publish, say};
use tests::http::{request, send};
use tests::patience::eventually;
use tests::plain::Plain;
use tests::sse::{ANYTHING, Sse};
use tests::token::{AUTH, grants};
use tests::{Gateway, patiently};
use tokio::io::{AsyncBufReadExt, BufReader};

const CONFIG: &str = "channels: [{match: \"log.>\", history: {maxMessages: 100, maxAge: 1h}}]";

fn url(gateway: &Gateway, query: &str) -> String {
    format!("{}/sse?{query}", gateway.client())
}

async fn open(gateway: &Gateway, query: &str) -> Sse {
    Sse::open(&url(gateway, query), &[])
        .await
        .unwrap_or_else(|reply| panic!("{query}: {} {}", reply.status, reply.text()))
}

#[tokio::test]
async fn what_is_published_arrives() {
    let gateway = Gateway::start(CONFIG);
    let mut stream = open(&gateway, "channel=news").await;
    let header = |name: &str| {
        stream.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    assert!(header("content-type").unwrap().starts_with("text/event-stream"));
    assert!(header("cache-control").unwrap().contains("no-"), "no cache may keep it");
    publish(&gateway, &json!({"channel": "news", "event": "head", "data": {"a": 1}})).await;
    let event = stream.event().await;
    assert_eq!(event.event.as_deref(), Some("head"));
    assert_eq!(event.json(), json!({"channel": "news", "data": {"a": 1}}));
    assert_eq!(event.id, None, "a channel without history is no place to resume from");
}

#[tokio::test]
async fn the_answer_begins_before_anything_is_published() {
    let gateway = Gateway::start(CONFIG);
    // `open` returns when the head is there; so the subscription is in force.
    let mut stream = open(&gateway, "channel=log.a").await;
    say(&gateway, "log.a", 1).await;
    assert_eq!(stream.event().await.json()["data"], 1);
}

#[tokio::test]
async fn several_channels_share_a_stream() {
    let gateway = Gateway::start(CONFIG);
    let mut stream = open(&gateway, "channel=a&channel=b%20c&channel=%23d").await;
    for channel in ["a", "b c", "#d", "e", "a"] {
        say(&gateway, channel, 1).await;
    }
    for channel in ["a", "b c", "#d", "a"] {
        assert_eq!(stream.event().await.json()["channel"], channel);
    }
}

#[tokio::test]
async fn ids_are_offsets_and_resume() {
    let gateway = Gateway::start(CONFIG);
    let mut stream = open(&gateway, "channel=log.a").await;
    let offset = say(&gateway, "log.a", 1).await.unwrap();
    let event = stream.event().await;
    assert_eq!(event.id.as_deref(), Some(offset.as_str()));
    drop(stream);
    for number in 2..=4 {
        say(&gateway, "log.a", number).await;
    }
    let headers = [("last-event-id", offset.as_str())];
    let mut stream = Sse::open(&url(&gateway, "channel=log.a"), &headers).await.ok().unwrap();
    say(&gateway, "log.a", 5).await;
    for number in 2..=5 {
        assert_eq!(stream.event().await.json()["data"], number);
    }
}

#[tokio::test]
async fn one_id_resumes_all_channels() {
    let gateway = Gateway::start(CONFIG);
    let mut stream = open(&gateway, "channel=log.a&channel=log.b").await;
    say(&gateway, "log.a", 1).await;
    stream.event().await;
    let id = stream.last_event_id.clone().unwrap();
    drop(stream);
    for (number, channel) in (2..).zip(["log.b", "log.a", "log.b", "log.c"]) {
        say(&gateway, channel, number).await;
    }
    let headers = [("last-event-id", id.as_str())];
    let mut stream =
        Sse::open(&url(&gateway, "channel=log.a&channel=log.b"), &headers).await.ok().unwrap();
    // Every id on the way is a place to resume from, too.
    for number in 2..=4 {
        let event = stream.event().await;
        assert_eq!(event.json()["data"], number);
        let headers = [("last-event-id", event.id.as_deref().unwrap())];
        let mut again =
            Sse::open(&url(&gateway, "channel=log.a&channel=log.b"), &headers).await.ok().unwrap();
        say(&gateway, "log.b", 100).await;
        let next = if number == 4 { json!(100) } else { json!(number + 1) };
        let first = again.event().await.json()["data"].clone();
        assert_eq!(first, next, "after {number}");
    }
}

#[tokio::test]
async fn a_quiet_stream_is_told_its_position() {
    let gateway = Gateway::start(CONFIG);
    let mut stream = open(&gateway, "channel=log.quiet").await;
    let id = patiently("an id", async {
        loop {
            let block = stream.listen().await.expect("the stream goes on");
            if let Some(id) = block.id {
                assert_eq!(block.data, None, "a resume point is no event");
                return id;
            }
        }
    })
    .await;
    drop(stream);
    say(&gateway, "log.quiet", 1).await;
    let headers = [("last-event-id", id.as_str())];
    let mut stream = Sse::open(&url(&gateway, "channel=log.quiet"), &headers).await.ok().unwrap();
    assert_eq!(stream.event().await.json()["data"], 1);
}

#[tokio::test]
async fn text_keeps_its_lines() {
    let gateway = Gateway::start(CONFIG);
    let mut stream = open(&gateway, "channel=news").await;
    let text = "one\ntwo\r\nthree\rfour: ünï 🚀\n\n";
    say(&gateway, "news", text).await;
    assert_eq!(stream.event().await.json()["data"], text);
    // JSON as people write it, on several lines.
    let body = "{\"channel\": \"news\",\n \"event\": \"e\",\n \"data\": {\n\"a\":\r\n1}}";
    let request = request("POST", &format!("{}/v1/publish", gateway.api()))
        .header("content-type", "application/json");
    assert_eq!(send(request.body(body)).await.status, 200);
    assert_eq!(stream.event().await.json()["data"], json!({"a": 1}));
}

#[tokio::test]
async fn args_and_binary_data_have_their_forms() {
    let gateway = Gateway::start(CONFIG);
    let mut stream = open(&gateway, "channel=news").await;
    publish(&gateway, &json!({"channel": "news", "event": "e", "args": [1, "b"]})).await;
    publish(&gateway, &json!({"channel": "news", "event": "e", "data": {"base64": "AQID"}})).await;
    assert_eq!(stream.event().await.json()["args"], json!([1, "b"]));
    assert_eq!(stream.event().await.json()["data"], json!({"base64": "AQID"}));
}

#[tokio::test]
async fn what_is_wrong_is_a_problem() {
    let gateway = Gateway::start(CONFIG);
    let long = format!("channel={}", "x".repeat(201));
    let cases = [
        ("", 400, "bad_request"),
        ("channel=", 400, "channel_invalid"),
        (long.as_str(), 400, "channel_invalid"),
        ("channel=a%07b", 400, "channel_invalid"),
        ("channel=$all", 403, "forbidden"),
        ("channel=news&channel=$user.ann", 403, "forbidden"),
    ];
    for (query, status, code) in cases {
        let reply = Sse::open(&url(&gateway, query), &[]).await.err().expect(query);
        assert_eq!((reply.status, &reply.json()["code"]), (status, &json!(code)), "{query}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{query}");
        let detail = reply.json()["detail"].clone();
        assert!(detail.as_str().is_some_and(|words| words.len() > 5), "{query}: {detail}");
    }
    let reply = send(request("POST", &url(&gateway, "channel=news"))).await;
    assert_eq!(reply.status, 405);
}

/// A browser gives up for good at any answer but 200.
#[tokio::test]
async fn who_is_refused_for_now_is_told_when_to_come_back() {
    let gateway = Gateway::start("limits: {connections: 1}");
    let place = Plain::connect(&gateway).await;
    let url = url(&gateway, "channel=a");
    for accept in ["text/event-stream", "text/html, Text/Event-Stream;q=0.9"] {
        let mut stream = Sse::open(&url, &[("accept", accept)]).await.ok().unwrap();
        let wait = stream.block().await.unwrap().retry.unwrap();
        assert!((2_000..=6_000).contains(&wait.parse::<u64>().unwrap()), "{wait}");
        let told = stream.event().await;
        assert_eq!(told.event.as_deref(), Some("push:error"));
        let told = told.json();
        assert_eq!((&told["code"], &told["retry"]), (&json!("limit_connections"), &json!(true)));
        assert!(stream.block().await.is_none(), "it ends");
        assert_eq!(stream.last_event_id, None, "its place stays what it was");
    }
    let reply = Sse::open(&url, &ANYTHING).await.err().unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert_eq!(metric(&gateway, "push_refused_total").await, Some(3.0));
    drop(place);
    eventually("there is a place again", || async {
        let mut stream = Sse::open(&url, &[]).await.ok().unwrap();
        stream.block().await.unwrap().comments == ["subscribed"]
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_none_is_refused() {
    let gateway = Gateway::start(CONFIG);
    let headers = [("last-event-id", "nonsense")];
    let reply = Sse::open(&url(&gateway, "channel=log.a"), &headers).await.err().unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("offset_invalid")));
}

#[tokio::test]
async fn tokens_are_asked_for() {
    let gateway = Gateway::start(AUTH);
    let token = grants("ann", &json!([{"match": "ann.>", "can": ["subscribe"]}]));
    let reply = Sse::open(&url(&gateway, "channel=ann.x"), &[]).await.err().unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("unauthorized")));
    let query = format!("channel=bob.x&token={token}");
    let reply = Sse::open(&url(&gateway, &query), &[]).await.err().unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (403, &json!("forbidden")));
    let mut by_query = open(&gateway, &format!("channel=ann.x&token={token}")).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let mut by_header = Sse::open(&url(&gateway, "channel=ann.x"), &headers).await.ok().unwrap();
    say(&gateway, "ann.x", 1).await;
    assert_eq!(by_query.event().await.json()["data"], 1);
    assert_eq!(by_header.event().await.json()["data"], 1);
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives() {
    let gateway = Gateway::start("socketio: {pingInterval: 300ms}");
    let mut stream = open(&gateway, "channel=news").await;
    for _ in 0..2 {
        patiently("a heartbeat", async {
            loop {
                let block = stream.listen().await.expect("the stream goes on");
                if !block.comments.is_empty() {
                    return;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn curl_shows_what_arrives() {
    let gateway = Gateway::start(CONFIG);
    let mut curl = tokio::process::Command::new("curl")
        .args(["-sN", &url(&gateway, "channel=log.a")])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("curl is installed");
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    // The first line shows that the subscription is in force.
    let mut line = patiently("curl's first line", lines.next_line()).await.unwrap().unwrap();
    let offset = say(&gateway, "log.a", "hello").await.unwrap();
    let mut seen = Vec::new();
    while !line.starts_with("data:") {
        seen.push(line);
        line = patiently("curl's next line", lines.next_line()).await.unwrap().unwrap();
    }
    assert_eq!(line, r#"data: {"channel":"log.a","data":"hello"}"#);
    assert!(seen.contains(&"event: e".to_owned()), "{seen:?}");
    assert!(seen.contains(&format!("id: {offset}")), "{seen:?}");
}

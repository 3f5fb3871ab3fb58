//! Messages over polling.

use tokio::io::AsyncWriteExt as _;

use super::*;

#[tokio::test]
async fn post_is_answered_ok() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let reply = session.post("40").await;
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    assert_eq!(reply.header("content-type"), "text/html");
    assert_eq!(reply.header("content-length"), "2");
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_payload_of_several_packets_is_taken_in_order() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let payload: Vec<_> = (1..=3).map(question).collect();
    assert_eq!(session.post(payload.join("\x1e")).await.text(), "ok");
    let mut packets = Vec::new();
    while packets.len() < 3 {
        packets.extend(session.packets().await);
    }
    assert_eq!(packets.len(), 3, "{packets:?}");
    for (packet, id) in packets.iter().zip(1..) {
        assert!(is_answer(packet, id), "{packets:?}");
    }
}

#[tokio::test]
async fn what_waits_goes_out_in_one_payload() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for id in 1..=3 {
        assert_eq!(session.post(question(id)).await.text(), "ok");
    }
    // The answers were written before the POSTs were answered or very soon
    // after; all must be there after the first poll that has the third.
    let reply = session.get().await;
    assert_eq!(reply.header("content-type"), "text/plain; charset=UTF-8");
    assert_eq!(reply.header("cache-control"), "no-store");
    let mut packets: Vec<_> = reply.text().split(SEPARATOR).map(str::to_owned).collect();
    while packets.len() < 3 {
        packets.extend(session.packets().await);
    }
    assert!(packets.iter().zip(1..).all(|(packet, id)| is_answer(packet, id)), "{packets:?}");
}

#[tokio::test]
async fn binary_packets_travel_as_base64() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let event = r#"451-7["question",{"_placeholder":true,"num":0}]"#;
    assert_eq!(session.post(format!("{event}{SEPARATOR}bAQIDBA==")).await.text(), "ok");
    let packets = session.packets().await;
    assert!(is_answer(&packets[0], 7), "{packets:?}");
}

#[tokio::test]
async fn a_waiting_poll_is_answered_when_there_is_something() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let poll = session.begin_poll().await;
    assert_eq!(session.post(question(1)).await.text(), "ok");
    let (status, body) = poll.answer().await;
    assert!(status == 200 && is_answer(&body, 1), "{status} {body}");
}

#[tokio::test]
async fn malformed_payloads_end_the_session() {
    let gateway = Gateway::plain();
    // 2 is a ping, which only the server sends; an empty packet is none.
    for body in ["abc", "", "7", "3\x1ex", "2", "\x1e", "é"] {
        let session = Polling::open(&gateway).await;
        if let Ok(reply) = session.try_post(body).await {
            assert_ne!(reply.status, 500, "{body:?}");
        }
        assert_ends(&session, &format!("{body:?}")).await;
        assert_error(&session.get().await, 1, &format!("{body:?}"));
    }
}

#[tokio::test]
async fn packets_that_mean_nothing_here_are_ignored() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for body in ["3", "6", "5", "0"] {
        assert_eq!(session.post(body).await.text(), "ok", "{body}");
    }
    assert_works(&session, 1).await;
}

#[tokio::test]
async fn a_binary_content_type_is_refused_and_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let request = request("POST", &session.url).header("content-type", "application/octet-stream");
    assert_eq!(send(request.body(question(1))).await.status, 400);
    assert_ends(&session, "a binary body").await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_harms_nobody() {
    let gateway = Gateway::start(SMALL);
    let session = Polling::joined(&gateway).await;
    let fill = |bytes: usize| {
        let frame = question(1).len() + 3;
        question(1).replace(']', &format!(",\"{}\"]", "x".repeat(bytes - frame)))
    };
    assert_eq!(fill(1000).len(), 1000);
    assert_eq!(session.post(fill(1000)).await.text(), "ok", "exactly the limit");
    assert!(is_answer(&session.packets().await[0], 1));
    assert_eq!(session.post(fill(1001)).await.status, 413, "one byte more");
    // Without a length in front, too.
    let chunks =
        futures_util::stream::iter((0..30).map(|_| Ok::<_, std::io::Error>(vec![b'4'; 100])));
    let body = reqwest::Body::wrap_stream(chunks);
    // What the other side doesn't read may end the connection before the answer.
    if let Ok(reply) = session.try_post(body).await {
        assert_eq!(reply.status, 413);
    }
    assert_works(&session, 2).await;
}

#[tokio::test]
async fn a_method_that_is_neither_get_nor_post_harms_nobody() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let status = session.with_method(method).await.status;
        assert!([400, 405, 500].contains(&status), "{method}: {status}");
    }
    assert_works(&session, 1).await;
}

#[tokio::test]
async fn a_second_poll_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let first = session.begin_poll().await;
    let second = session.get().await;
    assert!([400, 500].contains(&second.status), "{}", second.status);
    assert_eq!(first.answer().await, (200, "1".to_owned()));
    assert_error(&session.get().await, 1, "a poll afterwards");
}

#[tokio::test]
async fn a_cancelled_poll_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let poll = session.begin_poll().await;
    drop(poll);
    assert_ends(&session, "a cancelled poll").await;
    for method in ["GET", "POST", "PUT"] {
        assert_error(&session.with_method(method).await, 1, &format!("a {method} afterwards"));
    }
}

#[tokio::test]
async fn a_post_while_another_is_under_way_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let slow = session.begin_post().await;
    assert_eq!(session.post(question(1)).await.status, 400);
    assert_ends(&session, "two POSTs at once").await;
    drop(slow);
}

#[tokio::test]
async fn a_post_that_breaks_off_ends_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let post = session.begin_post().await;
    let poll = session.begin_poll().await;
    drop(post);
    let _ = poll.answer().await;
    assert_error(&session.get().await, 1, "a poll afterwards");
}

#[tokio::test]
async fn get_and_post_may_be_under_way_at_once() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut slow = session.begin_post().await;
    let poll = session.begin_poll().await;
    // The rest of ten bytes; what is no event ends the session, and the poll.
    slow.write_all(b"1,2,3,4").await.unwrap();
    let _ = poll.answer().await;
    assert_ends(&session, "a bad event").await;
}

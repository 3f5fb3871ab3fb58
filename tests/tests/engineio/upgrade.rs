//! From polling to a WebSocket.

use serde_json::Value;

use super::*;

/// A WebSocket that has probed a session and been answered, trying until the
/// session has noticed that an earlier one is gone.
async fn probing_at_last(session: &Polling) -> WebSocket {
    patiently("another try to upgrade", async {
        loop {
            if let Ok(mut socket) = WebSocket::try_connect(&session.websocket_url(), &[]).await {
                socket.send("2probe").await;
                if socket.next().await == Frame::Text("3probe".to_owned()) {
                    return socket;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_session_moves_to_websocket() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let poll = session.begin_poll().await;
    let mut socket = probing(&session).await;
    assert_eq!(poll.answer().await, (200, "6".to_owned()), "a noop ends the poll");
    socket.send("5").await;
    socket.send(&question(1)).await;
    assert!(is_answer(&socket.text().await, 1));
}

#[tokio::test]
async fn a_poll_that_comes_while_probing_gets_a_noop() {
    let gateway = Gateway::plain();
    let session = Polling::open(&gateway).await;
    let mut socket = probing(&session).await;
    let reply = session.get().await;
    assert_eq!((reply.status, reply.text()), (200, "6"));
    socket.send("5").await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
}

#[tokio::test]
async fn what_is_sent_while_upgrading_arrives_once_and_in_order() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut socket = probing(&session).await;
    for id in 1..=3 {
        assert_eq!(session.post(question(id)).await.text(), "ok");
    }
    // The answers wait: a poll may take them, or the WebSocket after its "5".
    let mut got = Vec::new();
    let reply = session.get().await;
    assert_eq!(reply.status, 200);
    got.extend(reply.text().split(SEPARATOR).map(str::to_owned));
    socket.send("5").await;
    socket.send(&question(4)).await;
    while !got.last().is_some_and(|packet| is_answer(packet, 4)) {
        got.push(socket.text().await);
    }
    got.retain(|packet| packet != "6");
    assert_eq!(got.len(), 4, "{got:?}");
    assert!(got.iter().zip(1..).all(|(packet, id)| is_answer(packet, id)), "{got:?}");
}

#[tokio::test]
async fn polling_is_refused_after_the_upgrade() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut socket = probing(&session).await;
    socket.send("5").await;
    socket.send(&question(1)).await;
    assert!(is_answer(&socket.text().await, 1));
    assert_error(&session.get().await, 3, "GET");
    assert_error(&session.post(question(2)).await, 3, "POST");
    socket.send(&question(3)).await;
    assert!(is_answer(&socket.text().await, 3), "the WebSocket is unharmed");
}

#[tokio::test]
async fn a_second_websocket_is_closed_and_the_first_unharmed() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    let mut socket = probing(&session).await;
    for when in ["while probing", "after the upgrade"] {
        if let Ok(mut second) = WebSocket::try_connect(&session.websocket_url(), &[]).await {
            second.send("2probe").await;
            assert!(matches!(second.next().await, Frame::Closed(_)), "{when}");
        }
        socket.send("5").await;
        socket.send(&question(1)).await;
        assert!(is_answer(&socket.text().await, 1), "{when}");
    }
}

#[tokio::test]
async fn a_websocket_that_does_not_probe_properly_is_closed_and_polling_goes_on() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    for (id, text) in (1..).zip(["2", "2wrong", "4hello", "3probe", "6", "1", "abc", ""]) {
        let mut socket = session.websocket().await;
        socket.send(text).await;
        socket.closed().await;
        assert_works(&session, id).await;
    }
    let mut socket = session.websocket().await;
    socket.send_binary(&[1]).await;
    socket.closed().await;
    assert_works(&session, 20).await;
    let mut socket = probing_at_last(&session).await;
    socket.send("4hello").await;
    socket.closed().await;
    assert_works(&session, 21).await;
}

#[tokio::test]
async fn a_websocket_that_goes_away_while_probing_leaves_the_session() {
    let gateway = Gateway::plain();
    let session = Polling::joined(&gateway).await;
    probing(&session).await.cut();
    assert_works(&session, 1).await;
    // And it may try again.
    let mut socket = probing_at_last(&session).await;
    socket.send("5").await;
    socket.send(&question(2)).await;
    assert!(is_answer(&socket.text().await, 2));
}

#[tokio::test]
async fn an_upgrade_that_takes_too_long_is_closed_and_polling_goes_on() {
    let gateway = Gateway::start(r#"{"socketio": {"upgradeTimeout": "300ms"}}"#);
    let session = Polling::joined(&gateway).await;
    let mut silent = session.websocket().await;
    silent.closed().await;
    assert_works(&session, 1).await;
    let mut half = probing(&session).await;
    half.closed().await;
    assert_works(&session, 2).await;
}

#[tokio::test]
async fn a_session_of_websocket_alone_takes_no_polling() {
    let gateway = Gateway::plain();
    let mut socket = WebSocket::connect(&endpoint(&gateway, "websocket")).await;
    let handshake: Value = serde_json::from_str(&socket.text().await[1..]).unwrap();
    let sid = handshake["sid"].as_str().unwrap();
    let reply = get(&format!("{}&sid={sid}", endpoint(&gateway, "polling"))).await;
    assert_error(&reply, 3, "GET");
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
}

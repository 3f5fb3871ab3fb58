//! How a session begins, and what is refused.

use serde_json::Value;

use super::*;

#[tokio::test]
async fn polling_handshake_says_what_the_reference_says() {
    let gateway = Gateway::plain();
    let reply = get(&endpoint(&gateway, "polling")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "text/plain; charset=UTF-8");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("set-cookie"), "", "no cookie unless asked for");
    let handshake: Value = serde_json::from_str(&reply.text()[1..]).unwrap();
    let sid = handshake["sid"].as_str().unwrap();
    assert!(sid.len() >= 20, "an id of 120 random bits or more: {sid}");
    let expected = format!(
        r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
    );
    assert_eq!(reply.text(), expected);
}

#[tokio::test]
async fn websocket_handshake_offers_no_upgrade() {
    let gateway = Gateway::plain();
    let mut socket = WebSocket::connect(&endpoint(&gateway, "websocket")).await;
    let text = socket.text().await;
    let handshake: Value = serde_json::from_str(&text[1..]).unwrap();
    let sid = handshake["sid"].as_str().unwrap();
    let expected = format!(
        r#"0{{"sid":"{sid}","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn handshake_tells_the_configured_figures() {
    let gateway = Gateway::start(
        r#"{"socketio": {"pingInterval": "7s", "pingTimeout": "3s", "maxPayload": 4321}}"#,
    );
    let session = Polling::open(&gateway).await;
    assert_eq!(session.handshake["pingInterval"], 7000);
    assert_eq!(session.handshake["pingTimeout"], 3000);
    assert_eq!(session.handshake["maxPayload"], 4321);
}

#[tokio::test]
async fn every_session_has_its_own_id() {
    let gateway = Gateway::plain();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        assert!(seen.insert(Polling::open(&gateway).await.sid));
    }
}

#[tokio::test]
async fn bad_requests_get_the_reference_bodies() {
    const UNKNOWN: &str = "EIO=4&transport=polling&sid=abcdefghijklmnopqrst";
    let gateway = Gateway::plain();
    let cases = [
        // The transport is looked at first, then the sid, then the method.
        ("GET", "", 0),
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", "EIO=4&transport=Polling", 0),
        ("GET", "EIO=4&transport=webtransport", 0),
        ("GET", "EIO=4&transport=abc&sid=abcdefghijklmnopqrst", 0),
        ("GET", UNKNOWN, 1),
        ("POST", UNKNOWN, 1),
        ("PUT", UNKNOWN, 1),
        ("GET", "EIO=4&transport=websocket&sid=abcdefghijklmnopqrst", 1),
        ("GET", "EIO=4&transport=polling&sid=__proto__", 1),
        ("GET", "EIO=4&transport=polling&sid=%00%ff", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("DELETE", "EIO=4&transport=polling", 2),
        ("PATCH", "EIO=4&transport=polling", 2),
        // Without an upgrade there is no WebSocket.
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "transport=polling", 5),
        ("GET", "EIO=&transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "EIO=5&transport=polling", 5),
        ("GET", "EIO=44&transport=polling", 5),
    ];
    for (method, query, code) in cases {
        let url = format!("{}/socket.io/?{query}", gateway.client());
        assert_error(&send(request(method, &url)).await, code, &format!("{method} {query}"));
    }
}

#[tokio::test]
async fn bad_websocket_requests_get_400_and_words() {
    let gateway = Gateway::plain();
    let cases = [
        ("EIO=4", "Transport unknown"),
        ("EIO=4&transport=abc", "Transport unknown"),
        ("EIO=4&transport=websocket&sid=abcdefghijklmnopqrst", "Session ID unknown"),
    ];
    for (query, message) in cases {
        let url = format!("{}/socket.io/?{query}", gateway.client_ws());
        let refused = WebSocket::try_connect(&url, &[]).await.err().expect(query);
        assert_eq!((refused.status, refused.body.as_str()), (400, message), "{query}");
    }
    // The reference refuses a wrong EIO only after its 101; before is as good.
    for query in ["transport=websocket", "EIO=abc&transport=websocket", "EIO=3&transport=websocket"]
    {
        let url = format!("{}/socket.io/?{query}", gateway.client_ws());
        if let Ok(mut socket) = WebSocket::try_connect(&url, &[]).await {
            assert!(matches!(socket.next().await, Frame::Closed(_)), "{query}");
        }
    }
}

#[tokio::test]
async fn paths_that_do_not_exist_are_404() {
    let gateway = Gateway::plain();
    for path in
        ["/nothing", "/socket.i/?EIO=4&transport=polling", "/engine.io/?EIO=4&transport=polling"]
    {
        assert_eq!(get(&format!("{}{path}", gateway.client())).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn other_origins_may_read_the_answers() {
    let gateway = Gateway::plain();
    let url = endpoint(&gateway, "polling");
    let reply = send(request("GET", &url).header("origin", "https://app.example.com")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let preflight = send(
        request("OPTIONS", &url)
            .header("origin", "https://app.example.com")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type"),
    )
    .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    assert!(preflight.header("access-control-allow-headers").contains("content-type"));
    let failed = send(
        request("GET", &format!("{url}&sid=unknown")).header("origin", "https://app.example.com"),
    )
    .await;
    assert_error(&failed, 1, "unknown sid");
    assert_eq!(failed.header("access-control-allow-origin"), "*", "errors must be readable too");
}

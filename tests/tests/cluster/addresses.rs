//! A client's address, told by the gateway that it came in at.

use tests::http::{request, send};

use super::*;

const MORE: &str = "client: {trustedProxies: [127.0.0.1]}\n\
                    log: {level: 'info,gateway::session=debug'}\n";

#[tokio::test]
async fn a_request_that_is_passed_on_carries_the_clients_address() {
    let cluster = Cluster::start(MORE).await;
    let [a, b, _] = &cluster.gateways[..] else { panic!("three gateways") };
    let session = Polling::joined(a).await;
    let there = at(b, &session);
    let moved = async |address: &str| {
        let (to, said) = (format!("address={address}"), "a client moved");
        eventually(&to, || async {
            a.log().lines().any(|line| line.contains(said) && line.contains(&to))
        })
        .await;
    };
    let post = request("POST", &there.url).header("x-forwarded-for", "6.6.6.6, 192.0.2.7");
    assert_eq!(send(post.body("3")).await.text(), "ok");
    moved("192.0.2.7").await;
    // IPv6, over a WebSocket.
    let forwarded = [("forwarded", "for=\"[2001:db8::7]:4711\"")];
    let mut socket = WebSocket::try_connect(&there.websocket_url(), &forwarded).await.unwrap();
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    moved("2001:db8::7").await;
}

#[tokio::test]
async fn behind_tls_a_websocket_is_passed_on() {
    let secrets = tests::nats::Secrets::default();
    let authority = secrets.authority("ca");
    let (cert, key) = authority.sign("gateway");
    let ca = authority.certificate();
    let peer = format!(", tls: {{cert: '{cert}', key: '{key}', ca: '{ca}'}}");
    let more = format!("client: {{tls: {{cert: '{cert}', key: '{key}'}}}}\n");
    let cluster = Cluster::start_with(&peer, &more).await;
    let [a, b, _] = &cluster.gateways[..] else { panic!("three gateways") };
    let authorities = reqwest::Certificate::from_pem(&std::fs::read(&ca).unwrap()).unwrap();
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([authorities]).build().unwrap();
    let url = format!("{}/socket.io/?EIO=4&transport=polling", a.client());
    let opened = client.get(&url).send().await.unwrap().text().await.unwrap();
    let handshake: Value = serde_json::from_str(&opened[1..]).unwrap();
    let sid = handshake["sid"].as_str().unwrap();
    // Data and the WebSocket come in at the other gateway.
    let there = format!("{}/socket.io/?EIO=4&transport=polling&sid={sid}", b.client());
    let posted = client.post(&there).body("40").send().await.unwrap();
    assert_eq!(posted.text().await.unwrap(), "ok");
    let url = there.replacen("http", "ws", 1).replace("=polling", "=websocket");
    let mut socket = WebSocket::connect_tls(&url, &ca).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    let mut joined = socket.text().await;
    assert!(joined.starts_with("40{"), "{joined}");
    socket.send(&format!("420{}", json!(["push:subscribe", "kept.a"]))).await;
    while !is_ack(&joined) {
        joined = socket.text().await;
    }
    for n in 0..100 {
        say(a, "kept.a", json!([n, "x".repeat(10_000)])).await;
    }
    for n in 0..100 {
        let mut event = String::new();
        while !event.starts_with("42[\"message\"") && !event.contains("xxx") {
            event = socket.text().await;
        }
        assert!(event.contains(&format!("[{n},")), "{n}: {}", &event[..60]);
    }
}

//! Where a client is, behind real proxies and without: what the gateway
//! believes, and from whom.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use tests::api::{metric, say};
use tests::engineio::{Polling, endpoint_at};
use tests::http::{get, raw, request, send};
use tests::patience::eventually;
use tests::plain::Plain;
use tests::proxies::{PROXY, Proxy};
use tests::socketio::{Socket, Transport};
use tests::sse::Sse;
use tests::websocket::WebSocket;
use tests::{Gateway, patiently};

/// Proxies in these tests give up a connection that is silent for two
/// seconds, so pings must come more often.
const MORE: &str = "log: {level: 'info,gateway=debug', format: json}\n\
                    socketio: {pingInterval: 500ms, pingTimeout: 5s}\n\
                    channels: [{match: 'log.>', history: {maxMessages: 100, maxAge: 1h}}]\n";

const HTTP: &str = "
http {
  access_log off;
  client_body_temp_path FOLDER/a; proxy_temp_path FOLDER/b; fastcgi_temp_path FOLDER/c;
  uwsgi_temp_path FOLDER/d; scgi_temp_path FOLDER/e;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    LISTEN
    location / {
      proxy_pass http://GATEWAY;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_read_timeout 2s;
    }
  }
}";

const STREAM: &str = "stream { server { LISTEN proxy_pass GATEWAY; proxy_protocol on; \
                      proxy_timeout 2s; } }";

fn gateway(client: &str) -> Gateway {
    Gateway::start(&format!("client: {{{client}}}\n{MORE}"))
}

/// The addresses of the clients that came, in order, as the log has them.
fn addresses(gateway: &Gateway) -> Vec<String> {
    let log = gateway.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["message"] == "a client came")
        .filter_map(|line| line["address"].as_str().map(str::to_owned))
        .collect()
}

/// One client of each kind; then what the gateway takes for their addresses.
async fn each_kind(gateway: &Gateway, base: &str) -> Vec<String> {
    let forged = [("x-forwarded-for", "6.6.6.6")];
    let ws = format!("{}/ws", base.replacen("http", "ws", 1));
    let mut plain = Plain::over(WebSocket::try_connect(&ws, &forged).await.unwrap());
    plain.call("subscribe", &json!({"channel": "log.a"})).await.unwrap();
    let mut sse = Sse::open(&format!("{base}/sse?channel=log.a"), &forged).await.unwrap();
    let mut socket = Socket::join_url(base, Transport::WebSocket, "/", None, "").await.unwrap();
    socket.subscribe("log.a").await;
    let polling = Polling::open_at(&endpoint_at(base, "polling")).await;
    assert_eq!(polling.post("40").await.text(), "ok");
    // Longer than any of these proxies waits for a connection that is silent.
    let quiet = std::time::Duration::from_secs(5);
    let _ = tokio::time::timeout(quiet, async {
        // Each answers the gateway's pings meanwhile.
        tokio::join!(
            async { while !plain.listen().await.is_null() {} },
            async { while sse.listen().await.is_some() {} },
            async { while socket.next_event().await.is_some() {} },
        )
    })
    .await;
    say(gateway, "log.a", "still here").await;
    assert_eq!(plain.publication().await["data"], "still here");
    assert_eq!(socket.app_event().await.args[0], "still here");
    patiently("the stream's event", sse.event()).await;
    eventually("four came", || async { addresses(gateway).len() == 4 }).await;
    addresses(gateway)
}

#[tokio::test]
async fn behind_haproxy_that_adds_x_forwarded_for() {
    let gateway = gateway("trustedProxies: [127.0.0.9]");
    let listen = "mode http\n  option forwardfor\n  timeout tunnel 2s\n  SERVER";
    let proxy = Proxy::haproxy(gateway.client_address(), listen);
    assert_eq!(each_kind(&gateway, &proxy.url()).await, ["127.0.0.1"; 4]);
}

#[tokio::test]
async fn behind_haproxy_that_sends_the_proxy_protocol() {
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"] {
        let gateway = gateway("proxyProtocol: true, trustedProxies: [127.0.0.9]");
        let proxy = Proxy::haproxy(gateway.client_address(), &format!("mode tcp\n  SERVER {send}"));
        let got = each_kind(&gateway, &proxy.url()).await;
        assert_eq!(got, ["127.0.0.1"; 4], "{send}");
    }
}

#[tokio::test]
async fn behind_nginx_that_adds_x_forwarded_for() {
    let gateway = gateway("trustedProxies: [127.0.0.0/30, 127.0.0.9]");
    // 127.0.0.1, the client, is a trusted address too: what counts is the place.
    let proxy = Proxy::nginx(gateway.client_address(), HTTP);
    assert_eq!(each_kind(&gateway, &proxy.url()).await, ["127.0.0.1"; 4]);
}

#[tokio::test]
async fn behind_nginx_that_sends_the_proxy_protocol() {
    let gateway = gateway("proxyProtocol: true");
    let proxy = Proxy::nginx(gateway.client_address(), STREAM);
    assert_eq!(each_kind(&gateway, &proxy.url()).await, ["127.0.0.1"; 4]);
}

#[tokio::test]
async fn behind_one_proxy_behind_another() {
    let gateway = gateway("proxyProtocol: true, trustedProxies: [127.0.0.9], trustedHops: 1");
    // The outer one adds the header, the inner one says that it is the outer.
    let inner = Proxy::haproxy(gateway.client_address(), "mode tcp\n  SERVER send-proxy-v2");
    let at = inner.url();
    let listen = "mode http\n  option forwardfor\n  timeout tunnel 2s\n  SERVER";
    let outer = Proxy::haproxy(at.trim_start_matches("http://"), listen);
    assert_eq!(each_kind(&gateway, &outer.url()).await, ["127.0.0.1"; 4]);
}

#[tokio::test]
async fn a_header_of_anybody_is_not_believed() {
    for client in ["", "trustedProxies: [10.0.0.0/8]"] {
        let gateway = gateway(client);
        let url = endpoint_at(gateway.client(), "polling");
        for (name, value) in [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6")] {
            assert_eq!(send(request("GET", &url).header(name, value)).await.status, 200);
        }
        eventually("two came", || async { addresses(&gateway).len() == 2 }).await;
        assert_eq!(addresses(&gateway), ["127.0.0.1"; 2], "{client}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_garbles_is_counted() {
    let gateway = gateway("trustedProxies: [127.0.0.0/8]");
    let url = endpoint_at(gateway.client(), "polling");
    for (name, value, address) in [
        ("x-forwarded-for", "192.0.2.1", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1, nonsense", "127.0.0.1"),
        ("forwarded", "for=\"[2001:db8::1]:99\"", "2001:db8::1"),
        ("forwarded", "for=unknown", "127.0.0.1"),
    ] {
        let before = addresses(&gateway).len();
        assert_eq!(send(request("GET", &url).header(name, value)).await.status, 200);
        eventually("it came", || async { addresses(&gateway).len() > before }).await;
        assert_eq!(addresses(&gateway).last().unwrap(), address, "{name}: {value}");
    }
    let counted = metric(&gateway, "push_addresses_malformed_total").await;
    assert_eq!(counted, Some(2.0));
}

#[tokio::test]
async fn with_the_proxy_protocol_a_connection_without_it_is_closed() {
    let gateway = gateway("proxyProtocol: true");
    let asked = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n\r\n";
    let line = "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n";
    for (name, begin) in [
        ("nothing", ""),
        ("a wrong family", "PROXY TCP4 2001:db8::1 ::1 1 2\r\n"),
        ("a line without an end", &format!("PROXY UNKNOWN {}", "x".repeat(200))),
        ("half of version 2", "\r\n\r\n\0\r\nQUIT\nx"),
    ] {
        let answer =
            raw(gateway.client_address(), format!("{begin}{asked}").as_bytes(), false).await;
        assert!(answer.is_empty(), "{name}: {}", String::from_utf8_lossy(&answer));
    }
    let refused = "push_proxy_refused_total";
    eventually("all are counted", || async { metric(&gateway, refused).await == Some(4.0) }).await;
    let close = asked.replace("host: a", "host: a\r\nconnection: close");
    let answer = raw(gateway.client_address(), format!("{line}{close}").as_bytes(), false).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    eventually("it came", || async { addresses(&gateway) == ["192.0.2.1"] }).await;
}

#[tokio::test]
async fn the_proxy_protocol_of_a_stranger_is_refused() {
    let gateway = gateway(&format!("proxyProtocol: true, trustedProxies: [{PROXY}]"));
    let asked = "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = raw(gateway.client_address(), asked.as_bytes(), false).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(metric(&gateway, "push_proxy_refused_total").await, Some(1.0));
    assert_eq!(get(&format!("{}/livez", gateway.admin())).await.status, 200);
}

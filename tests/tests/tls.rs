//! TLS on the listeners for clients and apps, with certificates that
//! `openssl` made.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tests::api::metric;
use tests::http::{raw, until_closed};
use tests::nats::{Authority, Nats, Secrets};
use tests::patience::eventually;
use tests::plain::Plain;
use tests::websocket::WebSocket;
use tests::{Gateway, patiently};
use tokio::net::TcpStream;
use tokio::process::Command;

type Files = (String, String);

/// `tls` of a section.
fn tls((cert, key): &Files) -> String {
    format!("tls: {{cert: '{cert}', key: '{key}'}}")
}

/// A gateway with TLS for clients and for apps.
fn gateway(files: &Files, more: &str) -> Gateway {
    let tls = tls(files);
    Gateway::start(&format!("client: {{{tls}}}\napi: {{{tls}}}\n{more}"))
}

/// The HTTP client of an app.
fn trusting(ca: &str) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
    reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap()
}

async fn publish(app: &reqwest::Client, base: &str, channel: &str, data: &Value) {
    let body = json!({"channel": channel, "event": "e", "data": data}).to_string();
    let request = app.post(format!("{base}/v1/publish")).body(body);
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

async fn plain(gateway: &Gateway, ca: &str) -> Plain {
    Plain::over(WebSocket::connect_tls(&format!("{}/ws", gateway.client_ws()), ca).await)
}

/// What `openssl s_client` says with these arguments.
async fn openssl(address: &str, ca: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-CAfile", ca]).args(arguments);
    let output = patiently("openssl", command.stdin(Stdio::null()).output()).await.unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn every_client_is_served() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let more = "channels: [{match: 'log.>', history: {maxMessages: 100, maxAge: 1h}}]";
    let gateway = gateway(&authority.sign("gateway"), more);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let output = Command::new("node")
        .arg(folder.join("tls.mjs"))
        .env("NODE_EXTRA_CA_CERTS", authority.certificate())
        .env("PUSH_TEST_CLIENT_URL", gateway.client())
        .env("PUSH_TEST_API_URL", gateway.api())
        .output();
    // It has its own patience, at each of many steps.
    let output = tokio::time::timeout(Duration::from_mins(3), output).await;
    let output = output.expect("the clients get done").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("all clients are served"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn what_a_slow_client_has_to_wait_for_comes_whole_and_in_order() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let ca = authority.certificate();
    let gateway = gateway(
        &authority.sign("gateway"),
        "limits: {outboxBytes: 40000000, outboxMessages: 100000}\n\
         socketio: {pingInterval: 1h, pingTimeout: 1h}",
    );
    let mut client = plain(&gateway, &ca).await;
    client.call("subscribe", &json!({"channel": "a"})).await.unwrap();
    let app = trusting(&ca);
    // More than the kernel, and what is held encrypted, take.
    let filling = "x".repeat(20_000);
    for n in 0..1_000 {
        publish(&app, gateway.api(), "a", &json!([n, filling])).await;
    }
    for n in 0..1_000 {
        let publication = client.publication().await;
        assert_eq!(publication["data"][0], n);
        assert_eq!(publication["data"][1].as_str().unwrap().len(), filling.len());
    }
    client.call("unsubscribe", &json!({"channel": "a"})).await.unwrap();
}

/// Writes what `sign` makes over the files that a gateway reads.
fn renew(authority: &Authority<'_>, (certificate, key): &Files) {
    let (newer, its_key) = authority.sign("newer");
    std::fs::rename(newer, certificate).unwrap();
    std::fs::rename(its_key, key).unwrap();
}

async fn reloads(gateway: &Gateway, outcome: &str, count: f64) {
    let name = format!("push_config_reloads_total{{outcome=\"{outcome}\"}}");
    eventually(&name, || async { metric(gateway, &name).await.unwrap_or_default() >= count }).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_connections_stay() {
    let secrets = Secrets::default();
    let (old, new) = (secrets.authority("old"), secrets.authority("new"));
    let files = old.sign("gateway");
    let gateway = gateway(&files, "");
    let mut client = plain(&gateway, &old.certificate()).await;
    client.call("subscribe", &json!({"channel": "a"})).await.unwrap();

    // Nothing that can't be used is taken.
    let good = std::fs::read(&files.1).unwrap();
    std::fs::write(&files.1, "no key").unwrap();
    // The client's and the API's.
    reloads(&gateway, "refused", 2.0).await;
    let log = gateway.log();
    assert!(log.contains("the old ones stay") && log.contains("client.tls.key"), "{log}");
    plain(&gateway, &old.certificate()).await;
    std::fs::write(&files.1, good).unwrap();
    reloads(&gateway, "applied", 2.0).await;

    renew(&new, &files);
    reloads(&gateway, "applied", 4.0).await;
    plain(&gateway, &new.certificate()).await;
    assert!(trusting(&old.certificate()).get(gateway.client()).send().await.is_err());
    publish(&trusting(&new.certificate()), gateway.api(), "a", &json!("still here")).await;
    assert_eq!(client.publication().await["data"], "still here");
}

#[tokio::test]
async fn who_is_slow_to_shake_hands_holds_no_place() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let more = "limits: {connections: 1, handshakeTimeout: 1s}";
    let gateway = gateway(&authority.sign("gateway"), more);
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(TcpStream::connect(gateway.client_address()).await.unwrap());
    }
    let mut client = plain(&gateway, &authority.certificate()).await;
    client.call("subscribe", &json!({"channel": "a"})).await.unwrap();
    for socket in &mut slow {
        assert!(until_closed(socket).await.is_empty());
    }
    let failed = "push_tls_handshakes_failed_total{listener=\"client\"}";
    eventually("all are counted", || async { metric(&gateway, failed).await == Some(50.0) }).await;
    client.call("unsubscribe", &json!({"channel": "a"})).await.unwrap();
}

#[tokio::test]
async fn what_is_spoken_is_agreed_on() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let ca = authority.certificate();
    let gateway = gateway(&authority.sign("gateway"), "");
    let api = gateway.api().trim_start_matches("https://");
    for address in [gateway.client_address(), api] {
        for (arguments, says) in [
            (&["-tls1_3"][..], "Verify return code: 0 (ok)"),
            (&["-tls1_2"], "Verify return code: 0 (ok)"),
            (&["-tls1_2"], "Secure Renegotiation IS supported"),
            (&["-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1"),
            (&["-alpn", "h2"], "no application protocol"),
            (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "no peer certificate available"),
        ] {
            let said = openssl(address, &ca, arguments).await;
            assert!(said.contains(says), "{arguments:?}: {said}");
        }
        let plain = raw(address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", false).await;
        assert!(!plain.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&plain));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_at_the_start() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let (cert, _) = authority.sign("gateway");
    let (_, other) = authority.sign("other");
    for (section, key, says) in [
        ("client", secrets.path("missing"), "No such file"),
        ("api", other, "keys may not be consistent"),
    ] {
        let config = format!("{section}: {{{}}}", tls(&(cert.clone(), key.clone())));
        let Err(log) = Gateway::try_start(&config) else { panic!("{section} started") };
        for part in [says, &format!("`{section}.tls.key`"), &key] {
            assert!(log.contains(part), "{part} in {log}");
        }
    }
}

/// A gateway's certificate at NATS is renewed like any other: the files are
/// read with every connection.
#[tokio::test]
async fn a_renewed_certificate_is_shown_to_nats() {
    let secrets = Secrets::default();
    let (old, new) = (secrets.authority("old"), secrets.authority("new"));
    let (cert, key) = old.sign("server");
    let ca = secrets.write("clients.crt", &std::fs::read_to_string(old.certificate()).unwrap());
    let tls =
        format!("cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true");
    let mut nats = Nats::start(1, &format!("tls {{ {tls} }}\n"));
    let files = old.sign("gateway");
    let mut gateway = Gateway::start(&format!(
        "relay: {{url: '{}', tls: {{ca: '{}', cert: '{}', key: '{}'}}}}\n\
         peer: {{secret: a-secret-between-the-gateways-of-a-suite}}",
        nats.url(),
        old.certificate(),
        files.0,
        files.1
    ));
    gateway.ready().await;
    renew(&new, &files);
    // From now on the server takes none of the old authority's.
    std::fs::copy(new.certificate(), &ca).unwrap();
    nats.signal(0, tests::nats::Signal::Kill);
    eventually("the gateway has lost it", || async {
        tests::api::status(&gateway).await["nats"]["connected"] == false
    })
    .await;
    nats.restart(0);
    eventually("the gateway is back", || async {
        tests::api::status(&gateway).await["nats"]["connected"] == true
    })
    .await;
    tests::api::say(&gateway, "a", 1).await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await, Some(0));
}

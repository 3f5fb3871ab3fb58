//! Gateways that show each other certificates.

use tests::http::raw;
use tests::nats::{Authority, Secrets};

use super::*;

/// `peer.tls` in a configuration, with the name that certificates carry.
fn with(ca: &str, (certificate, key): &(String, String), name: &str) -> String {
    let name = if name.is_empty() { String::new() } else { format!(", serverName: {name}") };
    format!(", tls: {{cert: '{certificate}', key: '{key}', ca: '{ca}'{name}}}")
}

/// Where a gateway's peer listener is.
fn peer(gateway: &Gateway) -> String {
    let log = gateway.log();
    let line = log.lines().find_map(|line| line.strip_prefix("peer    https://"));
    line.expect("it says where, and that it is TLS").to_owned()
}

fn refused(gateway: &Gateway) -> impl Future<Output = Option<f64>> {
    metric(gateway, "push_peer_refused_total")
}

#[tokio::test]
async fn clients_of_every_kind_live_behind_gateways_with_tls() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let tls = with(&authority.certificate(), &authority.sign("gateway"), "");
    clients_of_every_kind(&Cluster::start_with(&tls, "").await).await;
}

#[tokio::test]
async fn with_tls_a_session_ends_as_at_its_own_gateway() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let certificate = authority.sign_for("gateway", "DNS:live-peers");
    let tls = with(&authority.certificate(), &certificate, "live-peers");
    sessions_end(&Cluster::start_with(&tls, "socketio: {maxPayload: 1000}\n").await).await;
}

/// Connects to a peer listener, with a certificate or without; the status.
async fn knock(
    gateway: &Gateway,
    ca: &str,
    identity: Option<&(String, String)>,
) -> Result<u16, String> {
    let read = |path: &str| std::fs::read(path).unwrap();
    let mut client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(&read(ca)).unwrap()]);
    if let Some((certificate, key)) = identity {
        let pem = [read(key), read(certificate)].concat();
        client = client.identity(reqwest::Identity::from_pem(&pem).unwrap());
    }
    let url = format!("https://{}/peer/poll?sid=x", peer(gateway));
    let answer = client.build().unwrap().get(url).send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn who_shows_no_certificate_of_ours_is_refused() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let ca = authority.certificate();
    let mine = authority.sign_for("gateway", "IP:127.0.0.1,DNS:live-peers");
    let cluster = Cluster::start_with(&with(&ca, &mine, "live-peers"), "").await;
    let a = &cluster.gateways[0];
    assert_eq!(knock(a, &ca, Some(&mine)).await, Ok(401), "one of us, without a stamp");
    let before = refused(a).await.unwrap();
    knock(a, &ca, None).await.unwrap_err();
    let stranger = secrets.authority("other").sign("stranger");
    knock(a, &ca, Some(&stranger)).await.unwrap_err();
    // What else the authority has signed, such as a NATS server's.
    let other = authority.sign_for("nats", "DNS:live-nats");
    knock(a, &ca, Some(&other)).await.unwrap_err();
    let plain = raw(&peer(a), b"GET /peer/poll?sid=x HTTP/1.1\r\nhost: a\r\n\r\n", false).await;
    assert!(!plain.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&plain));
    eventually("all four are refused", || async { refused(a).await == Some(before + 4.0) }).await;
    assert!(a.log().contains("a connection to the peer listener was refused"), "{}", a.log());
}

/// Writes what `sign` makes over the files that gateways read.
fn renew(authority: &Authority<'_>, (certificate, key): &(String, String)) {
    let (newer, its_key) = authority.sign("newer");
    std::fs::rename(newer, certificate).unwrap();
    std::fs::rename(its_key, key).unwrap();
}

#[tokio::test]
async fn renewed_certificates_are_taken_and_connections_stay() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let ca = authority.certificate();
    let files = authority.sign("gateway");
    let old = authority.sign("old");
    let cluster = Cluster::start_with(&with(&ca, &files, ""), "").await;
    let [a, b, _] = &cluster.gateways[..] else { panic!("three gateways") };
    let session = Polling::joined(a).await;
    let mut socket = at(b, &session).websocket().await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    socket.send(&format!("420{}", json!(["push:subscribe", "kept.a"]))).await;
    patiently("the ack", async { while !is_ack(&socket.text().await) {} }).await;

    // Every gateway goes over to another authority, which it trusts already.
    let next = secrets.authority("next");
    let both = [&ca, &next.certificate()].map(|path| std::fs::read(path).unwrap()).concat();
    std::fs::write(&ca, both).unwrap();
    let reloads = async |wanted: f64| {
        eventually("all have read the files again", || async {
            let counted = cluster.metric("push_config_reloads_total").await;
            (counted - wanted).abs() < 0.5
        })
        .await;
    };
    reloads(3.0).await;
    renew(&next, &files);
    reloads(6.0).await;
    std::fs::copy(next.certificate(), &ca).unwrap();
    reloads(9.0).await;
    assert_eq!(knock(a, &ca, Some(&files)).await, Ok(401), "one of us, without a stamp");
    knock(a, &ca, Some(&old)).await.unwrap_err();
    // What can't be used is said, and the old one stays.
    std::fs::write(&files.1, "not a key").unwrap();
    reloads(12.0).await;
    assert!(a.log().contains("check `peer.tls.key`"), "{}", a.log());

    let fresh = Polling::joined(a).await;
    assert_eq!(at(b, &fresh).post("3").await.text(), "ok", "a new connection");
    say(a, "kept.a", 7).await;
    assert_eq!(read_for(&mut socket, 1).await, [7], "the old one");
    assert_eq!(refused(b).await, None, "no gateway refused another");
}

#[tokio::test]
async fn while_tls_is_rolled_out_a_client_at_the_wrong_gateway_comes_back_as_a_new_one() {
    let secrets = Secrets::default();
    let authority = secrets.authority("ca");
    let tls = with(&authority.certificate(), &authority.sign("gateway"), "");
    let mut cluster = Cluster::start("").await;
    cluster.gateways.truncate(1);
    cluster.gateways.push(Gateway::start(&config(&cluster.nats, &tls, "")));
    cluster.gateways[1].ready().await;
    cluster.all_know(2).await;
    let [old, new] = &cluster.gateways[..] else { panic!("two gateways") };
    for (owner, other) in [(old, new), (new, old)] {
        let session = Polling::joined(owner).await;
        let answer = at(other, &session).get().await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!(1)));
        assert_eq!(refused(other).await, Some(1.0), "and it is counted");
        // It is there, for those who come the right way.
        assert_eq!(session.post("3").await.text(), "ok");
    }
}

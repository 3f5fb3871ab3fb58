//! `push-gateway` as a person types it: processes, output, exit codes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tests::api::{publish, say};
use tests::gateway::{binary, scratch};
use tests::http::get;
use tests::patience::eventually;
use tests::plain::Plain;
use tests::socketio::{Socket, Transport};
use tests::{Gateway, patiently};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const CONFIG: &str = "channels: [{match: \"log.>\", history: {maxMessages: 100, maxAge: 1h}}]";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Output {
    let what = format!("push-gateway {}", arguments.join(" "));
    patiently(&what, command(arguments).output()).await.expect("it runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file with this text; its path.
fn file(text: &str) -> String {
    let path = scratch("push.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A running `push-gateway subscribe`, and its lines.
fn subscribe(gateway: &Gateway, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let url = format!("{}/ws", gateway.client_ws());
    let mut child =
        command(&["subscribe", "--url", &url]).args(arguments).spawn().expect("it runs");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Waits until a channel has so many subscribers.
async fn subscribers(gateway: &Gateway, channel: &str, count: u64) {
    eventually(&format!("{count} subscribers of {channel}"), || async {
        tests::api::read(gateway, None, &format!("/v1/channels/{channel}")).await.json()
            ["subscribers"]
            == count
    })
    .await;
}

// === publish ===

#[tokio::test]
async fn publish_delivers() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    for channel in ["news", "log.a"] {
        client.call("subscribe", &json!({"channel": channel})).await.unwrap();
    }
    let api = ["--api-url", gateway.api()];
    let cases: [(&[&str], Value); 5] = [
        (&["publish", "news", "{\"a\":1}"], json!({"a": 1})),
        (&["publish", "news", "just text"], json!("just text")),
        (&["publish", "news", "17"], json!(17)),
        (&["publish", "news", "{not json"], json!("{not json")),
        (&["publish", "news", "--event", "head", "1"], json!(1)),
    ];
    for (arguments, data) in cases {
        let output = run(&[arguments, &api].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", err(&output));
        assert_eq!(client.publication().await["data"], data, "{arguments:?}");
    }
    let output = run(&["publish", "log.a", "1", api[0], api[1]]).await;
    assert_eq!(client.publication().await["offset"], out(&output).trim());
}

#[tokio::test]
async fn publish_reads_stdin() {
    let gateway = Gateway::start(CONFIG);
    let mut client = Plain::connect(&gateway).await;
    client.call("subscribe", &json!({"channel": "news"})).await.unwrap();
    let mut child = command(&["publish", "news", "-", "--api-url", gateway.api()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"from\": \"stdin\"}").await.unwrap();
    drop(stdin);
    assert!(patiently("its end", child.wait()).await.unwrap().success());
    assert_eq!(client.publication().await["data"], json!({"from": "stdin"}));
}

#[tokio::test]
async fn publish_says_why_not() {
    let gateway = Gateway::start(CONFIG);
    let refused =
        run(&["publish", "news", "1", "--event", "connect", "--api-url", gateway.api()]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", err(&refused));
    assert!(err(&refused).contains("reserved"), "{}", err(&refused));
    let misused = run(&["publish", "news"]).await;
    assert_eq!(misused.status.code(), Some(2), "{}", err(&misused));
    let nobody = run(&["publish", "news", "1", "--api-url", "http://127.0.0.1:1"]).await;
    assert_eq!(nobody.status.code(), Some(3), "{}", err(&nobody));
    assert!(err(&nobody).contains("127.0.0.1:1"), "{}", err(&nobody));
}

#[tokio::test]
async fn publish_takes_a_key_from_the_environment() {
    let config = format!(
        "api: {{keys: [{{name: shop, scopes: [publish], sha256: {}}}]}}",
        tests::token::sha256("shop-key")
    );
    let gateway = Gateway::start(&config);
    let arguments = ["publish", "news", "1", "--api-url", gateway.api()];
    assert_eq!(run(&arguments).await.status.code(), Some(1));
    let output = command(&arguments).env("PUSHCLUSTER_API_KEY", "shop-key").output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

// === subscribe ===

#[tokio::test]
async fn subscribe_prints_what_arrives() {
    let gateway = Gateway::start(CONFIG);
    let (mut child, mut lines) = subscribe(&gateway, &["news", "log.a"]);
    subscribers(&gateway, "news", 1).await;
    subscribers(&gateway, "log.a", 1).await;
    publish(&gateway, &json!({"channel": "news", "event": "head", "data": {"a": 1}})).await;
    say(&gateway, "log.a", "text").await;
    for expected in ["news head {\"a\":1}", "log.a e \"text\""] {
        let line = patiently("a line", lines.next_line()).await.unwrap().unwrap();
        assert_eq!(line, expected);
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn subscribe_comes_back_after_a_restart() {
    let config = file(CONFIG);
    // The same port before and after, so it is chosen here.
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let start = || {
        let mut child = command(&["--config", &config, "--client-listen", &listen])
            .args(["--api-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let api_of = async |lines: &mut Lines<BufReader<ChildStdout>>| loop {
        let line = patiently("the printed URLs", lines.next_line()).await.unwrap().unwrap();
        if let Some(url) = line.strip_prefix("api") {
            return url.trim().trim_end_matches('/').to_owned();
        }
    };
    let (mut first, mut printed) = start();
    let api = api_of(&mut printed).await;
    let mut subscriber =
        command(&["subscribe", "--url", &format!("ws://{listen}/ws"), "news"]).spawn().unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    let say = async |api: String, data: Value| {
        eventually("a subscriber", || async {
            get(&format!("{api}/v1/channels/news")).await.json()["subscribers"] == 1
        })
        .await;
        let body = json!({"channel": "news", "event": "e", "data": data});
        let request = tests::http::request("POST", &format!("{api}/v1/publish")).json(&body);
        assert_eq!(tests::http::send(request).await.status, 200);
    };
    say(api, json!("before")).await;
    assert!(patiently("a line", lines.next_line()).await.unwrap().unwrap().contains("before"));
    first.kill().await.unwrap();
    let (_second, mut printed) = start();
    let api = api_of(&mut printed).await;
    say(api, json!("after")).await;
    assert!(patiently("a line", lines.next_line()).await.unwrap().unwrap().contains("after"));
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === config ===

#[tokio::test]
async fn config_check_says_yes_or_where_it_is_wrong() {
    let good = file(CONFIG);
    let output = run(&["config", "check", &good]).await;
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("ok"));
    let cases = [
        ("client: {lisen: 127.0.0.1:0}\n", ["client.lisen", ":1:", "listen"]),
        ("log: {level: info}\nsocketoi: {}\n", ["socketoi", ":2:", "socketio"]),
        ("socketio: {pingInterval: soon}\n", ["socketio.pingInterval", ":1:", "25s"]),
        ("channels:\n- {match: \"a.>.b\"}\n", ["channels[0].match", ":2:", ">"]),
        (
            "channels:\n- {match: a, presence: true}\n",
            ["presence", ":2:", "not available in this version"],
        ),
        (
            "upstreams: [{match: a, nats: true}]\n",
            ["upstreams", ":1:", "not available in this version"],
        ),
        ("client: {listen: \n", ["", "push.yaml:", ""]),
    ];
    for (text, words) in cases {
        let path = file(text);
        for arguments in [&["config", "check", &path][..], &["--config", &path]] {
            let output = run(arguments).await;
            assert_eq!(output.status.code(), Some(1), "{text}: {}{}", out(&output), err(&output));
            for word in words {
                assert!(err(&output).contains(word), "{text}: no {word:?} in {}", err(&output));
            }
        }
    }
    let output = run(&["config", "check", "/nowhere/push.yaml"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("/nowhere/push.yaml"), "{}", err(&output));
}

#[tokio::test]
async fn the_schema_is_one() {
    let output = run(&["config", "schema"]).await;
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert!(schema["properties"]["socketio"].is_object());
}

#[tokio::test]
async fn help_and_version_are_there() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["publish", "--help"], &["--version"]]
    {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!out(&output).is_empty(), "{arguments:?}");
    }
    for arguments in [&["--nonsense"][..], &["nonsense"], &["--client-lisen", "x"]] {
        assert_eq!(run(arguments).await.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn environment_and_flags_override_the_file() {
    let path = file("socketio: {pingInterval: 11s, pingTimeout: 12s, maxPayload: 1300}");
    let mut child = command(&["--config", &path, "--socketio-ping-timeout", "22s"])
        .args(["--client-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"])
        .env("PUSH_ADMIN_LISTEN", "127.0.0.1:0")
        .env("PUSH_SOCKETIO_PING_TIMEOUT", "32s")
        .env("PUSH_SOCKETIO_MAX_PAYLOAD", "3300")
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let line = patiently("the printed URLs", lines.next_line()).await.unwrap().unwrap();
        if let Some(url) = line.strip_prefix("client") {
            break url.trim().trim_end_matches('/').to_owned();
        }
    };
    let reply = get(&format!("{url}/socket.io/?EIO=4&transport=polling")).await;
    let handshake: Value = serde_json::from_str(&reply.text()[1..]).unwrap();
    assert_eq!(handshake["pingInterval"], 11_000, "from the file");
    assert_eq!(handshake["pingTimeout"], 22_000, "a flag over the environment over the file");
    assert_eq!(handshake["maxPayload"], 3300, "the environment over the file");
    child.kill().await.unwrap();
}

// === serve ===

#[tokio::test]
async fn an_open_door_is_refused_with_the_setting_that_closes_it() {
    let cases = [
        (vec!["--client-listen", "0.0.0.0:0"], "auth"),
        (vec!["--api-listen", "0.0.0.0:0"], "api.keys"),
    ];
    for (flags, word) in cases {
        let output = run(&flags).await;
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
        assert!(err(&output).contains(word), "{flags:?}: {}", err(&output));
        assert!(err(&output).contains("insecure"), "{flags:?}: {}", err(&output));
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let output = run(&["--api-listen", &taken, "--client-listen", "127.0.0.1:0"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(err(&output).contains(&taken), "{}", err(&output));
}

#[tokio::test]
async fn without_anything_it_prints_where_it_listens() {
    let gateway = Gateway::plain();
    let log = gateway.log();
    let printed: Vec<_> = ["client  http://", "api     http://", "admin   http://"]
        .into_iter()
        .map(|start| log.lines().any(|line| line.starts_with(start)))
        .collect();
    assert_eq!(printed, [true; 3], "{log}");
}

#[tokio::test]
async fn sigterm_sends_clients_away_and_ends() {
    let mut gateway = Gateway::start("drain: {period: 300ms}");
    let mut sockets = Vec::new();
    for transport in Transport::ALL {
        sockets.push(Socket::connect(&gateway, transport).await);
    }
    gateway.signal("TERM");
    for socket in &mut sockets {
        // Closed, not told to leave: a client that is told to leave stays away.
        socket.closed().await;
    }
    drop(sockets);
    assert_eq!(gateway.ended().await, Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn with_no_client_sigterm_ends_at_once_and_sigint_always() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::start("drain: {period: 30s}");
        let socket = Socket::connect(&gateway, Transport::WebSocket).await;
        if signal == "TERM" {
            drop(socket);
            eventually("the socket's end", || async {
                tests::api::status(&gateway).await["connections"] == 0
            })
            .await;
        }
        gateway.signal(signal);
        assert_eq!(gateway.ended().await, Some(0), "{signal}: {}", gateway.log());
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_without_dropping_anyone() {
    let gateway = Gateway::start("channels: [{match: a, clientPublish: false}]");
    let mut client = Plain::connect(&gateway).await;
    let publish = json!({"channel": "a", "event": "e", "data": 1});
    assert_eq!(client.call("publish", &publish).await.unwrap_err()["code"], "forbidden");
    // A bad file is refused, and the old one stays.
    std::fs::write(gateway.config_file(), "channels: [{mach: a}]").unwrap();
    eventually("a word in the log", || async { gateway.log().contains("mach") }).await;
    assert_eq!(client.call("publish", &publish).await.unwrap_err()["code"], "forbidden");
    std::fs::write(gateway.config_file(), "channels: [{match: a, clientPublish: true}]").unwrap();
    patiently("the new rules", async {
        while client.call("publish", &publish).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn logs_can_be_json() {
    let mut gateway = Gateway::start("log: {format: json}");
    gateway.signal("TERM");
    gateway.ended().await;
    let log = gateway.log();
    let mut lines = log.lines().filter(|line| !line.contains("  http://")).peekable();
    assert!(lines.peek().is_some(), "nothing was logged");
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
}

// === doctor ===

#[tokio::test]
async fn doctor_tells_every_step() {
    let gateway = Gateway::plain();
    let (url, api) = (format!("{}/ws", gateway.client_ws()), gateway.api().to_owned());
    let output = run(&["doctor", "--url", &url, "--api-url", &api]).await;
    assert!(output.status.success(), "{}", err(&output));
    let said = out(&output);
    let steps: Vec<_> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(steps, ["connected", "subscribed", "published", "received"], "{said}");
}

#[tokio::test]
async fn doctor_says_which_step_fails() {
    let digest = "0".repeat(64);
    let gateway = Gateway::start(&format!(
        "api: {{keys: [{{name: other, sha256: \"{digest}\", scopes: [publish]}}]}}"
    ));
    let (url, api) = (format!("{}/ws", gateway.client_ws()), gateway.api().to_owned());
    let output = run(&["doctor", "--url", &url, "--api-url", &api, "--api-key", "mine"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(out(&output).contains("subscribed"), "{}", out(&output));
    assert!(err(&output).contains("(unauthorized)"), "{}", err(&output));

    let nowhere = run(&["doctor", "--url", "ws://127.0.0.1:1/ws"]).await;
    assert_eq!(nowhere.status.code(), Some(3), "{}", err(&nowhere));
    assert_eq!(out(&nowhere), "");
}

#[tokio::test]
async fn doctor_waits_for_a_gateway() {
    let gateway = Gateway::plain();
    // A port that is free now, and leads to the gateway in a moment.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{free}/ws");
    let arguments = ["doctor", "--wait", "20s", "--url", &url, "--api-url", gateway.api()];
    let mut child = command(&arguments).spawn().expect("it runs");
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
    let note = patiently("a note", notes.next_line()).await.unwrap().unwrap();
    assert!(note.starts_with("waiting: "), "{note}");

    let target = gateway.client_address().to_owned();
    let listener = tokio::net::TcpListener::bind(free).await.unwrap();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(&target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    let output = patiently("the doctor", child.wait_with_output()).await.unwrap();
    assert!(output.status.success());
    assert!(out(&output).contains("received"), "{}", out(&output));
}

// === bench ===

#[tokio::test]
async fn bench_counts_every_delivery() {
    let gateway = Gateway::start(CONFIG);
    let urls = ["--url", gateway.client(), "--api-url", gateway.api()];
    for protocol in ["socketio", "websocket", "sse"] {
        let asked = ["bench", "--protocol", protocol, "--clients", "6", "--channels", "2"];
        let load = ["--rate", "20", "--time", "1s", "--connect-rate", "1000", "--json"];
        let output = run(&[&asked[..], &load, &urls].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{protocol}: {}{}", out(&output), err(&output));
        let told: Value = serde_json::from_str(&out(&output)).unwrap();
        let published = told["publications"]["taken"].as_u64().unwrap();
        assert!(published >= 10, "{told}");
        // Each goes to one of two channels, and so to half of the clients.
        assert_eq!(told["deliveries"]["delivered"], published * 3, "{told}");
        assert_eq!(told["deliveries"]["missing"], 0, "{told}");
        assert!(told["deliveries"]["delay"]["p99"].as_u64().unwrap() > 0, "{told}");
    }
}

#[tokio::test]
async fn bench_tells_people_its_progress_and_percentiles() {
    let gateway = Gateway::start(CONFIG);
    let urls = ["--url", gateway.client(), "--api-url", gateway.api()];
    let output = run(&[&["bench", "--clients", "2", "--time", "2s"][..], &urls].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    for told in ["2 of 2 subscribed", "p99", "delivery", "<="] {
        assert!(out(&output).contains(told), "{told}: {}", out(&output));
    }
    assert!(err(&output).contains("published"), "progress: {}", err(&output));
}

#[tokio::test]
async fn bench_says_what_is_in_its_way() {
    let nobody = run(&["bench", "--url", "http://127.0.0.1:1", "--clients", "1"]).await;
    assert_eq!(nobody.status.code(), Some(3), "{}", err(&nobody));
    assert!(err(&nobody).contains("is it running"), "{}", err(&nobody));
    let gateway = Gateway::start(
        "auth: {jwt: {secret: 0123456789abcdef0123456789abcdef}}\n\
         api: {keys: [{name: a, scopes: [read], sha256: \
         2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b}]}",
    );
    for protocol in ["socketio", "websocket", "sse"] {
        let refused = run(&[
            "bench",
            "--protocol",
            protocol,
            "--url",
            gateway.client(),
            "--api-url",
            gateway.api(),
        ])
        .await;
        assert_eq!(refused.status.code(), Some(1), "{protocol}: {}", err(&refused));
        assert!(err(&refused).contains("token"), "{protocol}: {}", err(&refused));
    }
    let misused = run(&["bench", "--clients", "1000000"]).await;
    assert_eq!(misused.status.code(), Some(2), "{}", err(&misused));
}
